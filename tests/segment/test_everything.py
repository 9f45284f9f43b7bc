"""All masks of a picture: the grid, the filters, overlaps and specks against a model that knows the answer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visift.core.rle import decode_rle
from visift.segment.everything import Prepared, Settings, cleaned, everything, grid, stability, suppress

SIDE = 32  # of the model's masks; pictures here are twice as large


class Knows:
    """For each point the masks that hold it, with their scores; all else is empty. Masks are bool (SIDE, SIDE)."""

    def __init__(self, masks: list[tuple[np.ndarray, float, float]], covered: tuple[float, float] = (1.0, 1.0)) -> None:
        self.known, self.covered, self.asked = masks, covered, 0

    def prepare(self, image: Image.Image) -> Prepared:
        return Prepared(None, self.covered)

    def masks(self, prepared: Prepared, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked += len(points)
        logits = np.full((len(points), len(self.known), SIDE, SIDE), -9, np.float32)
        iou = np.zeros(logits.shape[:2], np.float32)
        for n, (x, y) in enumerate(points * SIDE):
            for k, (mask, score, height) in enumerate(self.known):
                if mask[int(y), int(x)]:
                    logits[n, k][mask], iou[n, k] = height, score
        return logits, iou


def block(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def found(model: Knows, size: tuple[int, int] = (2 * SIDE, 2 * SIDE), **changed: float) -> list[np.ndarray]:
    settings = Settings(**{"points": 8, **changed})  # type: ignore[arg-type]
    return [decode_rle(f.rle) for f in everything(model, Image.new("RGB", size), settings)]


def test_every_thing_once_surest_first() -> None:
    small, large = block(2, 2, 8, 8), block(12, 12, 18, 18)
    model = Knows([(small, 0.95, 9.0), (large, 0.99, 9.0)])
    masks = found(model)
    assert model.asked == 64 and len(masks) == 2
    for mask, truth in zip(masks, (large, small), strict=True):
        exact = np.kron(truth, np.ones((2, 2), bool))
        assert (mask & exact).sum() / (mask | exact).sum() > 0.93  # corners are rounded by enlarging


def test_filters() -> None:
    things = [(block(0, 0, 9, 9), 0.88, 9.0), (block(20, 0, 9, 9), 0.9, 0.5), (block(0, 20, 9, 9), 0.89, 9.0)]
    (kept,) = found(Knows(things))  # not above the least IoU; not stable; good
    assert kept[44:56, 4:14].all()
    assert len(found(Knows(things), min_iou=0.8, min_stability=0.0)) == 3
    assert found(Knows([])) == []


def test_one_large_mask_at_a_time() -> None:
    """Sixteen masks of a picture of 1.4 million pixels need little more memory than one."""
    things = [(block(8 * x + 1, 8 * y + 1, 6, 6), 0.95, 9.0) for x in range(4) for y in range(4)]
    peaks = []
    for known in (things[:1], things[:1], things):  # the first one loads what is loaded once
        tracemalloc.start()
        assert len(everything(Knows(known), Image.new("RGB", (1200, 1200)), Settings(points=4))) == len(known)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_the_padding_of_a_picture_is_not_part_of_it() -> None:
    """A picture half as high as wide fills the upper half of the input; what the model says below is noise."""
    model = Knows([(block(4, 4, 8, 8), 0.95, 9.0), (block(0, 16, 32, 16), 0.99, 9.0)], covered=(1.0, 0.5))
    (mask,) = found(model, size=(2 * SIDE, SIDE))
    assert mask.shape == (SIDE, 2 * SIDE) and mask[10:22, 10:22].all() and mask.sum() < 20 * 20


def test_stability_by_hand() -> None:
    logits = np.array([[2.0, 0.5, -0.5, -2.0]])
    assert stability(logits, 1.0) == pytest.approx(1 / 3) and stability(logits, 0.1) == 1.0
    assert stability(np.full((3, 3), -5.0), 1.0) == 0.0


def test_grid_is_the_middles_of_cells() -> None:
    assert grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert len(grid(32)) == 1024


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 9)] * 2, st.integers(0, 3)), max_size=8))
def test_suppress_against_pixels(rows: list[tuple[int, int, int, int, int]]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows])
    kept = suppress(boxes, [row[4] for row in rows], 0.7)
    drawn = [block(x, y, w, h) for x, y, w, h, _ in rows]
    expected: list[int] = []
    for k in sorted(range(len(rows)), key=lambda k: rows[k][4]):
        if all((drawn[k] & drawn[j]).sum() <= 0.7 * (drawn[k] | drawn[j]).sum() for j in expected):
            expected.append(k)
    assert kept == expected


def test_specks() -> None:
    mask = block(4, 4, 16, 16)
    mask[8, 8:11] = False  # a hole of 3
    mask[30, 30] = True  # an island of 1
    mended, changed = cleaned(mask, 10)
    assert changed and (mended == block(4, 4, 16, 16)).all()
    assert cleaned(block(4, 4, 16, 16), 10)[1] is False
    tiny, _ = cleaned(block(4, 4, 2, 2), 10)
    assert tiny.sum() == 4  # a mask that is nothing but one island keeps it
