"""Where a number goes: the pixel deepest inside its region, away from other numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from visift.marks.partition import Piece

CELL = 8  # pixels: side of a cell of the coarse search
SMALL = 6000  # pixels: below, the plain distance transform is faster
GAP = 2  # pixels kept free between two glyphs where there is room: "1" beside "2" must not read 12
Box = tuple[int, int, int, int]


def peak(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel farthest (Euclidean) from all pixels outside `mask`, a bool (h, w) with any pixel set.

    What lies beyond the array is outside. Of several, the middle one in row-major order (papers.md A.1.2). Exact: the
    coarse search only skips cells that cannot hold the maximum.
    """
    padded = np.pad(mask, 1)
    found = _coarse_to_fine(padded) if padded.size > SMALL else None
    if found is None:
        distance = ndimage.distance_transform_edt(padded)
        found = np.nonzero(distance == distance.max())
    rows, columns = found
    middle = (len(rows) - 1) // 2
    return int(columns[middle]) - 1, int(rows[middle]) - 1


def _coarse_to_fine(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns, row-major, of all pixels at the maximum of the distance transform of `mask`.

    None where too many cells could hold it for this to pay. With R the half diagonal of a cell and d the distance from
    its centre to the centre of the nearest cell that is not wholly inside, each pixel's distance lies within d +- 2R.
    """
    height, width = mask.shape
    full = np.pad(mask, ((0, -height % CELL), (0, -width % CELL)))
    cells = full.reshape(full.shape[0] // CELL, CELL, full.shape[1] // CELL, CELL)
    inside = cells.all(axis=(1, 3))
    if not inside.any():
        return None
    depth = ndimage.distance_transform_edt(inside) * CELL
    spread = CELL * 2**0.5
    edge = cKDTree(np.argwhere(_outside_edge(full)))
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    first = np.argwhere(np.ones((CELL, CELL), bool)) + np.array([row * CELL, column * CELL])
    best = float(edge.query(first)[0].max())
    hopeful = depth + spread >= best
    if np.count_nonzero(hopeful) * CELL * CELL > mask.size // 8:
        return None
    fine = np.repeat(np.repeat(hopeful, CELL, axis=0), CELL, axis=1) & full
    points = np.argwhere(fine)
    squared = np.rint(edge.query(points)[0] ** 2)  # whole numbers, so that ties are ties
    top = points[squared == squared.max()]
    return top[:, 0], top[:, 1]


def _outside_edge(mask: np.ndarray) -> np.ndarray:
    """Outside pixels with a neighbour (of four) inside: the nearest outside pixel is always one of them."""
    near = np.zeros_like(mask)
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    near[:, 1:] |= mask[:, :-1]
    near[:, :-1] |= mask[:, 1:]
    return near & ~mask


def place_glyphs(
    pieces: Sequence[Piece],
    centers: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> list[Box]:
    """A box x, y, w, h per piece, of the given (odd) sizes, inside the picture.

    Each is centred on its piece's `center` where it fits there, else on the deepest pixel of the piece that keeps it
    inside the picture and off the others. Two overlap only if neither can move anywhere in its piece; a box's centre
    leaves its piece only where the piece lies too close to the picture's edge for its size.
    """
    boxes: list[Box | None] = [None] * len(pieces)
    for k in range(len(pieces)):
        boxes[k] = _best(pieces[k], centers[k], sizes[k], [b for b in boxes if b], height, width)
    moved = True
    while moved:  # a later glyph may have found no room that an earlier one can make; each move frees one for good
        moved = False
        for k, box in enumerate(boxes):
            others = [b for j, b in enumerate(boxes) if b and j != k]
            if box and any(_overlap(box, other) for other in others):
                new = _best(pieces[k], centers[k], sizes[k], others, height, width)
                if not any(_overlap(new, other) for other in others):
                    boxes[k], moved = new, True
    return [b for b in boxes if b]


def _best(
    piece: Piece, center: tuple[int, int], size: tuple[int, int], others: Sequence[Box], height: int, width: int
) -> Box:
    """The glyph's box given the others'."""
    w, h = size
    wish = (center[0] - w // 2, center[1] - h // 2, w, h)
    if _fits(wish, height, width) and not any(_overlap(wish, other, GAP) for other in others):
        return wish
    for gap, avoid in ((GAP, others), (0, others), (0, ())):
        free = _free(piece, size, avoid, gap, height, width)
        if free.any():
            x, y = peak(free)
            return (piece.box[0] + x - w // 2, piece.box[1] + y - h // 2, w, h)
    return (max(0, min(wish[0], width - w)), max(0, min(wish[1], height - h)), w, h)


def _free(piece: Piece, size: tuple[int, int], others: Sequence[Box], gap: int, height: int, width: int) -> np.ndarray:
    """Where in the piece's box the glyph's centre may lie: bool like `piece.mask`."""
    (x0, y0, _, _), (w, h) = piece.box, size
    free = piece.mask.copy()

    def clear(left: int, top: int, right: int, bottom: int) -> None:
        free[max(0, top - y0) : max(0, bottom - y0), max(0, left - x0) : max(0, right - x0)] = False

    clear(x0, y0, w // 2, y0 + free.shape[0])
    clear(width - w + w // 2 + 1, y0, x0 + free.shape[1], y0 + free.shape[0])
    clear(x0, y0, x0 + free.shape[1], h // 2)
    clear(x0, height - h + h // 2 + 1, x0 + free.shape[1], y0 + free.shape[0])
    for x, y, ow, oh in others:  # centres whose box would come within `gap` of this one
        clear(x - gap - (w - w // 2) + 1, y - gap - (h - h // 2) + 1, x + ow + gap + w // 2, y + oh + gap + h // 2)
    return free


def _fits(box: Box, height: int, width: int) -> bool:
    x, y, w, h = box
    return x >= 0 and y >= 0 and x + w <= width and y + h <= height


def _overlap(a: Box, b: Box, gap: int = 0) -> bool:
    return (
        a[0] < b[0] + b[2] + gap and b[0] < a[0] + a[2] + gap and a[1] < b[1] + b[3] + gap and b[1] < a[1] + a[3] + gap
    )
