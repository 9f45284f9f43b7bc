"""Masks that overlap -> regions that do not: each pixel belongs to the smallest mask that covers it (papers.md A.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visift.core.errors import DataError
from visift.core.rle import RLE, decode_box, encode_box
from visift.core.types import Region

PAPER_MIN_AREA = 110  # pixels, in a picture whose shorter side is 640
PAPER_SHORT_SIDE = 640


@dataclass(frozen=True, slots=True)
class Piece:
    """What is left of a region: `mask` is bool (h, w), cut to the tight `box` x, y, w, h; `area` in pixels."""

    region: Region
    box: tuple[int, int, int, int]
    mask: np.ndarray
    area: int

    def rle(self, height: int, width: int) -> RLE:
        """The piece as RLE of the whole picture."""
        return {"size": [height, width], "counts": encode_box(self.mask, *self.box[:2], height, width)}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A region that gets no number, and why."""

    region: str
    reason: str


def min_area(height: int, width: int) -> int:
    """The paper's 110 pixels, scaled to a picture of this size; at least 1."""
    return max(1, round(PAPER_MIN_AREA * (min(height, width) / PAPER_SHORT_SIDE) ** 2))


def partition(
    regions: Sequence[Region], height: int, width: int, smallest: int | None = None
) -> tuple[list[Piece], list[LeftOut]]:
    """Disjoint pieces by ascending mask area (ties: in the order given), and what was left out.

    Walking from the smallest mask up, each loses the pixels of all before it. Pieces below `smallest` pixels (default
    `min_area`) are dropped, but their pixels stay taken. Crowds take their pixels and get no piece. A malformed mask
    is left out with its reason and takes nothing.
    """
    smallest = min_area(height, width) if smallest is None else smallest
    masks, left_out = _by_area(regions, height, width)
    taken = np.zeros((height, width), dtype=bool, order="F")
    pieces: list[Piece] = []
    for region, counts in masks:
        mask, x, y = decode_box(counts, height)
        claimed = taken[y : y + mask.shape[0], x : x + mask.shape[1]]
        rest = mask & ~claimed
        claimed |= mask
        area = int(np.count_nonzero(rest))
        if region.crowd:
            left_out.append(LeftOut(region.id, "is a crowd, not one thing"))
        elif area < max(smallest, 1):
            left_out.append(LeftOut(region.id, f"{area} pixels are free of smaller regions, {smallest} are needed"))
        else:
            pieces.append(_tight(region, rest, x, y, area))
    return pieces, left_out


def _by_area(regions: Sequence[Region], height: int, width: int) -> tuple[list[tuple[Region, str]], list[LeftOut]]:
    """Regions with their RLE counts by ascending area; masks are decoded later, one at a time."""
    from pycocotools import mask as coco_mask

    known: list[tuple[float, int, Region, str]] = []
    left_out = []
    for order, region in enumerate(regions):
        try:
            counts = region.rle(height, width)["counts"]
        except DataError as e:
            left_out.append(LeftOut(region.id, e.what))
            continue
        area = float(coco_mask.area({"size": [height, width], "counts": counts.encode()}))
        known.append((area, order, region, counts))
    return [(region, counts) for _, _, region, counts in sorted(known, key=lambda k: k[:2])], left_out


def _tight(region: Region, mask: np.ndarray, x: int, y: int, area: int) -> Piece:
    """Cut empty rows and columns off. `mask` is bool (h, w) with its corner at x, y."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    cut = np.ascontiguousarray(mask[top:bottom, left:right])
    return Piece(region, (x + left, y + top, right - left, bottom - top), cut, area)
