"""Runs read from compressed RLE against pycocotools' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.core.errors import DataError
from visift.core.rle import decode_box, encode_box, encode_rle, fills, runs_of
from visift.core.types import Region


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_runs_equal_the_mask(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    runs = runs_of(encode_rle(mask)["counts"])
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert np.array_equal(values.reshape(width, height).T, mask)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_box_equals_the_mask(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    part, x, y = decode_box(encode_rle(mask)["counts"], height)
    whole = np.zeros_like(mask)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    assert np.array_equal(whole, mask)
    if mask.any():
        assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
        assert encode_box(part, x, y, height, width) == encode_rle(mask)["counts"]


def test_long_runs() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[1500:, 999:1001] = True
    counts = encode_rle(mask)["counts"]
    assert fills(counts, 6_000_000) and not fills(counts, 6_000_001)


@pytest.mark.parametrize("counts", ["", "1", "zz99~~", "é", "oooo", "P1", "\x00\x01"])
def test_counts_that_do_not_fill_the_picture_are_refused(counts: str) -> None:
    with pytest.raises(DataError, match="region bad"):
        Region("bad", "thing", (0, 0, 1, 1), {"size": [20, 20], "counts": counts}).rle(20, 20)
