"""Order, laziness and errors are the same from every executor."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Iterator

import pytest

from visift.core.errors import UsageError, VisiftError
from visift.core.executor import AHEAD, CHUNK, map_ordered

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
EXECUTORS = [("local", 1), ("local", 2), pytest.param("ray", 2, marks=[needs_ray, pytest.mark.integration])]


@pytest.mark.parametrize(("executor", "workers"), EXECUTORS)
def test_order_window_and_errors(executor: str, workers: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1000):
            taken.append(n)
            yield n if n != 150 else -1

    results = map_ordered(math.sqrt, items(), workers=workers, executor=executor)  # type: ignore[arg-type]
    assert [next(results) for _ in range(40)] == [math.sqrt(n) for n in range(40)]
    assert len(taken) <= 40 + CHUNK * AHEAD * workers + CHUNK  # a window, never the whole input
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(results)


def test_bad_settings() -> None:
    with pytest.raises(UsageError):
        list(map_ordered(math.sqrt, [1], workers=0))
    with pytest.raises(UsageError):
        list(map_ordered(math.sqrt, [1], executor="spark"))  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_missing_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"visift\[ray\]"):
        list(map_ordered(math.sqrt, [1], executor="ray"))


def test_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise Exception("The node timed out.\nThe raylet failed.")  # as Ray raises it

    ray, exceptions = types.ModuleType("ray"), types.ModuleType("ray.exceptions")
    vars(ray).update(init=init, is_initialized=lambda: False, exceptions=exceptions)
    vars(exceptions).update(RayTaskError=RuntimeError)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    with pytest.raises(VisiftError, match=r"did not start \(The node timed out. The raylet failed.\)"):
        list(map_ordered(math.sqrt, [1], executor="ray"))
