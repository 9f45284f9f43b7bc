"""Partition against the definition: walk up by area, subtract what is taken, drop what is too small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.core.rle import decode_rle, encode_rle
from visift.core.types import Region
from visift.marks.partition import min_area, partition


def region(k: int, mask: np.ndarray, crowd: bool = False) -> Region:
    return Region(f"r{k}", "thing", (0, 0, 1, 1), encode_rle(mask), {}, crowd)


@st.composite
def masks(draw: st.DrawFn) -> list[np.ndarray]:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    gen = np.random.default_rng(draw(st.integers(0, 10**6)))
    result = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["noise", "box", "empty", "full", "pixel"]))
        mask = np.zeros((height, width), bool)
        if kind == "noise":
            mask = gen.random((height, width)) < gen.random()
        elif kind == "box":
            y, x = gen.integers(height), gen.integers(width)
            mask[y : y + gen.integers(1, height + 1), x : x + gen.integers(1, width + 1)] = True
        elif kind == "full":
            mask[:] = True
        elif kind == "pixel":
            mask[gen.integers(height), gen.integers(width)] = True
        result.append(mask)
    return result


def reference(all_masks: list[np.ndarray], smallest: int) -> dict[str, np.ndarray]:
    """Pixel by pixel: the owner is the first of the smallest masks that cover it."""
    order = sorted(range(len(all_masks)), key=lambda k: (int(all_masks[k].sum()), k))
    owned = {k: np.zeros_like(all_masks[k]) for k in order}
    if all_masks:
        for y in range(all_masks[0].shape[0]):
            for x in range(all_masks[0].shape[1]):
                owner = next((k for k in order if all_masks[k][y, x]), None)
                if owner is not None:
                    owned[owner][y, x] = True
    return {f"r{k}": m for k, m in owned.items() if m.sum() >= max(smallest, 1)}


@given(masks(), st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_equals_brute_force_and_is_disjoint(all_masks: list[np.ndarray], smallest: int) -> None:
    height, width = all_masks[0].shape if all_masks else (5, 5)
    pieces, left_out = partition([region(k, m) for k, m in enumerate(all_masks)], height, width, smallest)
    expected = reference(all_masks, smallest)
    found = {p.region.id: decode_rle(p.rle(height, width)) for p in pieces}
    assert found.keys() == expected.keys()
    assert {left.region for left in left_out} == {f"r{k}" for k in range(len(all_masks))} - expected.keys()
    for name, mask in found.items():
        assert np.array_equal(mask, expected[name])
    if found:
        assert np.sum(list(found.values()), axis=0).max() == 1
    for piece in pieces:
        x, y, w, h = piece.box
        assert piece.mask.shape == (h, w) and piece.area == piece.mask.sum()
        assert piece.mask[0].any() and piece.mask[-1].any() and piece.mask[:, 0].any() and piece.mask[:, -1].any()
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height


def test_dropped_region_keeps_its_pixels() -> None:
    small, large = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    small[4:6, 4:6] = True
    large[2:12, 2:12] = True
    pieces, left_out = partition([region(0, large), region(1, small)], 20, 20, smallest=10)
    assert [p.region.id for p in pieces] == ["r0"] and pieces[0].area == 100 - 4
    assert left_out[0].region == "r1" and "4 pixels" in left_out[0].reason


def test_crowd_takes_pixels_but_gets_no_piece() -> None:
    crowd, large = np.zeros((20, 20), bool), np.ones((20, 20), bool)
    crowd[:10] = True
    pieces, left_out = partition([region(0, large), region(1, crowd, crowd=True)], 20, 20)
    assert [p.area for p in pieces] == [200] and "crowd" in left_out[0].reason


@pytest.mark.parametrize(("height", "width", "pixels"), [(640, 853, 110), (480, 640, 62), (112, 112, 3), (1, 1, 1)])
def test_threshold_scales_with_the_picture(height: int, width: int, pixels: int) -> None:
    assert min_area(height, width) == pixels


@pytest.mark.parametrize(
    "segmentation",
    [[], [[1.0]], [[float("nan")] * 6], {"size": [9, 9], "counts": "abc"}, {"size": [20, 20], "counts": "zz99~~"}, {"size": [20, 20]},
     {"size": [20, 20], "counts": [-3, 5]}, {"size": [20, 20], "counts": [1, 2]}, [["a"] * 6], [[1e9, 0, 0, 1e9, 5, 5]], {"size": "x", "counts": 3}],
)  # fmt: skip
def test_malformed_mask_is_left_out_with_a_reason(segmentation: object) -> None:
    bad = Region("bad", "thing", (0, 0, 5, 5), segmentation)  # type: ignore[arg-type]
    good = region(1, np.ones((20, 20), bool))
    pieces, left_out = partition([bad, good], 20, 20)
    assert [p.region.id for p in pieces] == ["r1"] and pieces[0].area == 400
    assert [left.region for left in left_out] == ["bad"] and left_out[0].reason


def test_thousands_of_regions() -> None:
    gen = np.random.default_rng(0)
    regions = []
    for k in range(2000):
        x, y = (float(v) for v in gen.integers(0, 500, size=2))
        regions.append(Region(f"r{k}", "dot", (x, y, 12, 12)))
    pieces, left_out = partition(regions, 512, 512)
    assert len(pieces) + len(left_out) == 2000
    total = np.zeros((512, 512), int)
    for piece in pieces:
        x, y, w, h = piece.box
        total[y : y + h, x : x + w] += piece.mask
    assert total.max() == 1
