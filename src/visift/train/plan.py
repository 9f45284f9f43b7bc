"""Which rows meet in which batch: every length is known before training, in one streamed pass, and kept in a file.

A row that cannot be rendered or is too long is left out, counted and named; nothing is ever cut.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from visift.core.dataset import Dataset
from visift.core.errors import DataError, VisiftError
from visift.core.files import read_json, sha256_json, write_atomic, write_json, write_jsonl
from visift.core.progress import progress
from visift.core.seeds import rng
from visift.core.types import Conversation
from visift.models import Renderer
from visift.models.pictures import with_sizes

WINDOW = 50  # batches among which rows of like length are brought together


@dataclass
class Plan:
    """One entry a usable row, in file order; `source` and `file` index `datasets` and `files`."""

    files: list[Path]
    source: np.ndarray  # int16 (n,): which dataset
    file: np.ndarray  # int32 (n,)
    offset: np.ndarray  # int64 (n,): byte where the row's line starts
    length: np.ndarray  # int32 (n,): tokens, placeholders included
    learnt: np.ndarray  # int32 (n,): tokens with a label
    pictures: np.ndarray  # int16 (n,)
    turn: np.ndarray  # int16 (n,): the one turn that is learnt, -1 = all that the row says
    counts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.length)


COLUMNS = {
    "source": np.int16,
    "file": np.int32,
    "offset": np.int64,
    "length": np.int32,
    "learnt": np.int32,
    "pictures": np.int16,
    "turn": np.int16,
}


def make_plan(
    out: Path, datasets: Sequence[Dataset], renderer: Renderer, max_length: int, max_rejected: float, one_turn: bool = False
) -> Plan:  # fmt: skip
    """Measure every row, or read the measurements an earlier run of the same data and model kept in `out`.

    With `one_turn` a conversation becomes a row for each answer to learn, the turns before it being context. Raises VisiftError when more than `max_rejected` of the rows cannot be used, and when none can.
    """
    files = [f for d in datasets for f in sorted(d.path.glob("conversations/*.jsonl"))]
    key = sha256_json({
        "data": [d.card["content_sha256"] for d in datasets], "template": renderer.template, "max_length": max_length,
        "vocabulary": renderer.fingerprint, "one_turn": one_turn,
    })  # fmt: skip
    if (out / "plan.json").exists() and (counts := read_json(out / "plan.json"))["key"] == key:
        kept = load_file(out / "plan.safetensors")
        return Plan(files, **{name: kept[name] for name in COLUMNS}, counts=counts)

    columns = {name: array(np.dtype(kind).char) for name, kind in COLUMNS.items()}  # packed: a million rows are 26 MB
    rejected: list[dict[str, str]] = []
    numbers = {f: k for k, f in enumerate(files)}
    with progress("plan", sum(len(d) for d in datasets), "rows") as tick:
        for k, dataset in enumerate(datasets):
            for file, offset, conversation in rows_of(dataset):
                tick(1)
                for turn in turns_of(conversation) if one_turn else (-1,):
                    try:
                        row = renderer.row(up_to(with_sizes(conversation, dataset, renderer.family), turn))
                        if len(row.input_ids) > max_length:
                            raise DataError(f"{len(row.input_ids)} tokens, more than max_length {max_length}")
                    except DataError as e:
                        rejected.append({"id": conversation.id, "stage": "plan", "reason": e.what})
                        continue
                    values = (k, numbers[file], offset, len(row.input_ids), sum(row.loss_mask), len(row.slots), turn)
                    for name, value in zip(COLUMNS, values, strict=True):
                        columns[name].append(value)
    _check(out, rejected, len(columns["length"]), max_rejected)
    arrays = {name: np.frombuffer(columns[name], dtype=kind) for name, kind in COLUMNS.items()}  # no copy
    counts = {
        "key": key, "rows": len(columns["length"]), "rejected": len(rejected), "tokens": int(arrays["length"].sum()),
        "learnt": int(arrays["learnt"].sum()), "longest": int(arrays["length"].max()), "pictures": int(arrays["pictures"].sum()),
    }  # fmt: skip
    write_atomic(out / "plan.safetensors", save(arrays))
    write_json(out / "plan.json", counts)
    return Plan(files, **arrays, counts=counts)


def _check(out: Path, rejected: list[dict[str, str]], usable: int, max_rejected: float) -> None:
    write_jsonl(out / "rejected.jsonl", rejected)
    total = usable + len(rejected)
    if not usable or len(rejected) > max_rejected * total:
        first = f", the first ({rejected[0]['id']}) because: {rejected[0]['reason']}" if rejected else ""
        raise VisiftError(
            f"{len(rejected)} of {total} rows cannot be used{first}", where=out / "rejected.jsonl",
            remedy="repair the data, or raise max_rejected or max_length",
        )  # fmt: skip


def rows_of(dataset: Dataset) -> Iterator[tuple[Path, int, Conversation]]:
    """(file, byte offset, conversation) of every row, streamed."""
    for path in sorted(dataset.path.glob("conversations/*.jsonl")):
        offset = 0
        with path.open("rb") as f:
            for number, line in enumerate(f, 1):
                if line.strip():
                    yield path, offset, parse_row(line, f"{path}:{number}")
                offset += len(line)


def turns_of(conversation: Conversation) -> list[int]:
    """The turns to learn; (-1,), which is refused later, when there is none."""
    return [k for k, t in enumerate(conversation.turns) if t.role == "assistant" and t.train] or [-1]


def up_to(conversation: Conversation, turn: int) -> Conversation:
    """The conversation up to one answer, the only one learnt; -1 = as it is."""
    if turn < 0:
        return conversation
    before = tuple(replace(t, train=False) for t in conversation.turns[:turn])
    return replace(conversation, turns=(*before, conversation.turns[turn]))


def parse_row(line: bytes, where: str) -> Conversation:
    try:
        return Conversation.from_json(json.loads(line))
    except (ValueError, RecursionError) as e:
        raise DataError("is not valid JSON", where=where) from e


def order(lengths: np.ndarray, steps: int, batch: int, seed: int, by_length: bool) -> np.ndarray:
    """Row indices, int64 (steps, batch): as many seeded passes over all rows as are needed, one after the other.

    With `by_length`, rows of like length are brought together within windows of up to 50 batches and the batches shuffled.
    """
    n, total = len(lengths), steps * batch
    passes = [rng(seed, "order", k).permutation(n) for k in range(-(-total // n))]
    rows = np.concatenate(passes)[:total] if passes else np.zeros(0, dtype=np.int64)
    if not by_length:
        return rows.reshape(steps, batch)
    window = batch * max(1, min(WINDOW, n // batch))  # at most one pass, or a batch would be one row many times
    grouped = []
    for k in range(0, total, window):
        part = rows[k : k + window]
        batches = part[np.argsort(lengths[part], kind="stable")].reshape(-1, batch)
        grouped.append(batches[rng(seed, "batches", k // window).permutation(len(batches))])
    return np.concatenate(grouped) if grouped else rows.reshape(0, batch)


def joint_order(plan: Plan, steps: int, joint: Sequence[int], seed: int, by_length: bool) -> np.ndarray:
    """As `order`, with `joint[k]` rows of dataset k in every batch, each dataset in passes of its own."""
    parts = []
    for source, count in enumerate(joint):
        own = np.flatnonzero(plan.source == source)
        if count and not len(own):
            raise VisiftError("no usable row for its part of the batch", where=f"dataset {source + 1}")
        parts.append(own[order(plan.length[own], steps, count, seed + source, by_length)])
    return np.concatenate(parts, axis=1)


def padding_share(lengths: np.ndarray, batches: np.ndarray) -> float:
    """The share of positions that would be padding."""
    each = lengths[batches]
    return float(1 - each.sum() / (each.max(axis=1) * each.shape[1]).sum())
