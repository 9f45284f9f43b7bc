"""Map a function over items in order: in this process, or in a pool of processes. The result never depends on which."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Literal, TypeVar

from visift.core.errors import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")
Executor = Literal["local", "ray"]

CHUNK = 16  # items a task: amortises pickling, keeps the order buffer small
AHEAD = 4  # tasks in flight a worker: the parent's memory stays flat however long the input is


def map_ordered(
    fn: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1, executor: Executor = "local"
) -> Iterator[Result]:
    """Yield `fn(item)` in input order. `fn` must be picklable for more than one worker. Errors of `fn` are raised here."""
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1 is needed")
    if executor == "ray":
        raise UsageError("--executor ray is not available yet", remedy="use --executor local")
    if workers == 1:
        yield from map(fn, items)
        return
    # spawn: a forked child would inherit threads of libraries the parent has loaded
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending: deque[Future[list[Result]]] = deque()
        stream = iter(items)
        try:
            while True:
                while len(pending) < workers * AHEAD and (chunk := list(islice(stream, CHUNK))):
                    pending.append(pool.submit(_run, fn, chunk))
                if not pending:
                    return
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _run(fn: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [fn(item) for item in chunk]
