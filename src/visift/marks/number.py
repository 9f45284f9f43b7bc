"""Which number a piece gets: at random, by area, or in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from visift.core.errors import UsageError
from visift.core.seeds import rng

Numbering = Literal["random", "area", "reading"]
NUMBERINGS: tuple[str, ...] = get_args(Numbering)
ROW = 0.1  # of the picture's height: centres nearer than this to a row's first one stand in that row


def numbers(centers: Sequence[tuple[int, int]], height: int, numbering: str, *keys: object) -> list[int]:
    """A number 1..N per piece, given in walk order (ascending mask area), `centers` x, y in pixels.

    random   a permutation drawn from `keys` (the default: order tells nothing, so a blind guesser is at chance)
    area     the walk order, as published: the last number is the largest thing
    reading  rows from top to bottom, each from left to right
    """
    count = len(centers)
    if numbering == "random":
        return [int(n) + 1 for n in rng("number", *keys).permutation(count)]
    if numbering == "area":
        return list(range(1, count + 1))
    if numbering == "reading":
        result = [0] * count
        for number, k in enumerate(_reading_order(centers, height), 1):
            result[k] = number
        return result
    raise UsageError(f"numbering {numbering!r} is not one of {', '.join(NUMBERINGS)}")


def _reading_order(centers: Sequence[tuple[int, int]], height: int) -> list[int]:
    rows: list[list[int]] = []
    for k in sorted(range(len(centers)), key=lambda k: (centers[k][1], centers[k][0], k)):
        if rows and centers[k][1] - centers[rows[-1][0]][1] <= ROW * height:
            rows[-1].append(k)
        else:
            rows.append([k])
    return [k for row in rows for k in sorted(row, key=lambda k: (centers[k][0], k))]
