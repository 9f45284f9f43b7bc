"""What lies in a recipe's run folder, as docs/formats.md lays it out: read, checked, never computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.files import read_json, read_jsonl
from visift.core.types import Answer, Conversation, TaggedPicture, get
from visift.report.names import ordered_models, ordered_tasks

SHOWN = {
    "why": str,
    "asked": str,
    "said": str,
    "truth": str,
    "images": list,
    "wrong": list,
}  # of an item, where it has them


@dataclass(frozen=True)
class Questions:
    """The questions of a task by id, and the manifest of their pictures by path."""

    dataset: Dataset
    by_id: Mapping[str, Conversation]
    tagged: Mapping[str, TaggedPicture]

    @staticmethod
    def read(folder: Path) -> Questions:
        dataset = Dataset(folder)
        return Questions(dataset, {c.id: c for c in dataset}, {t.image: t for t in dataset.tagged()})


class Run:
    """A run folder. Whatever is absent is empty; whatever is malformed raises DataError with file and row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary: dict[str, Any] = read_json(path / "summary.json")
        self.scores: dict[str, dict[str, Any]] = get(self.summary, "scores", dict, str(path / "summary.json"))
        for model in self.scores:
            for task, score in get(self.scores, model, dict, f"{path / 'summary.json'}: scores").items():
                get(score, "metrics", dict, f"{path / 'summary.json'}: scores of {model}, {task}")
        self.models = ordered_models(list(self.scores))
        self.series = {model: k for k, model in enumerate(self.models)}
        self.tasks = ordered_tasks(list(dict.fromkeys(t for m in self.models for t in self.scores[m])))
        self._questions: dict[str, Questions | None] = {}

    def listed(self, key: str) -> list[dict[str, Any]]:
        """A list of objects of the summary, such as its comparisons; empty where it has none."""
        where = str(self.path / "summary.json")
        rows: list[dict[str, Any]] = get(self.summary, key, list, where, [])
        if bad := [r for r in rows if not isinstance(r, dict)]:
            raise DataError(f"{key} holds {bad[0]!r}, expected objects", where=where)
        return rows

    def answers(self, model: str, task: str) -> dict[str, Answer]:
        path = self.path / "answers" / model / f"{task}.jsonl"
        if not path.exists():
            return {}
        rows = (Answer.from_json(row) for _, row in read_jsonl(path))
        return {a.id: a for a in rows}

    def items(self, model: str, task: str) -> dict[str, dict[str, Any]]:
        """id -> {"id", "cluster", "score", "why", …}."""
        return read_items(self.path / "scores" / model / task)

    def questions(self, task: str) -> Questions | None:
        """The questions of a task: the folder of its name, or the longest one that its name begins with."""
        if task not in self._questions:
            root = self.path / "questions"
            names = sorted((p.parent.name for p in root.glob("*/dataset.json")), key=len, reverse=True)
            name = next((n for n in names if task == n or task.startswith(f"{n}-")), None)
            self._questions[task] = Questions.read(root / name) if name else None
        return self._questions[task]

    @cached_property
    def train_logs(self) -> dict[str, list[dict[str, Any]]]:
        """Arm -> the lines of its training log: step, loss and, where the arm learns several things, the loss of each."""
        logs = {}
        for path in sorted(self.path.glob("models/*/train_log.jsonl")):
            logs[path.parent.name] = _log_rows(path, "loss")
        for path in sorted(
            self.path.glob("models/*/pretrain_log.jsonl")
        ):  # first there are labels alone, then text too
            rows = _log_rows(path, "dense")
            asked = [r for r in rows if _finite(r, "text")] or rows
            parts = ("text", "dense", "pointing", "finding", "gathering")
            logs[path.parent.name] = [
                {**r, "loss": r.get("text", r["dense"]), "sources": {k: r[k] for k in parts if _finite(r, k)}}
                for r in asked
            ]
        return {arm: logs[arm] for arm in ordered_models([arm for arm, rows in logs.items() if rows])}


def _log_rows(path: Path, loss: str) -> list[dict[str, Any]]:
    """The lines of a log by step; of a step that a resumed run took twice, the later line."""
    rows = {}
    for line, row in read_jsonl(path):
        if not _finite(row, "step") or not _finite(row, loss):
            raise DataError(f"has no step and {loss}", where=f"{path}:{line}", remedy="train again")
        rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def _finite(row: Any, key: str) -> bool:
    value = row.get(key) if isinstance(row, dict) else None
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_items(folder: Path) -> dict[str, dict[str, Any]]:
    """The items of a score folder by id; empty where there are none. Raises DataError naming file and line."""
    path = folder / "items.jsonl"
    if not path.exists():
        return {}
    items = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        score = get(row, "score", object, where)
        if score is not None and not _finite(row, "score"):
            raise DataError(
                f"score is {score!r}, expected a number or null", where=where, remedy="score again with --out"
            )
        kept = {key: get(row, key, kind, where) for key, kind in SHOWN.items() if key in row}
        items[get(row, "id", str, where)] = {"why": "", **row, **kept}
    return items
