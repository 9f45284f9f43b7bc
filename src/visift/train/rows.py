"""From a planned row index to a batch of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from visift.core.dataset import Dataset
from visift.core.types import Conversation
from visift.models import Renderer
from visift.models.families.family import Family, Pixels
from visift.models.pictures import Pictures, with_sizes
from visift.models.render import Rendered
from visift.train.plan import Plan, parse_row, up_to

KEEP = 200_000  # rendered rows kept in memory: some 1 kB each
IGNORE = -100
OURS = frozenset({"row_ids", "sources", "real"})  # of a batch: not the model's inputs


@dataclass(slots=True)
class Row:
    id: str
    source: int
    text: Rendered
    pixels: list[Pixels]


class Rows(TorchDataset):
    """Map-style: item k is row k of the plan, read from its file when asked for."""

    def __init__(
        self, plan: Plan, datasets: Sequence[Dataset], renderer: Renderer, pictures: Sequence[Pictures]
    ) -> None:
        self.plan, self.datasets, self.renderer, self.pictures = plan, datasets, renderer, pictures
        self.kept: dict[int, tuple[Conversation, Rendered]] = {}

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, k: int) -> Row:
        source = int(self.plan.source[k])
        found = self.kept.get(k)
        if found is None:
            found = self._read(k, self.datasets[source])
            if len(self.kept) < KEEP:
                self.kept[k] = found
        conversation, text = found
        return Row(conversation.id, source, text, self.pictures[source].of(conversation, text.slots))

    def _read(self, k: int, dataset: Dataset) -> tuple[Conversation, Rendered]:
        path = self.plan.files[int(self.plan.file[k])]
        with path.open("rb") as f:
            f.seek(int(self.plan.offset[k]))
            conversation = parse_row(f.readline(), f"{path} at byte {int(self.plan.offset[k])}")
        conversation = up_to(with_sizes(conversation, dataset, self.renderer.family), int(self.plan.turn[k]))
        return conversation, self.renderer.row(conversation)


class Collator:
    """Rows -> padded inputs, labels -100 where nothing is learnt, and what the log wants to know."""

    def __init__(self, family: Family, pad_id: int) -> None:
        self.family, self.pad_id = family, pad_id

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        longest = max(len(r.text.input_ids) for r in rows)
        ids = np.full((len(rows), longest), self.pad_id, dtype=np.int64)
        labels = np.full((len(rows), longest), IGNORE, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for k, row in enumerate(rows):
            n = len(row.text.input_ids)
            ids[k, :n], labels[k, :n] = ids_and_labels(row)
            mask[k, :n] = 1
        first = torch.from_numpy((labels != IGNORE).argmax(axis=1))  # of the learnt tokens
        input_ids = torch.from_numpy(ids)
        return {
            "input_ids": input_ids, "attention_mask": torch.from_numpy(mask), "labels": torch.from_numpy(labels),
            **self.family.batch([r.pixels for r in rows]), **self.family.extra(input_ids, first),
            "row_ids": [r.id for r in rows], "sources": torch.tensor([[r.source] for r in rows]), "real": int(mask.sum()),
        }  # fmt: skip


def ids_and_labels(row: Row) -> tuple[np.ndarray, np.ndarray]:
    ids = np.asarray(row.text.input_ids)
    labels = np.where(row.text.loss_mask, ids, IGNORE)
    labels[0] = IGNORE  # nothing stands before it to predict it from
    return ids, labels


class MicroBatches(Sampler[list[int]]):
    """The plan's batches, cut into this process's micro-batches, from optimiser step `start` on.

    Its length is that of the whole run, so that the trainer counts steps alike before and after a resume.
    """

    def __init__(self, batches: np.ndarray, micro: int, start: int, rank: int, world: int) -> None:
        self.batches, self.micro, self.start, self.rank, self.world = batches, micro, start, rank, world
        self.accumulate = batches.shape[1] // (micro * world)

    def __len__(self) -> int:
        return len(self.batches) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches[self.start :]:
            for k in range(self.accumulate):
                first = (k * self.world + self.rank) * self.micro
                yield [int(i) for i in batch[first : first + self.micro]]
