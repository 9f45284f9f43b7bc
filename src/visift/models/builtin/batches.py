"""Batches of lessons, drawn as training goes: no picture is seen twice, and a run's step has the same batch every time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast

from visift.core.seeds import rng
from visift.models.builtin import lessons, signs
from visift.models.builtin.lessons import Row
from visift.models.builtin.settings import PretrainSettings
from visift.models.builtin.tokenizer import ASSISTANT, BOS, END, IMAGE, USER
from visift.sources.tabletop import draw_things, ground, place_things

PATCHES = 49  # of a picture
FIRST_PATCH = 2  # position of a row's first picture token: <s>, <|user|>, then the pictures
SORT_OVER = 8  # batches whose rows are sorted by length together: little padding


def corpus(seed: int = 0, rows: int = 6000) -> Iterator[str]:
    """Text for the tokenizer: lessons, and the words that the other rooms' templates use."""
    for index in range(rows):
        for asked in make_row(rng("corpus", seed, index), describing=False, hard=0.0).rounds:
            yield asked.question
            yield asked.answer
    for _ in range(20):
        yield from lessons.vocabulary()


def make_row(gen: np.random.Generator, describing: bool, hard: float) -> Row:
    """One lesson. `describing` leaves only what tells of a whole scene; `hard` is the share of scenes of levels 1 and 2."""
    row, kind = Row(), gen.random()

    def scene() -> tuple[lessons.Scene, list[signs.Lettered]]:
        level = int(gen.integers(1, 3)) if gen.random() < hard else 0
        things = place_things(gen, level)
        picture = draw_things(gen, things, level)[0]
        found = signs.paste_stickers(gen, picture, things) if gen.random() < 0.6 else []
        row.pictures.append(picture)
        row.labels.append(signs.patch_labels(things, [(f.sign, f.x, f.y) for f in found]))
        return lessons.scene_of(things), found

    if describing:
        tell = (lessons.described, lessons.described, lessons.listing, lessons.paragraph)[int(gen.integers(4))]
        row.rounds = [tell(gen, scene()[0])]
    elif kind < 0.28:
        things = place_things(gen, 0)[: int(gen.integers(0, 4))]
        picture = draw_things(gen, things, 0)[0] if things else np.clip(ground(gen), 0, 255).astype(np.uint8)
        digits = signs.paste_digits(gen, picture, [(t.x, t.y, t.diameter // 2 + 1) for t in things])
        row.pictures.append(picture)
        row.labels.append(signs.patch_labels(things, digits))
        row.rounds = signs.digit_rounds(gen, digits)
        if things:
            row.rounds.append(lessons.described(gen, lessons.scene_of(things)))
    elif kind < 0.35:
        row.rounds = lessons.several_pictures(gen, [scene()[0] for _ in range(int(gen.integers(2, 5)))])
    elif kind < 0.37:
        row.rounds = [lessons.difference_sentences(gen)]
    else:
        one, found = scene()
        read = signs.letter_rounds(gen, one, found)
        row.rounds = lessons.one_picture(gen, one, int(gen.integers(1, 4) if read else gen.integers(3, 9)))
        at = int(gen.integers(len(row.rounds) + 1))
        row.rounds[at:at] = read
    return row


class Encoded(NamedTuple):
    """A row as ids and loss weights, both (T,); where to look: (position of a token, positions of patches); and of each round
    (position of the last token before the answer, positions of the question's first and behind its last token)."""

    ids: list[int]
    weights: list[float]
    looks: list[tuple[int, tuple[int, ...]]]
    asked: list[tuple[int, int, int]]


class Encoder:
    """Rows to ids and loss weights, spelled as the chat template spells them (a test holds the two together)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.pad = tokenizer.pad_token_id
        self.seen: dict[str, tuple[list[int], list[int]]] = {}
        self.one = {t: tokenizer.convert_tokens_to_ids(t) for t in (BOS, END, IMAGE, USER, ASSISTANT)}

    def text(self, text: str) -> tuple[list[int], list[int]]:
        """ids, and behind which character of the text each ends."""
        if text not in self.seen:
            told = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            if len(self.seen) > 100_000:
                self.seen.clear()
            self.seen[text] = (told["input_ids"], [end for _, end in told["offset_mapping"]])
        return self.seen[text]

    def __call__(self, row: Row) -> Encoded:
        """Weights are 0 where nothing is learnt; those of one answer sum to the root of its length, so that a caption of thirty
        tokens neither drowns an answer of one nor is learnt thirty times more slowly.
        """
        ids, weights, looks, asked = [self.one[BOS]], [0.0], [], []
        for k, (question, answer, asked_looks) in enumerate(row.rounds):
            pictures = [self.one[IMAGE]] * PATCHES * len(row.pictures) if k == 0 else []
            question_ids = self.text(question)[0]
            prompt = [self.one[USER], *pictures, *question_ids, self.one[ASSISTANT]]
            answer_ids, ends = self.text(answer)
            reply = [*answer_ids, self.one[END]]
            ids += prompt
            asked.append((len(ids) - 1, len(ids) - 1 - len(question_ids), len(ids) - 1))
            for character, cells in asked_looks:  # the token before the one that holds the character
                looks.append((len(ids) - 1 + bisect_right(ends, character), tuple(FIRST_PATCH + c for c in cells)))
            ids += reply
            weights += [0.0] * len(prompt) + [len(reply) ** -0.5] * len(reply)
        return Encoded(ids, weights, looks, asked)


class Groups(Dataset[list[dict[str, torch.Tensor]]]):
    """Group `index` holds the batches of steps SORT_OVER * index and after: the same in every run. Of each batch this is the
    part of process `rank`."""

    def __init__(self, settings: PretrainSettings, encode: Encoder, rank: int = 0) -> None:
        self.settings, self.encode, self.rank = settings, encode, rank

    def __len__(self) -> int:
        return math.ceil(self.settings.steps / SORT_OVER)

    def __getitem__(self, index: int) -> list[dict[str, torch.Tensor]]:
        s, first = self.settings, index * SORT_OVER
        ours, size = range(self.rank, s.batch_size, s.processes), s.batch_size // s.processes
        rows = []
        for step in range(max(first, s.first_asked), first + SORT_OVER):
            describing = step - s.first_asked < s.describing * s.steps
            for k in ours:
                row = make_row(rng("pretrain", s.seed, step, k), describing, s.hard)
                rows.append((self.encode(row), row))
        rows.sort(key=lambda r: len(r[0].ids))
        order = rng("order", s.seed, index).permutation(len(rows) // size)
        asked = [
            collate(rows[k * size : (k + 1) * size], self.encode.pad, self.encode.one[IMAGE]) for k in order.tolist()
        ]
        looked = range(first, min(first + SORT_OVER, s.first_asked))
        return [*(self._seen(step) for step in looked), *asked]

    def _seen(self, step: int) -> dict[str, torch.Tensor]:
        s = self.settings
        ours = range(self.rank, s.only_seen, s.processes)
        return _pictures([make_row(rng("seen", s.seed, step, k), False, s.hard) for k in ours])


def batches(
    settings: PretrainSettings, encode: Encoder, start: int, rank: int = 0
) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of steps `start` to the last, drawn by `settings.workers` processes (0: in this one)."""
    groups = Groups(settings, encode, rank)
    todo = range(start // SORT_OVER, len(groups))
    skip = start % SORT_OVER
    for group in DataLoader(groups, batch_size=None, sampler=todo, num_workers=settings.workers):
        yield from group[skip:]
        skip = 0


def _pictures(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    return {
        "pixels": torch.from_numpy(np.stack([p for row in rows for p in row.pictures])),  # uint8 (P, S, S, 3)
        "dense": torch.from_numpy(np.stack([x for row in rows for x in row.labels])),  # (P, patches, 4)
    }


def collate(rows: Sequence[tuple[Encoded, Row]], pad: int, picture: int) -> dict[str, torch.Tensor]:
    """Rows padded on the right. pad, picture: ids of those tokens."""
    width = max(len(e.ids) for e, _ in rows)
    looks = [(b, at, cells) for b, (e, _) in enumerate(rows) for at, cells in e.looks]
    pointed = torch.zeros(len(looks), width, dtype=torch.bool)
    for k, (_, _, cells) in enumerate(looks):
        pointed[k, list(cells)] = True
    asked = [(b, *places) for b, (e, _) in enumerate(rows) for places in e.asked]
    question = torch.zeros(len(asked), width, dtype=torch.bool)
    for k, (_, _, first, behind) in enumerate(asked):
        question[k, first:behind] = True
    ids = torch.tensor([e.ids + [pad] * (width - len(e.ids)) for e, _ in rows])  # (B, T)
    return {
        "input_ids": ids,
        "is_picture": ids == picture,
        "attention_mask": torch.tensor([[1] * len(e.ids) + [0] * (width - len(e.ids)) for e, _ in rows]),
        "weights": torch.tensor([e.weights + [0.0] * (width - len(e.weights)) for e, _ in rows]),
        "pointing": torch.tensor([(b, at) for b, at, _ in looks]).view(-1, 2),  # (L, 2)
        "pointed": pointed,  # (L, T)
        "asking": torch.tensor([(b, at) for b, at, *_ in asked]),  # (Q, 2): where an answer begins
        "question": question,  # (Q, T): the tokens of what it answers
        **_pictures([row for _, row in rows]),
    }
