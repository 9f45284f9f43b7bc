"""The table of every score and the recipe of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from visift.core.errors import DataError
from visift.core.types import get
from visift.report.names import metric_title, task_title
from visift.report.plots import estimate, interval, number

Scores = Mapping[str, Any]  # task -> score


def headline_of(score: Mapping[str, Any]) -> str:
    """The metric to read first. Raises DataError when the score has none."""
    metrics = score["metrics"]
    name = score.get("headline")
    if name in metrics:
        return str(name)
    if not metrics:
        raise DataError("holds no metric", where=f"score of {score.get('task', '?')}", remedy="score again with --out")
    return str(next(iter(metrics)))


def group_metric(headline: str, groups: Mapping[str, Any]) -> str:
    """The metric to read in a score's groups: the headline, else `score` (MME's subtasks), else the first; empty without groups."""
    names = list(next(iter(groups.values()), {}))
    return next((name for name in (headline, "score", *names) if name in names), "")


def table_rows(models: Sequence[tuple[str, Scores]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """One row for every task and metric, the headline first, then the other metrics, then the groups."""
    rows = []
    for task in tasks:
        scores = [(m, s[task]) for m, s in models if task in s]
        head = headline_of(scores[0][1])
        names = list(dict.fromkeys([head, *(n for _, s in scores for n in s["metrics"])]))
        for name in names:
            cells = [_cell(s[task]["metrics"].get(name), f"{m}, {task}") if task in s else None for m, s in models]
            rows.append(
                {
                    "task": task_title(task) if name == head else "",
                    "metric": metric_title(name),
                    "head": name == head,
                    "cells": cells,
                }
            )
        groups = list(dict.fromkeys(g for _, s in scores for g in get(s, "groups", dict, task, {})))
        shown = group_metric(head, scores[0][1].get("groups", {}))
        for group in groups:
            cells = [
                _cell(s.get(task, {}).get("groups", {}).get(group, {}).get(shown), f"{m}, {task}, {group}") for m, s in models
            ]  # fmt: skip
            if any(cells):
                rows.append({"task": "", "metric": f"{metric_title(shown)}, {group}", "head": False, "cells": cells})
    return rows


def _cell(metric: Any, where: str) -> dict[str, Any] | None:
    if metric is None:
        return None
    found = estimate(metric, where)
    if found["value"] is None:
        return {"text": "withheld" if "withheld" in found else "no data", "interval": str(found.get("withheld", ""))}
    return {"text": number(found["value"]), "interval": interval(found["low"], found["high"])}


def recipe_rows(models: Sequence[tuple[str, Scores]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Where every number comes from: parser, prompt, data, decoding, counts, and how its interval was made."""
    rows = []
    for task in tasks:
        for model, scores in models:
            if task not in scores:
                continue
            score = scores[task]
            where = f"score of {task}, {model}"
            recipe = dict(get(score, "recipe", dict, where, {}))
            metric = score["metrics"][headline_of(score)]
            rows.append(
                {
                    "task": task_title(task), "model": model, "counts": get(score, "counts", dict, where, {}),
                    "n": metric.get("n"), "clusters": metric.get("clusters"), "method": metric.get("method", ""),
                    "flag": metric.get("flag", ""), "recipe": recipe, "spread": get(score, "spread", dict, where, {}),
                }
            )  # fmt: skip
    return rows
