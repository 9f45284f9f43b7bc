"""Randomness depends on its keys alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visift.core.seeds import rng, seed_of

KEY = st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def test_seeds_are_the_same_everywhere_and_for_ever() -> None:
    """A dataset made last year is made again from the same seed: these numbers must never change."""
    assert seed_of(0, "number", "coco:872") == 14345771754898176305
    assert rng(0, "a").integers(0, 1000, 3).tolist() == [941, 380, 261]


@given(st.lists(KEY, min_size=1, max_size=3), st.lists(KEY, min_size=1, max_size=3))
def test_other_keys_give_other_seeds(a: list[object], b: list[object]) -> None:
    assert (seed_of(*a) == seed_of(*b)) == (list(map(str, a)) == list(map(str, b)))
