"""Where a number goes: the pixel deepest inside its region, away from other numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from visift.marks.partition import Piece

CELL = 4  # pixels: side of a cell of the coarse search; `_whole_cells` relies on 4
SMALL = 6000  # pixels: below, the plain distance transform is faster
GAP = 2  # pixels kept free between two glyphs where there is room: "1" beside "2" must not read 12
Box = tuple[int, int, int, int]


def peak(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel farthest (Euclidean) from all pixels outside `mask`, a bool (h, w) with any pixel set.

    What lies beyond the array is outside. Of several, the middle one in row-major order (papers.md A.1.2). Exact: the
    coarse search only skips cells that cannot hold the maximum.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
    padded[1:-1, 1:-1] = mask
    found = _coarse_to_fine(padded) if padded.size > SMALL else None
    if found is None:
        distance = ndimage.distance_transform_edt(padded)
        found = np.argwhere(distance == distance.max())
    row, column = found[(len(found) - 1) // 2]
    return int(column) - 1, int(row) - 1


def _coarse_to_fine(mask: np.ndarray) -> np.ndarray | None:
    """Row and column (n, 2), row-major, of all pixels at the maximum of the distance transform of `mask`.

    None where too many cells could hold it for this to pay. With d the distance from a cell's centre to the centre of
    the nearest cell that is not wholly inside, each of its pixels lies d +- CELL * sqrt(2) from the outside. `mask` has
    a border of outside pixels.
    """
    height, width = mask.shape
    full = np.zeros((height + -height % CELL, width + -width % CELL), dtype=bool)
    full[:height, :width] = mask
    depth = ndimage.distance_transform_edt(_whole_cells(full)) * CELL
    spread, deepest = CELL * 2**0.5, float(depth.max())
    reach = int(deepest + spread)  # no pixel is farther from the outside
    hopeful = np.argwhere(depth >= deepest - 2 * spread)
    window = tuple(
        slice(max(0, low * CELL - reach), (high + 1) * CELL + reach)
        for low, high in zip(hopeful.min(axis=0), hopeful.max(axis=0), strict=True)
    )
    corner = np.array([part.start for part in window])
    if len(hopeful) * (2 * reach + 1) > mask.size:
        return None
    across = _distance_across(full[window])
    # the middle pixel of each hopeful cell: no other of the cell is 3 deeper
    middle = _squared(across, hopeful * CELL + CELL // 2 - corner, reach) ** 0.5
    points = _pixels(hopeful[middle + 3 >= middle.max()]) - corner
    points = points[across[points[:, 0], points[:, 1]] >= middle.max()]
    if len(points) * (2 * reach + 1) > 2 * mask.size:
        return None
    squared = _squared(across, points, reach)
    found = points[squared == squared.max()] + corner
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _whole_cells(mask: np.ndarray) -> np.ndarray:
    """Which cells are wholly inside: four bytes of 1 read as one number, in four rows."""
    rows = mask.view(np.uint32) == 0x01010101
    return rows[0::CELL] & rows[1::CELL] & rows[2::CELL] & rows[3::CELL]


def _pixels(cells: np.ndarray) -> np.ndarray:
    """Row and column of every pixel of the cells (n, 2), cell by cell: (16 n, 2)."""
    within = np.argwhere(np.ones((CELL, CELL), bool))
    return (cells[:, None] * CELL + within).reshape(-1, 2)


def _distance_across(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest outside one in its row, int16 or int32 (h, w); 0 outside.

    Where a row has none on a side, the row's end on that side counts as 1 beyond or more: never less than the truth.
    """
    width = mask.shape[1]
    columns = np.arange(width, dtype=np.int16 if width < 1 << 13 else np.int32)
    left = np.maximum.accumulate(np.where(mask, -2 * width, columns), axis=1)
    right = np.minimum.accumulate(np.where(mask, 2 * width, columns)[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(columns - left, right - columns)


def _squared(across: np.ndarray, points: np.ndarray, reach: int) -> np.ndarray:
    """Squared distance to the outside of each of `points` (n, 2), none farther than `reach`: int32 or int64 (n,).

    The nearest outside pixel lies some rows up or down, and there as near across as any.
    """
    steps = np.arange(-reach, reach + 1)
    # a row beyond the picture counts as its border, which is outside and nearer
    rows = np.clip(points[:, :1] + steps, 0, across.shape[0] - 1)
    near = across.ravel().take(rows * across.shape[1] + points[:, 1:])
    near = near.astype(np.int32 if across.dtype == np.int16 else np.int64)
    return (near * near + (steps * steps).astype(near.dtype)).min(axis=1)


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


def covered(boxes: Sequence[Box], areas: Sequence[int]) -> set[int]:
    """Which boxes to leave out next so that fewer overlap; empty when none do.

    The one that overlaps most others, then the smallest, and so on, but no two that overlap each other: when one is
    gone, there may be room for the other.
    """
    gone: set[int] = set()
    while True:
        left = [k for k in range(len(boxes)) if k not in gone]
        clashes = {k: sum(_overlap(boxes[k], boxes[j]) for j in left if j != k) for k in left}
        open_to = [k for k in left if clashes[k] and not any(_overlap(boxes[k], boxes[j]) for j in gone)]
        if not open_to:
            return gone
        gone.add(max(open_to, key=lambda k: (clashes[k], -areas[k], k)))


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
