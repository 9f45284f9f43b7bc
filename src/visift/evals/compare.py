"""`visift compare`: two score folders on the same questions: paired difference, interval, test. B minus A."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, read_jsonl
from visift.evals import stats, tasks
from visift.evals.metrics import Table
from visift.evals.score import unshown
from visift.evals.task import Item, Question, Total

NOTHING = dict.fromkeys(("a", "b", "difference", "low", "high", "p", "detectable"))  # of a metric that is withheld


def load_items(folder: Path) -> dict[str, Item]:
    """The items of a score folder by id. Raises DataError naming file and line."""
    items = {}
    for number, row in read_jsonl(folder / "items.jsonl"):
        try:
            groups = tuple(row.get("groups", ()))
            question = Question(row["id"], row["cluster"], None, groups, stratum=row.get("stratum", ""))
            items[question.id] = Item(
                question, row["score"], row["why"], row.get("answered", True), dict(row.get("parts", {}))
            )
        except (AttributeError, KeyError, TypeError) as e:
            raise DataError(
                f"is no item of a score ({e})",
                where=f"{folder / 'items.jsonl'}:{number}",
                remedy="score again with --out",
            ) from e
    return items


def load_task(folder: Path) -> str:
    """Which task a score folder is about. Raises DataError naming the file that is no score."""
    found = read_json(folder / "score.json")
    if not isinstance(found, dict) or not isinstance(found.get("task"), str):
        raise DataError("is no score", where=folder / "score.json", remedy="score again with --out")
    return str(found["task"])


def compare(a: Path, b: Path, *, draws: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """The paired difference of two score folders (`visift score --out`), B minus A, in the unit of each metric.

    Every overall metric of the task gets {"a", "b", "difference", "low", "high", "p", "n", "clusters", "method"}; `headline` names the
    one to read. `effect` is the mean paired score difference over its standard deviation. For independent yes/no outcomes
    (one question a picture) p is McNemar's exact one. Questions that either side left unscored are dropped and counted.
    `detectable` is the difference that such a run would find four times out of five. Where A and B hold one score folder per seed
    (the same names in both), the differences are averaged over seeds, with Student's t over seeds.
    A metric that either score withholds is withheld: its numbers are None and `withheld` says why.
    Raises UsageError when the folders score different tasks; DataError when they share no question or disagree about its picture.
    """
    if seeds := _seeds(a, b):
        return _over_seeds(a, b, {name: compare(a / name, b / name, draws=draws, seed=seed) for name in seeds})
    task, other = load_task(a), load_task(b)
    if task != other:
        raise UsageError(f"the folders score different tasks: {task} and {other}", where=f"{a}, {b}")
    items_a, items_b = load_items(a), load_items(b)
    shared = [i for i in items_a if i in items_b and items_a[i].score is not None and items_b[i].score is not None]
    if not shared:
        raise DataError(
            "no question was scored in both", where=f"{a}, {b}", remedy="compare answers to the same questions"
        )
    if differ := [i for i in shared if items_a[i].question != items_b[i].question]:
        raise DataError(f"{len(differ)} questions differ in picture or group, e.g. {differ[0]}", where=f"{a}, {b}")
    bench = tasks.get(task)
    left, right = [items_a[i] for i in shared], [items_b[i] for i in shared]
    table_a, table_b = _aligned(left, right)
    metrics = {t.name: _difference(t, table_a, table_b, draws, seed) for t in bench.totals if t.group in table_a.groups}
    scores_a, scores_b = (np.array([i.score for i in side], float) for side in (left, right))
    only_a, only_b = int((scores_a > scores_b).sum()), int((scores_b > scores_a).sum())
    headline = next(t for t in bench.totals if t.name == bench.headline)
    if headline.rate and headline.rate[1] == "n" and not headline.group:  # then it is the mean of the items' scores
        binary = table_a.binary and table_b.binary
        mcnemar = binary and len(table_a.sums) == len(shared)
        metrics[bench.headline] |= _of_means(scores_a, scores_b, left, mcnemar=mcnemar)
    for total in bench.totals:  # what a score does not show, a comparison does not show either
        for side, items in (("A", items_a), ("B", items_b)):
            if total.name in metrics and (hidden := unshown(items.values(), total.group)):
                metrics[total.name] |= NOTHING | {"withheld": f"{side}: {hidden['withheld']}"}
    delta = scores_b - scores_a
    spread = float(delta.std())
    result: dict[str, Any] = {
        "task": task, "headline": bench.headline, "a": str(a), "b": str(b), "metrics": metrics,
        "effect": float(delta.mean()) / spread if spread else 0.0, "only_a": only_a, "only_b": only_b,
        "counts": {"shared": len(shared), "dropped": len(items_a.keys() | items_b.keys()) - len(shared)},
    }  # fmt: skip
    return result | ({"flag": f"fewer than {stats.FEW} pictures"} if len(table_a.sums) < stats.FEW else {})


def _seeds(a: Path, b: Path) -> list[str]:
    """Names of the score folders that lie in both, where neither is a score folder itself."""
    if (a / "score.json").exists() or (b / "score.json").exists():
        return []
    return sorted(p.parent.name for p in a.glob("*/score.json") if (b / p.parent.name / "score.json").exists())


def _over_seeds(a: Path, b: Path, runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mean of the differences of several seeds. What varies between seeds is the training; the questions are the same."""
    first = next(iter(runs.values()))
    if len(runs) == 1:
        return first | {"seeds": runs}
    metrics: dict[str, Any] = {}
    for name, row in first["metrics"].items():
        if hidden := [run["metrics"][name] for run in runs.values() if "withheld" in run["metrics"][name]]:
            metrics[name] = hidden[0]
            continue
        found = stats.over_seeds([run["metrics"][name]["difference"] for run in runs.values()])
        low, high = stats.rounded(found.low, found.high)
        metrics[name] = row | {
            "a": float(np.mean([run["metrics"][name]["a"] for run in runs.values()])),
            "b": float(np.mean([run["metrics"][name]["b"] for run in runs.values()])),
            "difference": found.value, "low": low, "high": high, "p": found.p, "method": found.method, "detectable": None,
        }  # fmt: skip
    return {
        "task": first["task"], "headline": first["headline"], "a": str(a), "b": str(b), "metrics": metrics, "seeds": runs,
        "effect": float(np.mean([run["effect"] for run in runs.values()])), "counts": first["counts"],
        "only_a": sum(run["only_a"] for run in runs.values()), "only_b": sum(run["only_b"] for run in runs.values()),
    }  # fmt: skip


