"""The page of any set of score folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visift.core.errors import UsageError, VisiftError
from visift.core.files import read_json
from visift.core.types import get
from visift.report.disagreements import TaskDisagreements, disagreements
from visift.report.names import TASKS, ordered_tasks, split_task, task_title
from visift.report.plots import Block, difference_blocks, score_block, thin_axes, with_baseline
from visift.report.render import write_page
from visift.report.run_folder import Questions, read_items
from visift.report.score_table import group_metric, headline_of, recipe_rows, table_rows

Folders = dict[str, dict[str, Path]]  # column -> question set -> score folder


def score_folders(paths: Sequence[Path]) -> list[Path]:
    """Every folder at or below `paths` that holds a score.json. Raises UsageError for a path that has none."""
    found: dict[Path, None] = {}
    for path in paths:
        below = sorted(p.parent for p in path.rglob("score.json"))
        if not below:
            raise UsageError(
                "holds no score.json and no summary.json", where=path, remedy="make one with `visift score … --out DIR`"
            )
        found |= dict.fromkeys(below)
    return list(found)


def write_score_report(folders: list[Path], out: Path, images: Path | None = None) -> Path:
    """Write a page with the scores of `folders` (each holds score.json, and items.jsonl) and return its path.

    Folders of one task stand beside each other; the first of them is what the others are compared with, paired by question.
    Pictures come from the questions' dataset where the scores name one that is still there, else from the folder `images`.
    Raises UsageError when a folder holds no score, DataError when one is malformed.
    """
    paths = score_folders(folders)
    scores = {p: read_json(p / "score.json") for p in paths}
    for path, score in scores.items():
        get(score, "metrics", dict, str(path / "score.json"))
    columns = _columns(paths, {p: get(s, "task", str, str(p / "score.json")) for p, s in scores.items()})
    series = {name: k for k, name in enumerate(columns)}
    by_name = [(name, {task: scores[p] for task, p in tasks.items()}) for name, tasks in columns.items()]
    tasks = ordered_tasks(list(dict.fromkeys(t for _, s in by_name for t in s)))
    blocks, groups = [], []
    for task in tasks:
        having = [(name, s[task]) for name, s in by_name if task in s]
        metric = headline_of(having[0][1])
        block = score_block(task, metric, [(name, series[name], s["metrics"]) for name, s in having])
        blocks.append(with_baseline(block, having[0][1]))
        groups += _group_blocks(task, metric, [(name, series[name], s) for name, s in having])
    comparisons, notes = _compared(columns, tasks)
    return write_page(
        out,
        "scores.html.j2",
        title=_title(columns, tasks),
        columns=list(series.items()),
        blocks=thin_axes(blocks),
        group_blocks=thin_axes(groups),
        table=table_rows(by_name, tasks),
        differences=difference_blocks(comparisons, series, tasks),
        comparisons=comparisons,
        notes=notes,
        disagreements=_disagreements(columns, tasks, series, scores, images),
        recipes=recipe_rows(by_name, tasks),
    )


def _title(columns: Folders, tasks: Sequence[str]) -> str:
    named = " and ".join(task_title(t) for t in tasks) if len(tasks) < 3 else f"{len(tasks)} question sets"
    return f"{named}: " + (", ".join(columns) if len(columns) < 4 else f"{len(columns)} models")


def _columns(paths: Sequence[Path], tasks: dict[Path, str]) -> Folders:
    """Which column (a model, as a rule) and which question set a folder belongs to, by its name below what all share.

    `base/pope` and `listing/pope` are two columns of one set; so are `base` and `listing`. `pope` and `mme` are two sets of
    one column, the folder they lie in. A set whose name does not say its task is called by both.
    """
    shared = Path(os.path.commonpath([p.resolve() for p in paths])) if len(paths) > 1 else paths[0].resolve().parent
    columns: Folders = {}
    for path in paths:
        *front, last = path.resolve().relative_to(shared).parts or (path.resolve().name,)
        task, known = tasks[path], split_task(last)[0] in TASKS
        if front or known or last == task:
            column, name = "/".join(front) or shared.name, last if known or last == task else f"{task}: {last}"
        else:
            column, name = last, task
        if name in columns.setdefault(column, {}):
            raise UsageError(f"is a second score of {name} for {column}", where=path, remedy="name each folder once")
        columns[column][name] = path
    return columns


def _group_blocks(task: str, metric: str, scores: Sequence[tuple[str, int, Any]]) -> list[Block]:
    names = list(dict.fromkeys(g for _, _, s in scores for g in s.get("groups", {})))
    shown = group_metric(metric, scores[0][2].get("groups", {}))
    blocks = []
    for group in names:
        rows = [(name, k, s["groups"][group]) for name, k, s in scores if group in s.get("groups", {})]
        if shown:
            blocks.append(score_block(task, shown, rows, title=f"{task_title(task)}: {group}"))
    return blocks


def _compared(columns: Folders, tasks: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The paired differences to the first folder of each task, and why a pair has none."""
    from visift.evals.compare import compare

    rows, notes = [], []
    for task in tasks:
        first, *others = [(name, at[task]) for name, at in columns.items() if task in at]
        for name, path in others:
            try:
                found = compare(first[1], path)
            except VisiftError as e:
                notes.append(f"{task_title(task)}: {name} is not compared with {first[0]}: {e.what}")
                continue
            metric = found["metrics"][found["headline"]]
            if "withheld" in metric:
                notes.append(f"{task_title(task)}: {name} is not compared with {first[0]}: {metric['withheld']}")
                continue
            rows.append(
                {"task": task, "metric": found["headline"], "a": first[0], "b": name, "delta": metric["difference"]}
                | {k: metric[k] for k in ("low", "high", "p", "n", "clusters", "method")}
            )
    return rows, notes


def _disagreements(
    columns: Folders, tasks: Sequence[str], series: dict[str, int], scores: dict[Path, Any], images: Path | None
) -> list[TaskDisagreements]:
    found = []
    for task in tasks:
        first, *others = [(name, series[name], read_items(at[task])) for name, at in columns.items() if task in at]
        recipe = scores[columns[first[0]][task]].get("recipe", {})
        asked = Path(str(recipe.get("questions", "")))
        questions = Questions.read(asked) if others and (asked / "dataset.json").is_file() else None
        for other in others:
            title = f"{task_title(task)}: {first[0]} and {other[0]}"
            if first[2] and other[2]:
                found.append(disagreements(title, first, other, questions, images))
    return found
