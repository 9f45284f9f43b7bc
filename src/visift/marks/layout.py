"""From a scene to its marks: partition, deepest points, numbers, boxes. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from visift.core.errors import UsageError
from visift.core.types import Mark, Scene
from visift.marks.draw import PAPER_SHIFT, Look, glyph_size, look_for
from visift.marks.number import numbers
from visift.marks.partition import LeftOut, Piece, partition
from visift.marks.place import Box, covered, peak, place_glyphs

MOST_HIDDEN = 0.95  # of a region's pixels: what lies under its own number to that share cannot be seen
MAX_TAGS = 24  # more than that cover each other at 336 pixels


@dataclass(frozen=True, slots=True)
class Layout:
    """Marks ordered by number, how they are to look, and the regions that got none."""

    marks: tuple[Mark, ...]
    look: Look
    left_out: tuple[LeftOut, ...]


def lay_out(
    scene: Scene,
    *,
    numbering: str = "random",
    style: str = "clear",
    model_px: int = 336,
    max_tags: int = MAX_TAGS,
    seed: int = 0,
) -> Layout:
    """Where the numbers of a scene go, in pixels of its picture.

    `model_px` is what the model that will look shrinks the longest side to. Of more than `max_tags` pieces the largest
    are kept. In style `clear`, of two whose numbers cannot but overlap the larger is kept, and what its number would
    hide gets none. The same scene, options and seed give the same marks. Raises UsageError for an unknown option value.
    """
    if model_px < 16 or max_tags < 1:
        raise UsageError(f"model_px {model_px} must be at least 16 and max_tags {max_tags} at least 1")
    height, width = scene.height, scene.width
    look = look_for(style, height, width, model_px)
    pieces, left_out = partition(scene.regions, height, width)
    pieces, surplus = _largest(pieces, max_tags)
    kept = [(piece, _center(piece)) for piece in pieces]
    if style == "clear":  # the smallest first, as if each stood alone: that spares most of the search below
        w, h = glyph_size(look, 1)
        gone = _unreadable(kept, [(x - w // 2, y - h // 2, w, h) for _, (x, y) in kept], ())
        kept, surplus = _without(kept, gone, surplus)
    while True:
        given = numbers([center for _, center in kept], height, numbering, seed, scene.id)
        boxes = _boxes(kept, given, look, height, width)
        gone = _unreadable(kept, boxes, covered(boxes, [p.area for p, _ in kept])) if style == "clear" else {}
        if not gone:
            break  # else once more: numbers, and with them the widths of boxes, change when a piece goes
        kept, surplus = _without(kept, gone, surplus)
    marks = [
        Mark(
            number, piece.region.id, piece.region.category, center, piece.box, box, piece.area,
            piece.rle(height, width), piece.region.name,
        )
        for number, (piece, center), box in zip(given, kept, boxes, strict=True)
    ]  # fmt: skip
    return Layout(tuple(sorted(marks, key=lambda m: m.number)), look, (*left_out, *surplus))


Kept = tuple[Piece, tuple[int, int]]  # a piece and its deepest point


def _boxes(kept: Sequence[Kept], given: Sequence[int], look: Look, height: int, width: int) -> list[Box]:
    sizes = [glyph_size(look, number) for number in given]
    if look.style == "paper":
        return [_paper_box(center, size, height, width) for (_, center), size in zip(kept, sizes, strict=True)]
    return place_glyphs([piece for piece, _ in kept], [center for _, center in kept], sizes, height, width)


def _without(kept: list[Kept], gone: dict[int, str], left_out: list[LeftOut]) -> tuple[list[Kept], list[LeftOut]]:
    found = [LeftOut(kept[k][0].region.id, reason) for k, reason in gone.items()]
    return [one for k, one in enumerate(kept) if k not in gone], [*left_out, *found]


def _unreadable(kept: Sequence[Kept], boxes: Sequence[Box], clashing: Iterable[int]) -> dict[int, str]:
    """Which pieces to leave out, and why, so that every number and what it marks can be seen."""
    gone = dict.fromkeys(clashing, "its number would overlap that of a larger region")
    for k, ((piece, _), (x, y, w, h)) in enumerate(zip(kept, boxes, strict=True)):
        left, top = x - piece.box[0], y - piece.box[1]
        under = piece.mask[max(0, top) : max(0, top + h), max(0, left) : max(0, left + w)]
        if np.count_nonzero(under) >= MOST_HIDDEN * piece.area:
            gone.setdefault(k, "its number would hide it")
    return gone


def _largest(pieces: list[Piece], count: int) -> tuple[list[Piece], list[LeftOut]]:
    """The `count` largest, in the order given; the rest with the reason."""
    chosen = set(sorted(range(len(pieces)), key=lambda k: (-pieces[k].area, k))[:count])
    rest = [piece.region.id for k, piece in enumerate(pieces) if k not in chosen]
    surplus = [LeftOut(name, f"{count} larger regions have a number") for name in rest]
    return [piece for k, piece in enumerate(pieces) if k in chosen], surplus


def _center(piece: Piece) -> tuple[int, int]:
    x, y = peak(piece.mask)
    return piece.box[0] + x, piece.box[1] + y


def _paper_box(center: tuple[int, int], size: tuple[int, int], height: int, width: int) -> Box:
    """Text centred across at the peak, shifted as published, moved only as far as the picture's edge demands."""
    scale = min(height, width) / 640
    x = center[0] + round(PAPER_SHIFT[0] * scale) - size[0] // 2
    y = center[1] + round(PAPER_SHIFT[1] * scale)
    return max(0, min(x, width - size[0])), max(0, min(y, height - size[1])), *size
