"""Deepest points against a brute-force reference; glyph boxes against their contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from visift.core.types import Region
from visift.marks.partition import Piece
from visift.marks.place import peak, place_glyphs


def brute_peak(mask: np.ndarray) -> tuple[int, int]:
    """Every inside pixel against every outside pixel of the padded mask."""
    padded = np.pad(mask, 1)
    inside, outside = np.argwhere(padded), np.argwhere(~padded)
    squared = ((inside[:, None] - outside[None]) ** 2).sum(axis=2).min(axis=1)
    best = inside[squared == squared.max()]
    y, x = best[(len(best) - 1) // 2]
    return int(x) - 1, int(y) - 1


@given(st.integers(1, 26), st.integers(1, 26), st.floats(0.3, 1), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_peak_equals_brute_force(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask.flat[seed % mask.size] = True
    assert peak(mask) == brute_peak(mask)


@given(st.integers(60, 260), st.integers(60, 260), st.floats(1, 30), st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_coarse_search_equals_the_full_transform(height: int, width: int, blur: float, seed: int, holes: bool) -> None:
    gen = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(gen.normal(size=(height, width)), blur) > 0
    if holes:
        mask |= True
        mask[gen.integers(height), gen.integers(width)] = False
    mask[0, 0] = True
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))
    rows, columns = np.nonzero(distance == distance.max())
    middle = (len(rows) - 1) // 2
    assert peak(mask) == (columns[middle] - 1, rows[middle] - 1)


def piece(mask: np.ndarray, x: int = 0, y: int = 0) -> Piece:
    return Piece(Region("r", "thing", (0, 0, 1, 1)), (x, y, mask.shape[1], mask.shape[0]), mask, int(mask.sum()))


def inside(p: Piece, box: tuple[int, int, int, int]) -> bool:
    x, y = box[0] + box[2] // 2 - p.box[0], box[1] + box[3] // 2 - p.box[1]
    return 0 <= x < p.box[2] and 0 <= y < p.box[3] and bool(p.mask[y, x])


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def free_place_exists(p: Piece, size: tuple[int, int], others: list[tuple[int, int, int, int]], side: int) -> bool:
    for y, x in np.argwhere(p.mask):
        box = (p.box[0] + x - size[0] // 2, p.box[1] + y - size[1] // 2, *size)
        fits = box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= side and box[1] + box[3] <= side
        if fits and not any(overlap(box, other) for other in others):
            return True
    return False


@given(st.integers(0, 10**6), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_glyphs_overlap_only_where_neither_can_move(seed: int, count: int) -> None:
    side, gen = 60, np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        h, w = (int(v) for v in gen.integers(2, 30, size=2))
        y, x = int(gen.integers(0, side - h)), int(gen.integers(0, side - w))
        mask = gen.random((h, w)) < 0.8
        mask[0, 0] = True
        pieces.append(piece(mask, x, y))
    sizes = [(int(gen.choice([9, 15])), 13) for _ in pieces]
    centers = [(p.box[0] + peak(p.mask)[0], p.box[1] + peak(p.mask)[1]) for p in pieces]
    boxes = place_glyphs(pieces, centers, sizes, side, side)
    assert len(boxes) == count
    for k, box in enumerate(boxes):
        others = [b for j, b in enumerate(boxes) if j != k]
        assert (
            box[2:] == sizes[k] and box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= side and box[1] + box[3] <= side
        )
        if any(overlap(box, other) for other in others):
            assert not free_place_exists(pieces[k], sizes[k], others, side)
        if free_place_exists(pieces[k], sizes[k], [], side):
            assert inside(pieces[k], box)


def test_a_glyph_makes_room_for_a_neighbour_that_has_none() -> None:
    wide = piece(np.ones((13, 60), bool), 0, 20)
    spot = piece(np.ones((1, 1), bool), 30, 33)
    boxes = place_glyphs([wide, spot], [(30, 26), (30, 33)], [(9, 13), (9, 13)], 60, 60)
    assert not overlap(*boxes) and inside(wide, boxes[0]) and inside(spot, boxes[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (300, 2)])
def test_slivers(shape: tuple[int, int]) -> None:
    x, y = peak(np.ones(shape, bool))
    assert 0 <= x < shape[1] and 0 <= y < shape[0]
