"""All masks of a picture from a model that answers to points: a grid of points, filters, the best of each overlapping lot.

Numbers and order as in SAM's automatic generator, which Set-of-Mark data was made with (papers.md A.1.2). Unlike there,
stability and the first round of overlaps are judged on the model's own small masks; only what is left is enlarged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image
from scipy import ndimage

from visift.core.rle import encode_rle
from visift.segment.segmenter import Found

BATCH = 16  # points asked about at a time
GPU_POINTS, CPU_POINTS = 32, 12  # a side of the grid; the paper's, and what a processor does in a minute


@dataclass(frozen=True, slots=True)
class Settings:
    """The defaults are the paper's."""

    points: int = GPU_POINTS  # a side of the grid
    min_iou: float = 0.88  # the model's own estimate must be above
    min_stability: float = 0.92  # IoU of the masks cut at +offset and at -offset
    offset: float = 1.0
    max_overlap: float = 0.7  # IoU of boxes
    speck: int = 10  # pixels: smaller holes are filled, smaller islands removed

    def describe(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as the model has it. `covered` is the share of its input that the picture fills, across and down."""

    features: Any
    covered: tuple[float, float] = (1.0, 1.0)


class PointModel(Protocol):
    def prepare(self, image: Image.Image) -> Prepared: ...

    def masks(self, prepared: Prepared, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For points (n, 2), x and y in 0..1 of the model's input: logits (n, k, h, w) float32 and estimated IoU (n, k)."""
        ...


def everything(model: PointModel, image: Image.Image, settings: Settings) -> list[Found]:
    """Masks of all that the model finds on a grid of points, surest first; they may overlap and lie in one another."""
    prepared = model.prepare(image)
    found = list(_candidates(model, prepared, settings))
    keep = suppress(np.array([_box(small > 0) for small, _ in found]), [-s for _, s in found], settings.max_overlap)
    boxes, order, whole = [], [], []
    for k in keep:  # one mask of the picture's size at a time
        small, score = found[k]
        mask, changed = cleaned(_enlarge(small, prepared.covered, image.size), settings.speck)
        if mask.any():
            boxes.append(_box(mask))
            # masks that were mended come last, as in SAM: an untouched one of the same thing is the better one
            order.append((changed, -score))
            whole.append((encode_rle(mask), score))
    keep = suppress(np.array(boxes), order, settings.max_overlap)
    best = sorted(keep, key=lambda k: (-whole[k][1], k))
    return [Found(whole[k][0], round(whole[k][1], 4)) for k in best]


def grid(side: int) -> np.ndarray:
    """Middles of side x side cells, row by row: (side * side, 2), x and y in 0..1."""
    middles = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def _candidates(model: PointModel, prepared: Prepared, settings: Settings) -> Iterator[tuple[np.ndarray, float]]:
    """Logits float16 (h, w), of the whole model input, and estimated IoU of the masks that pass both filters."""
    points = grid(settings.points) * prepared.covered
    for start in range(0, len(points), BATCH):
        logits, iou = model.masks(prepared, points[start : start + BATCH])
        height, width = (max(1, round(s * c)) for s, c in zip(logits.shape[2:], prepared.covered[::-1], strict=True))
        for small, score in zip(logits.reshape(-1, *logits.shape[2:]), iou.reshape(-1), strict=True):
            shown = small[:height, :width]
            if score > settings.min_iou and stability(shown, settings.offset) >= settings.min_stability:
                outside = np.full_like(small, -1, dtype=np.float16)  # what the model says of its padding is noise
                outside[:height, :width] = shown
                yield outside, min(float(score), 1.0)


def stability(logits: np.ndarray, offset: float) -> float:
    """IoU of the masks cut at `offset` above and below zero; 0 where there is no mask."""
    low = np.count_nonzero(logits > -offset)
    return np.count_nonzero(logits > offset) / low if low and (logits > 0).any() else 0.0


def suppress(boxes: np.ndarray, order: list[Any], max_overlap: float) -> list[int]:
    """Which boxes x0, y0, x1, y1 (n, 4) stay: by ascending `order` (ties as given), each unless one that stays overlaps it more."""
    kept: list[int] = []
    for k in sorted(range(len(order)), key=lambda k: order[k]):
        if kept:
            others = boxes[kept]
            sides = np.minimum(boxes[k, 2:], others[:, 2:]) - np.maximum(boxes[k, :2], others[:, :2])
            shared = np.clip(sides, 0, None).prod(axis=1)
            union = (boxes[k, 2:] - boxes[k, :2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
            if (shared > max_overlap * union).any():
                continue
        kept.append(k)
    return kept


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask with any pixel; the ends are exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _enlarge(logits: np.ndarray, covered: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """The mask as bool (height, width) of a picture of that size (width, height)."""
    small = Image.fromarray(logits.astype(np.float32))
    part = (0.0, 0.0, small.width * covered[0], small.height * covered[1])
    return np.asarray(small.resize(size, Image.Resampling.BILINEAR, box=part)) > 0


def cleaned(mask: np.ndarray, speck: int) -> tuple[np.ndarray, bool]:
    """Holes below `speck` pixels filled, islands below it removed (but the largest); and whether anything changed.

    Pixels that touch at a corner belong together.
    """
    before = mask
    touching = np.ones((3, 3), bool)
    for holes in (True, False):
        labels, count = ndimage.label(~mask if holes else mask, touching)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        small = sizes < speck
        small[0] = False
        if not holes and count:
            small[1 + int(sizes[1:].argmax())] = False
        if small.any():
            mask = mask | small[labels] if holes else mask & ~small[labels]
    return mask, mask is not before
