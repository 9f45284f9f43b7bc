"""Run jobs in processes of their own, several at once, in dependency order; show what each is doing.

A job is `python -m visift.recipe.job SPEC`. It ends itself when its parent goes away, so that a killed run leaves nobody
behind who writes into the same folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visift.core.errors import VisiftError
from visift.core.files import read_json, write_json

PLAIN_EVERY = 10.0  # seconds between lines of one job where there is no terminal


@dataclass(slots=True)
class Job:
    """`spec` is JSON: {"do": …, arguments}. Done when RUN/steps/NAME.json holds the same spec."""

    name: str
    spec: Mapping[str, Any]
    after: frozenset[str] = frozenset()


@dataclass(slots=True)
class Running:
    process: subprocess.Popen[str]
    started: float
    last: str = ""
    tail: list[str] = field(default_factory=list)
    printed: float = 0.0


def run_jobs(run: Path, jobs: Iterable[Job], at_once: int) -> dict[str, float]:
    """Run all jobs and return the seconds each took when it was finished. Raises VisiftError with a failed job's own words.

    Jobs start in the order given as soon as what they come `after` is done.
    """
    waiting = {job.name: job for job in jobs}
    steps = run / "steps"
    seconds: dict[str, float] = {}
    for name, job in list(waiting.items()):
        marker = steps / f"{name}.json"
        if marker.exists() and read_json(marker).get("spec") == json.loads(json.dumps(job.spec)):
            seconds[name] = read_json(marker)["seconds"]
            del waiting[name]
    done = set(seconds)
    running: dict[str, Running] = {}
    specs = {name: job.spec for name, job in waiting.items()}
    total = len(seconds) + len(waiting)
    with _display(running, done, total) as show:
        try:
            while waiting or running:
                for name, job in list(waiting.items()):
                    if len(running) < at_once and job.after <= done:
                        running[name] = _start(job)
                        del waiting[name]
                time.sleep(0.1)
                for name, now in list(running.items()):
                    if (code := now.process.poll()) is None:
                        continue
                    del running[name]
                    if code != 0:
                        raise VisiftError(
                            f"step {name} failed: {now.tail[-1] if now.tail else f'exit code {code}'}", where=run,
                            remedy="the same command goes on from what is finished",
                        )  # fmt: skip
                    seconds[name] = round(time.monotonic() - now.started, 1)
                    write_json(steps / f"{name}.json", {"spec": specs[name], "seconds": seconds[name]})
                    done.add(name)
                show()
        finally:
            for now in running.values():
                now.process.kill()
    return seconds


def _start(job: Job) -> Running:
    command = [sys.executable, "-m", "visift.recipe.job", json.dumps(job.spec)]
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONUNBUFFERED": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, errors="replace"
    )  # fmt: skip
    now = Running(process, time.monotonic())

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line := line.strip():
                now.last = line
                now.tail = [*now.tail[-20:], line]

    threading.Thread(target=listen, daemon=True).start()
    return now


@contextlib.contextmanager
def _display(running: dict[str, Running], done: set[str], total: int) -> Any:
    """Yield `show()`: a line for every running job, redrawn on a terminal, printed now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
            yield lambda: live.update(_drawn(running, len(done), total))
        return

    def plain() -> None:
        for name, now in running.items():
            if now.last and time.monotonic() - now.printed >= PLAIN_EVERY:
                now.printed = time.monotonic()
                print(f"[{len(done)}/{total}] {name}: {now.last}", file=sys.stderr, flush=True)

    yield plain


def _drawn(running: Mapping[str, Running], done: int, total: int) -> Any:
    """How many steps are done; then each running one's name, a bar where its last line says how far it is, and that line."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for name, now in running.items():
        far = re.search(r": (\d+)/(\d+) ", now.last)
        bar = ProgressBar(completed=int(far[1]), total=int(far[2]), width=24) if far else ""
        table.add_row(f"  {name}", bar, Text(now.last, overflow="ellipsis", no_wrap=True))
    return Group(Text(f"{done}/{total} steps done", style="bold"), table)
