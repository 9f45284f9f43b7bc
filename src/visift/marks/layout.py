"""From a scene to its marks: partition, deepest points, numbers, boxes. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass

from visift.core.errors import UsageError
from visift.core.types import Mark, Scene
from visift.marks.draw import PAPER_SHIFT, Look, glyph_size, look_for
from visift.marks.number import numbers
from visift.marks.partition import LeftOut, Piece, partition
from visift.marks.place import Box, peak, place_glyphs

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
    are kept. The same scene, options and seed give the same marks. Raises UsageError for an unknown option value.
    """
    if model_px < 16 or max_tags < 1:
        raise UsageError(f"model_px {model_px} must be at least 16 and max_tags {max_tags} at least 1")
    look = look_for(style, scene.height, scene.width, model_px)
    pieces, left_out = partition(scene.regions, scene.height, scene.width)
    pieces, surplus = _largest(pieces, max_tags)
    centers = [_center(piece) for piece in pieces]
    given = numbers(centers, scene.height, numbering, seed, scene.id)
    sizes = [glyph_size(look, number) for number in given]
    if style == "paper":
        boxes = [_paper_box(c, s, scene.height, scene.width) for c, s in zip(centers, sizes, strict=True)]
    else:
        boxes = place_glyphs(pieces, centers, sizes, scene.height, scene.width)
    marks = [
        Mark(
            number, piece.region.id, piece.region.category, center, piece.box, box, piece.area,
            piece.rle(scene.height, scene.width), piece.region.name,
        )
        for number, piece, center, box in zip(given, pieces, centers, boxes, strict=True)
    ]  # fmt: skip
    return Layout(tuple(sorted(marks, key=lambda m: m.number)), look, (*left_out, *surplus))


def _largest(pieces: list[Piece], count: int) -> tuple[list[Piece], list[LeftOut]]:
    kept = set(sorted(range(len(pieces)), key=lambda k: (-pieces[k].area, k))[:count])
    surplus = [
        LeftOut(p.region.id, f"{count} larger regions have a number") for k, p in enumerate(pieces) if k not in kept
    ]
    return [p for k, p in enumerate(pieces) if k in kept], surplus


def _center(piece: Piece) -> tuple[int, int]:
    x, y = peak(piece.mask)
    return piece.box[0] + x, piece.box[1] + y


def _paper_box(center: tuple[int, int], size: tuple[int, int], height: int, width: int) -> Box:
    """Text centred across at the peak, shifted as published, moved only as far as the picture's edge demands."""
    scale = min(height, width) / 640
    x = center[0] + round(PAPER_SHIFT[0] * scale) - size[0] // 2
    y = center[1] + round(PAPER_SHIFT[1] * scale)
    return max(0, min(x, width - size[0])), max(0, min(y, height - size[1])), *size
