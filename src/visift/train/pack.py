"""Several conversations in one row, each seeing only itself: no padding, the same loss.

transformers finds packed rows by itself only when no mask is passed and no cache is made, and is silently wrong
otherwise; a 4D float mask is right everywhere, and `check_packing` still proves it on the run's own model and rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from visift.core.errors import UsageError, VisiftError
from visift.models import Vlm, vpgc
from visift.models.families.family import Family
from visift.train.plan import Plan
from visift.train.rows import IGNORE, OURS, Collator, Row, Rows, ids_and_labels

BLOCKED = torch.finfo(torch.bfloat16).min  # finite in every dtype


def balance(lengths: Sequence[int], capacity: int, pictures: Sequence[int] = (), most: int = 0) -> list[list[int]]:
    """Indices into `lengths`, laid out in as few rows of about `capacity` tokens and `most` pictures (0: any number) as their
    sums need, evenly filled with both."""
    counts = list(pictures) if most else [0] * len(lengths)
    most = max(most, 1, *counts)
    capacity = max(capacity, *lengths)
    rows: list[list[int]] = [
        [] for _ in range(max(1, math.ceil(sum(lengths) / capacity), math.ceil(sum(counts) / most)))
    ]
    load = [(0.0, 0.0)] * len(rows)  # shares of a row that are taken
    share = [(n / capacity, c / most) for n, c in zip(lengths, counts, strict=True)]
    for k in sorted(range(len(lengths)), key=lambda k: (-max(share[k]), k)):
        filled = [(max(t + share[k][0], p + share[k][1]), t + p, row) for row, (t, p) in enumerate(load)]
        least = min(filled)[2]
        rows[least].append(k)
        load[least] = (load[least][0] + share[k][0], load[least][1] + share[k][1])
    return [sorted(r) for r in rows if r]


def even(batches: np.ndarray, plan: Plan, micro: int) -> np.ndarray:
    """The same batches (steps, batch), the rows of each dealt so that its micro-batches of `micro` rows hold about as many
    tokens and pictures each: no process waits for another, and the memory of a step is that of all steps."""
    steps, size = batches.shape
    holds = np.stack([plan.length / plan.length.mean(), plan.pictures / max(float(plan.pictures.mean()), 1e-9)], 1)
    heaviest_first = np.take_along_axis(batches, np.argsort(-holds.max(axis=1)[batches], axis=1, kind="stable"), axis=1)
    load, places = np.zeros((steps, size // micro, 2)), np.zeros((steps, size // micro), dtype=np.int64)
    dealt, step = np.empty((steps, size // micro, micro), dtype=batches.dtype), np.arange(steps)
    for row in heaviest_first.T:  # of every step at once
        filled = (load + holds[row][:, None]).max(axis=2) + load.sum(axis=2) * 1e-3  # (steps, micro-batches)
        least = np.where(places < micro, filled, np.inf).argmin(axis=1)
        dealt[step, least, places[step, least]] = row
        load[step, least] += holds[row]
        places[step, least] += 1
    return dealt.reshape(steps, size)


class PackedCollator(Collator):
    """Rows -> (rows, T) with restarted positions and a block-diagonal causal mask, float (rows, 1, T, T)."""

    def __init__(self, family: Family, pad_id: int, pack_tokens: int, pack_pictures: int = 0) -> None:
        if not family.packs:
            raise UsageError(f"{type(family).__name__} models cannot be packed", remedy="leave pack_tokens at 0")
        super().__init__(family, pad_id)
        self.pack_tokens, self.pack_pictures = pack_tokens, pack_pictures

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        lengths, pictures = [len(r.text.input_ids) for r in rows], [len(r.pixels) for r in rows]
        layout = balance(lengths, self.pack_tokens, pictures, self.pack_pictures)
        longest = max(sum(lengths[k] for k in line) for line in layout)
        shape = (len(layout), longest)
        ids, labels = np.full(shape, self.pad_id, dtype=np.int64), np.full(shape, IGNORE, dtype=np.int64)
        sources = np.zeros(shape, dtype=np.int64)
        segment = np.tile(-1 - np.arange(longest), (len(layout), 1))  # a padding place is a segment of its own
        axes = self.family.positions(rows[0].text.input_ids, rows[0].pixels)
        positions = torch.zeros((*axes.shape[:1], *shape) if axes is not None else shape, dtype=torch.long)
        for line, members in enumerate(layout):
            at = 0
            for k in members:
                row = rows[k]
                end = at + len(row.text.input_ids)
                ids[line, at:end], labels[line, at:end] = ids_and_labels(row)
                segment[line, at:end], sources[line, at:end] = k, row.source
                own = self.family.positions(row.text.input_ids, row.pixels)
                positions[..., line, at:end] = torch.arange(end - at) if own is None else own
                at = end
        input_ids, seg = torch.from_numpy(ids), torch.from_numpy(segment)
        sees = (seg[:, :, None] == seg[:, None, :]).tril()[:, None]  # (rows, 1, T, T)
        mask = torch.zeros(sees.shape).masked_fill(~sees, BLOCKED)
        return {
            "input_ids": input_ids, "attention_mask": mask, "position_ids": positions, "labels": torch.from_numpy(labels),
            **self.family.batch([[p for k in line for p in rows[k].pixels] for line in layout]), **self.family.extra(input_ids),
            "row_ids": [r.id for r in rows], "sources": torch.from_numpy(sources)[:, 1:],
            "real": sum(lengths),
        }  # fmt: skip


def check_packing(vlm: Vlm, collator: PackedCollator, rows: Rows, count: int = 4) -> float:
    """Per-token losses of the first rows packed into one and each alone; returns the largest difference.

    Raises VisiftError when this model does not keep packed conversations apart.
    """
    sample = [rows[k] for k in range(min(count, len(rows)))]
    whole = PackedCollator(collator.family, collator.pad_id, sum(len(r.text.input_ids) for r in sample))
    model = vlm.model
    training = model.training
    model.eval()
    packed = token_losses(model, whole(sample))
    alone = torch.cat([token_losses(model, Collator(collator.family, collator.pad_id)([r])) for r in sample])
    model.train(training)
    worst = float((packed - alone).abs().max())
    if not worst < 1e-3:
        raise VisiftError(f"packed conversations see each other (loss differs by {worst:.2g})", where=vlm.path,
                          remedy="leave pack_tokens at 0, and report the model")  # fmt: skip
    return worst


def token_losses(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Loss of every learnt token, float (learnt,), in row order."""
    with torch.no_grad():
        inputs = {k: v.to(model.device) for k, v in batch.items() if k not in {"labels", *OURS}}
        logits = model(**inputs, **vpgc.guided(model, inputs | {"labels": batch["labels"]}), use_cache=False).logits[
            :, :-1
        ]
    targets = batch["labels"][:, 1:].to(logits.device)
    learnt = targets != IGNORE
    return F.cross_entropy(logits[learnt].float(), targets[learnt], reduction="none").cpu()
