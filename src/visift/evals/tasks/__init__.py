"""One small file per benchmark; each ends in `TASK`. This list is the only registry."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from visift.core.errors import UsageError
from visift.evals.task import Task

TASKS: dict[str, str] = {
    "pope": "pope", "mme": "mme", "gqa": "gqa", "vqav2": "vqav2", "seed": "seed", "mmbench": "mmbench",
    "scienceqa": "scienceqa", "textvqa": "textvqa", "mm-vet": "mm_vet", "llava-bench-wild": "llava_bench",
    "llava-bench-coco": "llava_bench", "owleval": "owleval", "pairwise": "pairwise", "chair": "chair", "demon": "demon", "tag-listing": "tag_listing",
    "difference": "difference", "counting": "counting", "colour": "colour", "relation": "relation", "caption": "caption",
}  # fmt: skip


def get(name: str) -> Task:
    """The task of that name. Raises UsageError that lists the names."""
    if name not in TASKS:
        raise UsageError(f"task {name!r} is unknown", remedy=f"one of: {', '.join(sorted(TASKS))}")
    task: Task = import_module(f"visift.evals.tasks.{TASKS[name]}").TASK
    return replace(task, name=name)  # two names may share a file