def _of_means(a: np.ndarray, b: np.ndarray, items: list[Item], *, mcnemar: bool) -> dict[str, Any]:
    """Interval and p of a difference of mean scores, which need no resampling."""
    numbers: dict[tuple[str, str], int] = {}
    clusters = np.array([numbers.setdefault((i.question.stratum, i.question.cluster), len(numbers)) for i in items])
    found = stats.paired_means(a, b, clusters)
    low, high = stats.rounded(found.low, found.high)
    p, method = found.p, found.method
    if mcnemar:
        p, method = stats.mcnemar(int((a > b).sum()), int((b > a).sum())), f"{method}; p: McNemar, exact"
    return {"low": low, "high": high, "p": p, "method": method, "detectable": stats.detectable(low, high)}


def _difference(total: Total, a: Table, b: Table, draws: int, seed: int) -> dict[str, Any]:
    def value(sums: np.ndarray) -> np.ndarray:
        return total.of(a.named(sums))

    of = {"n": a.counts[""], "clusters": len(a.sums)}
    for side, table in (("A", a), ("B", b)):
        if np.isnan(value(table.sums.sum(axis=0))):
            return NOTHING | of | {"method": "no data", "withheld": f"{side}: says nothing that {total.name} counts"}
    found = stats.paired_bootstrap(a.sums, b.sums, value, strata=a.strata, draws=draws, seed=seed)
    low, high = stats.rounded(found.low, found.high)
    return {
        "a": float(value(a.sums.sum(axis=0))), "b": float(value(b.sums.sum(axis=0))), "difference": found.value, "low": low,
        "high": high, "p": found.p, **of, "method": found.method,
        "detectable": stats.detectable(low, high),
    }  # fmt: skip


def _aligned(left: list[Item], right: list[Item]) -> tuple[Table, Table]:
    """Two tables over the same pictures and columns: a part that only one side knows counts 0 on the other."""
    parts = {p for i in (*left, *right) for p in i.parts}
    for item in (*left, *right):
        item.parts = dict.fromkeys(parts, 0.0) | item.parts
    return Table.of(left), Table.of(right)
