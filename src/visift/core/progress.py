"""A progress bar with rate and time left on a terminal; a plain line now and then where there is none. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_EVERY = 5.0  # seconds between plain lines


class Ticker(Protocol):
    def __call__(self, done: int = 1, note: str = "") -> None: ...


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


@contextmanager
def progress(title: str, total: int | None, unit: str = "items", done: int = 0) -> Iterator[Ticker]:
    """Yield `tick(n=1, note="")`. `done` is what an earlier run had finished: it counts as done but not in the rate."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), unit, TextColumn("{task.fields[rate]}"))
        with Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(title, total=total, completed=done, rate="", note="")
            start, new = time.monotonic(), 0

            def tick(done: int = 1, note: str = "") -> None:
                nonlocal new
                new += done
                rate = f"{new / max(time.monotonic() - start, 1e-9):.1f}/s"
                bar.update(task, advance=done, rate=rate)
                if note:
                    bar.update(task, note=note)

            yield tick
        return

    start = last = time.monotonic()
    new = 0

    def line(note: str) -> None:
        rate = new / max(time.monotonic() - start, 1e-9)
        left = f", {_clock((total - done - new) / rate)} left" if total and rate > 0 else ""
        of = f"/{total}" if total is not None else ""
        print(
            f"{title}: {done + new}{of} {unit}, {rate:.1f}/s{left}{'  ' + note if note else ''}",
            file=sys.stderr,
            flush=True,
        )

    def plain(done: int = 1, note: str = "") -> None:
        nonlocal new, last
        new += done
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            line(note)

    yield plain
    line(f"done in {_clock(time.monotonic() - start)}")
