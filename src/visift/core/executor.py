"""Map a function over items in order: in this process, in a pool of processes, in threads, or on Ray. The result never depends on which."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal, TypeVar

from visift.core.errors import UsageError, VisiftError

Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle")
Executor = Literal["local", "threads", "ray"]

CHUNK = 16  # items a task: amortises pickling, keeps the order buffer small
AHEAD = 4  # tasks in flight a worker: the parent's memory stays flat however long the input is


def map_ordered(
    fn: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1, executor: Executor = "local"
) -> Iterator[Result]:
    """Yield `fn(item)` in input order. Errors of `fn` are raised here.

    `fn` must be picklable for more than one worker, except in `threads`, which are for work that waits (a remote model).
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1 is needed")
    if executor not in ("local", "threads", "ray"):
        raise UsageError(f"executor {executor!r} is neither local nor ray")
    if executor == "ray":
        yield from _on_ray(fn, items, workers)
    elif executor == "threads":
        yield from _in_threads(fn, items, workers)
    elif workers == 1:
        yield from map(fn, items)
    else:
        yield from _in_pool(fn, items, workers)


def _in_pool(fn: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    # spawn: a forked child would inherit threads of libraries the parent has loaded
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:

        def submit(chunk: list[Item]) -> Future[list[Result]]:
            return pool.submit(_run, fn, chunk)

        yield from _ordered(items, workers, submit, lambda future: future.result(), lambda future: future.cancel())


def _in_threads(fn: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    pool = ThreadPoolExecutor(workers)

    def submit(chunk: list[Item]) -> Future[list[Result]]:
        return pool.submit(_run, fn, chunk)

    try:
        yield from _ordered(
            items, workers, submit, lambda future: future.result(), lambda future: future.cancel(), chunk_size=1
        )
    except VisiftError:
        pool.shutdown(wait=True, cancel_futures=True)  # what is under way may be paid for: let it end
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _on_ray(fn: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Ray tasks, in the cluster that RAY_ADDRESS names or else in one started here. All nodes must see the same folders.

    Tasks, not Ray Data: the input is a stream, and only a window of it is ever in flight.
    """
    try:
        import ray
        from ray.exceptions import RayTaskError
    except ImportError as e:
        raise UsageError("--executor ray needs Ray", remedy="pip install 'visift[ray]'") from e
    started = not ray.is_initialized()
    if started:
        here: dict[str, Any] = (
            {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        )
        try:
            ray.init(log_to_driver=False, **here)
        except (
            Exception
        ) as e:  # its errors share no base: a node that does not come up, an address where nobody answers
            raise VisiftError(
                f"Ray did not start ({' '.join(str(e).split())[:200]})",
                remedy="is RAY_ADDRESS right, and the machine idle?",
            ) from e
    task: Any = ray.remote(_run)
    shared = ray.put(fn)

    def collect(handle: Any) -> list[Result]:
        try:
            return list(ray.get(handle))
        except RayTaskError as e:  # the error of `fn` itself, as from the other executors
            raise e.cause from e

    try:
        yield from _ordered(items, workers, lambda chunk: task.remote(shared, chunk), collect, ray.cancel)
    finally:
        if started:
            ray.shutdown()


def _ordered(
    items: Iterable[Item],
    workers: int,
    submit: Callable[[list[Item]], Handle],
    collect: Callable[[Handle], list[Result]],
    cancel: Callable[[Handle], Any],
    chunk_size: int = CHUNK,
) -> Iterator[Result]:
    """Keep a window of chunks in flight and yield their results in the order of the items."""
    pending: deque[Handle] = deque()
    stream = iter(items)
    try:
        while True:
            while len(pending) < workers * AHEAD and (chunk := list(islice(stream, chunk_size))):
                pending.append(submit(chunk))
            if not pending:
                return
            yield from collect(pending.popleft())
    finally:
        for handle in pending:
            cancel(handle)


def _run(fn: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [fn(item) for item in chunk]
