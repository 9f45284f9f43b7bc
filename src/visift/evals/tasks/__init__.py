"""One small file per benchmark; each ends in `TASK`. This list is the only registry."""

from __future__ import annotations

from importlib import import_module

from visift.core.errors import UsageError
from visift.evals.task import Task

TASKS: dict[str, str] = {
    "pope": "pope", "tag-listing": "tag_listing", "counting": "counting", "colour": "colour", "relation": "relation",
    "caption": "caption",
}  # fmt: skip


def get(name: str) -> Task:
    """The task of that name. Raises UsageError that lists the names."""
    if name not in TASKS:
        raise UsageError(f"task {name!r} is unknown", remedy=f"one of: {', '.join(sorted(TASKS))}")
    task = import_module(f"visift.evals.tasks.{TASKS[name]}").TASK
    assert isinstance(task, Task)
    return task
