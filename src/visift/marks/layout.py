"""From a scene to its marks: partition, deepest points, numbers, boxes. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from visift.core.errors import UsageError
from visift.core.types import Mark, Scene
from visift.marks.draw import PAPER_SHIFT, Look, glyph_size, looks_for
from visift.marks.number import numbers
from visift.marks.partition import LeftOut, Piece, partition
from visift.marks.place import Box, covered, peak, place_glyphs

MOST_HIDDEN = 0.95  # of a region's pixels: what lies under its own number to that share cannot be seen
MAX_TAGS = 24  # more than that cover each other at 336 pixels


@dataclass(frozen=True, slots=True)
class Layout:
    """Marks ordered by number, how each is to look, and the regions that got none."""

    marks: tuple[Mark, ...]
    looks: tuple[Look, ...]  # of the marks, in their order
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
    are kept. In style `clear`, a number that would hide its thing, or overlap another's, is drawn smaller; where the
    smallest still does, the thing gets none, of two whose numbers overlap the smaller one. The same scene, options and
    seed give the same marks. Raises UsageError for an unknown option value.
    """
    if model_px < 16 or max_tags < 1:
        raise UsageError(f"model_px {model_px} must be at least 16 and max_tags {max_tags} at least 1")
    height, width = scene.height, scene.width
    sizes = looks_for(style, height, width, model_px)
    pieces, left_out = partition(scene.regions, height, width)
    pieces, surplus = _largest(pieces, max_tags)
    kept = [Kept(piece, _center(piece)) for piece in pieces]
    if style == "clear":  # first as if each stood alone: that spares most of the search below
        while gone := _unreadable(kept, [_alone(one, sizes[one.size]) for one in kept], ()):
            kept, surplus = _smaller(kept, gone, surplus, len(sizes))
    while True:
        given = numbers([one.center for one in kept], height, numbering, seed, scene.id)
        boxes = _boxes(kept, given, sizes, height, width)
        clashing = covered(boxes, [one.piece.area for one in kept]) if style == "clear" else ()
        gone = _unreadable(kept, boxes, clashing) if style == "clear" else {}
        if not gone:
            break  # else once more: numbers, and with them the widths of boxes, change when a piece goes
        kept, surplus = _smaller(kept, gone, surplus, len(sizes))
    marks = [
        Mark(
            number, piece.region.id, piece.region.category, center, piece.box, box, piece.area,
            piece.rle(height, width), piece.region.name,
        )
        for number, (piece, center, _), box in zip(given, kept, boxes, strict=True)
    ]  # fmt: skip
    order = sorted(range(len(marks)), key=lambda k: marks[k].number)
    looks = tuple(sizes[kept[k].size] for k in order)
    return Layout(tuple(marks[k] for k in order), looks, (*left_out, *surplus))


class Kept(NamedTuple):
    """A piece, its deepest point, and which of the sizes its number has."""

    piece: Piece
    center: tuple[int, int]
    size: int = 0


def _alone(one: Kept, look: Look) -> Box:
    """The box of the narrowest number where it wishes to be."""
    w, h = glyph_size(look, 1)
    return one.center[0] - w // 2, one.center[1] - h // 2, w, h


def _boxes(kept: Sequence[Kept], given: Sequence[int], looks: Sequence[Look], height: int, width: int) -> list[Box]:
    sizes = [glyph_size(looks[one.size], number) for one, number in zip(kept, given, strict=True)]
    centers = [one.center for one in kept]
    if looks[0].style == "paper":
        return [_paper_box(center, size, height, width) for center, size in zip(centers, sizes, strict=True)]
    return place_glyphs([one.piece for one in kept], centers, sizes, height, width)


def _smaller(
    kept: list[Kept], gone: dict[int, str], left_out: list[LeftOut], sizes: int
) -> tuple[list[Kept], list[LeftOut]]:
    """Those of `gone` get a smaller number; those whose number is the smallest already are left out."""
    rest: list[Kept] = []
    for k, one in enumerate(kept):
        if k not in gone:
            rest.append(one)
        elif one.size + 1 < sizes:
            rest.append(one._replace(size=one.size + 1))
        else:
            left_out = [*left_out, LeftOut(one.piece.region.id, gone[k])]
    return rest, left_out


def _unreadable(kept: Sequence[Kept], boxes: Sequence[Box], clashing: Iterable[int]) -> dict[int, str]:
    """Whose number is too large, and why: every number and what it marks must be seen."""
    gone = dict.fromkeys(clashing, "its number would overlap that of a larger region")
    for k, ((piece, _, _), (x, y, w, h)) in enumerate(zip(kept, boxes, strict=True)):
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
