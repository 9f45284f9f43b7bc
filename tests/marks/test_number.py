from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from visift.marks.number import numbers

points = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30)


@given(points, st.sampled_from(["random", "area", "reading"]), st.integers(0, 99))
def test_numbers_run_from_one_without_gaps(centers: list[tuple[int, int]], numbering: str, seed: int) -> None:
    assert sorted(numbers(centers, 100, numbering, seed)) == list(range(1, len(centers) + 1))


def test_reading_order_goes_row_by_row() -> None:
    centers = [(90, 12), (10, 15), (50, 60), (5, 61), (50, 10)]
    assert numbers(centers, 100, "reading") == [3, 1, 5, 4, 2]


def test_area_order_is_the_walk_order() -> None:
    assert numbers([(5, 5), (1, 1), (9, 9)], 10, "area") == [1, 2, 3]


def test_random_order_is_keyed_and_even() -> None:
    centers = [(0, 0)] * 4
    assert numbers(centers, 10, "random", 1, "a") == numbers(centers, 10, "random", 1, "a")
    first = Counter(numbers(centers, 10, "random", 0, k)[0] for k in range(2000))
    assert all(420 < first[n] < 580 for n in range(1, 5))  # 500 expected, four standard deviations either way
