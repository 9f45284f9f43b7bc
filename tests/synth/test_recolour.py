"""Recolouring: a border mixed as it was, a colour that is new."""

from __future__ import annotations

import numpy as np
import pytest

from visift.core.seeds import rng
from visift.synth.recolour import PALE, SWATCHES, coverage, inside, new_colour, repainted, tinted

THING, BEHIND = np.array([40.0, 90.0, 210.0]), np.array([150.0, 140.0, 120.0])


def drawn(thing: np.ndarray = THING) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disc with a soft edge on plain ground: pixels float32 (40, 40, 3), its mask, how much of each pixel is the disc's."""
    rows, columns = np.indices((40, 40))
    share = np.clip(12.5 - np.hypot(rows - 20, columns - 19), 0, 1)
    return (BEHIND + share[..., None] * (thing - BEHIND)).astype(np.float32), share > 0.5, share


def test_the_share_of_each_border_pixel_is_read_from_its_colour() -> None:
    pixels, mask, share = drawn()
    assert np.abs(coverage(pixels, mask) - share).max() < 0.02


def test_recoloured_it_is_as_if_drawn_in_that_colour() -> None:
    pixels, mask, _ = drawn()
    red = np.array(SWATCHES["red"], float)
    paint = tinted(pixels, mask, "red", exact=True, shade=np.zeros(3))
    assert np.abs(repainted(pixels, paint, mask) - drawn(red)[0]).max() < 4


def test_a_third_thing_beside_it_keeps_its_colour() -> None:
    pixels, mask, share = drawn()
    pixels[19:22, 32:] = (240, 20, 20)  # touches the disc's right edge
    shares = coverage(pixels, mask)
    assert shares[20, 33:].max() < 0.2
    assert share[20, 33:].max() == 0


def test_colours_so_alike_that_nothing_can_be_read_get_a_soft_border() -> None:
    pixels, mask, _ = drawn(BEHIND + 5)
    shares = coverage(pixels, mask)
    assert shares[mask].min() > 0.3
    assert shares[inside(mask)].min() == 1
    assert shares[:5].max() == 0


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow"])
def test_a_colour_that_a_part_of_it_wears_is_not_new(colour: str) -> None:
    """A third of the thing wears it, in a darker shade, the rest is grey."""
    pixels = np.full((300, 3), 120, np.float32)
    pixels[:100] = np.array(SWATCHES[colour]) * 0.7
    got = {new_colour(rng("colour", k), pixels, None) for k in range(60)}
    assert colour not in got
    assert len(got) >= 3


def test_a_dark_thing_gets_no_pale_colour() -> None:
    assert not {new_colour(rng(k), np.full((50, 3), 30, np.float32), None) for k in range(40)} & set(PALE)


def test_a_thing_of_every_hue_gets_none() -> None:
    turns = np.radians(np.arange(0, 360, 60))  # red, yellow, green, cyan, blue, magenta: a sixth each
    wheel = 128 + 100 * np.stack([np.cos(turns - np.radians(k)) for k in (0, 120, 240)], axis=1)
    assert new_colour(rng(0), wheel.repeat(20, axis=0).astype(np.float32), None) in {None, "pink", "orange", "brown"}
