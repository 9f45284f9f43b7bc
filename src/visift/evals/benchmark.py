"""A benchmark's own files as a dataset of questions, so that whatever answers datasets can answer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visift.core.dataset import Made, build
from visift.core.errors import UsageError
from visift.evals import tasks
from visift.evals.load_answers import recipe_of, unique
from visift.evals.task import Files, Question

ROOT = "benchmark"  # the image root that the questions' pictures lie under


def as_dataset(
    task: str, out: Path, *, questions: Path | None = None, references: Path | None = None, images: Path | None = None,
    rules: str = "published",
) -> dict[str, Any]:  # fmt: skip
    """Write the questions of a benchmark's published files to the dataset folder `out` and return its card.

    The truth stands in each conversation's `meta`: `visift score TASK --questions OUT` needs the published files no more.
    images  the folder that the benchmark's picture paths are relative to
    Raises UsageError for a task without published files; DataError where they are not what they should be.
    """
    bench = tasks.get(task)
    if bench.ask is None:
        raise UsageError(f"task {task} has no published files", remedy="its questions are datasets already")
    asked = unique(bench.ask(Files(Path(), questions, references, rules=rules)), references or questions)
    settings = {"task": task, "data_sha256": recipe_of(asked, "")["data_sha256"], "rules": rules}

    def make(question: Question) -> Made:
        return Made([question.conversation(task, ROOT)])

    roots = {ROOT: str(images.resolve())} if images is not None else {}
    return build(out, kind=task, items=asked, make=make, settings=settings, roots=roots, total=len(asked))
