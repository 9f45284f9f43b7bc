"""The page of a recipe's run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visift.core.types import get
from visift.report.disagreements import run_disagreements
from visift.report.names import BLIND, BUILTIN, CONTROLS, ordered_tasks, split_task, task_title
from visift.report.plots import (
    Block,
    Curves,
    curves,
    difference_blocks,
    estimate,
    score_block,
    thin_axes,
    with_baseline,
)
from visift.report.render import write_page
from visift.report.run_folder import Run
from visift.report.scenes import scene_groups
from visift.report.score_table import headline_of, recipe_rows, table_rows


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder (default RUN/report.html) and return its path.

    Raises DataError when RUN has no summary.json or a file of it is malformed. Parts of a run that are absent are said to
    be absent on the page.
    """
    found = Run(run)
    comparisons = found.listed("comparisons")
    order = list(dict.fromkeys([*found.tasks, *(str(r.get("task")) for r in comparisons)]))
    columns = [(m, found.series[m]) for m in found.models]
    where = str(run / "summary.json")
    seconds = get(found.summary, "seconds", dict, where, {})
    return write_page(
        out or run / "report.html",
        "run.html.j2",
        title=get(found.summary, "title", str, where, "visift run"),
        verdict_groups=verdict_groups(found),
        models=[(m, found.series[m], _about(m, found.summary.get("recipe"))) for m in found.models],
        scene_groups=scene_groups(found),
        blocks=score_blocks(found),
        columns=columns,
        table=table_rows([(m, found.scores[m]) for m in found.models], found.tasks),
        differences=difference_blocks(comparisons, found.series, ordered_tasks(order)),
        comparisons=sorted(comparisons, key=lambda r: order.index(str(r.get("task")))),
        lengths=length_rows(found),
        plots=loss_plots(found),
        controls=controls(found),
        disagreements=run_disagreements(found),
        recipes=recipe_rows([(m, found.scores[m]) for m in found.models], found.tasks),
        seconds=sorted(seconds.items(), key=lambda kv: -kv[1]),
        machine=get(found.summary, "machine", dict, where, {}),
        recipe=found.summary.get("recipe", {}),
    )


def verdict_groups(run: Run) -> list[dict[str, Any]]:
    """What is claimed, then what must not be lost, each with its verdicts counted: many kept skills are no evidence for a claim."""
    recipe = run.summary.get("recipe")
    groups: dict[str, list[dict[str, Any]]] = {"": [], "Kept: what the base could do before": []}
    claimed, kept = groups.values()
    for row in run.listed("verdicts"):
        (kept if _claim(row.get("claim"), recipe).get("kind") == "no worse" else claimed).append(_verdict(row, recipe))
    return [
        {"title": title, "verdicts": rows, "tally": Counter(v["word"] for v in rows).items()}
        for title, rows in groups.items()
        if rows
    ]


def score_blocks(run: Run) -> list[Block]:
    """A block for every task's headline, the majority baseline as a dashed line."""
    blocks = []
    for task in run.tasks:
        having = [m for m in run.models if task in run.scores[m]]
        metric = headline_of(run.scores[having[0]][task])
        scores = [(m, run.series[m], run.scores[m][task]["metrics"]) for m in having]
        block = with_baseline(score_block(task, metric, scores), run.scores[having[0]][task])
        blocks.append(block)
    return thin_axes(blocks)


def length_rows(run: Run) -> list[dict[str, Any]]:
    """How long the answers are after earlier rounds and to the same questions alone, as rows of the table of differences."""
    rows = []
    for row in run.listed("lengths"):
        for name, what in (("words", "words of the answer"), ("short", "answers of at most 3 words")):
            found = row["metrics"][name]
            given = {k: found[k] for k in ("low", "high", "p", "method")} | {k: row[k] for k in ("n", "clusters")}
            a, b = (f"{found[k]:.1f}" if name == "words" else f"{found[k]:.2f}" for k in ("a", "b"))
            sides = {"a": f"{row['than_task']} ({a})", "b": f"{row['model']}: {row['task']} ({b})"}
            rows.append({"task": row["task"], "metric": what, "delta": found["difference"], **sides, **given})
    return rows


def _about(model: str, recipe: Any) -> str:
    """What a model is by the recipe: where it starts, how long and on what data it was tuned, what the recipe tells of it."""
    recipe = recipe if isinstance(recipe, dict) else {}
    arms = recipe.get("arms") if isinstance(recipe.get("arms"), dict) else {}
    arm = arms.get(model)
    if not isinstance(arm, dict):
        start = recipe.get("base")  # a recipe that makes a base starts from none
        known = BUILTIN if start == "builtin" else str(start or "")
        return {"base": f"before any of this training: {known}" if known else "", "blind": BLIND}.get(model, "")
    settings = {**(recipe.get("train") or {}), **(arm.get("train") or {})}
    length = f"{settings['steps']} steps" if settings.get("steps") else f"{settings.get('epochs', 1)} epochs"
    data = ", ".join(map(str, arm.get("data") or ()))
    made = f"{arm.get('model') or 'base'} tuned for {length} (stage {arm.get('stage', 'sft')}) on {data}"
    return "; ".join(filter(None, (made, str(arm.get("about") or ""))))


def _verdict(row: Mapping[str, Any], recipe: Any) -> dict[str, Any]:
    """kind is yes, no or open; a verdict that is none of the known words is shown as open."""
    where = f"verdict {row.get('claim', '?')}"
    head, _, reason = get(row, "verdict", str, where).partition(":")
    found = estimate({**row, "value": row.get("effect")}, where)
    why = get(row, "why", str, where, "")
    if (
        found["value"] is not None and f"{found['value']:+.3f}" in why
    ):  # it only repeats the effect, which stands before it
        why = ""
    return {
        **found,
        "claim": row.get("claim"),
        "n": row.get("n"),
        "text": get(row, "text", str, where),
        "why": why,
        "kind": {"supported": "yes", "not supported": "no"}.get(head.strip(), "open"),
        "word": head.strip(),
        "reason": reason.strip(),
        "measure": _measure(row.get("claim"), recipe) or "effect",
    }


def _measure(claim: Any, recipe: Any) -> str:
    """What the effect of a claim is the difference of, by the recipe: `listing − control, Counting`; empty where it does not say."""
    row = _claim(claim, recipe)
    if not row.get("model") or not row.get("task"):
        return ""
    model, task = str(row["model"]), task_title(str(row["task"]))
    if row.get("than_task"):
        what = f"{model}: {task} − {task_title(str(row['than_task']))}"
    else:
        what = f"{model} − {row.get('than_model') or '?'}, {task}"
    asked = {"no worse": "may fall by", "equal": "may differ by"}.get(str(row.get("kind")))
    return f"{what} ({asked} {row.get('margin')})" if asked else what


def _claim(name: Any, recipe: Any) -> dict[str, Any]:
    """The recipe's claim of that name; empty where it has none."""
    claims = recipe.get("claims") if isinstance(recipe, dict) else None
    rows = (r for r in (claims if isinstance(claims, list) else ()) if isinstance(r, dict))
    return next((r for r in rows if r.get("name") == name), {})


def loss_plots(run: Run) -> list[Curves]:
    """One plot of all arms; below it one an arm whose log tells its sources apart."""
    if not run.train_logs:
        return []
    lines = [
        (arm, run.series.get(arm, k), [(float(r["step"]), float(r["loss"])) for r in rows])
        for k, (arm, rows) in enumerate(run.train_logs.items())
    ]  # fmt: skip
    plots = [curves("All rows of each arm", lines)]
    for arm, rows in run.train_logs.items():
        names = list(dict.fromkeys(name for r in rows for name in r.get("sources", {})))
        if len(names) > 1:
            parts = [
                (name, k + 3, [(float(r["step"]), float(r["sources"][name])) for r in rows if name in r.get("sources", {})])
                for k, name in enumerate(sorted(names))
            ]  # fmt: skip
            plots.append(curves(f"“{arm}” by kind of row", parts))
    return plots


def controls(run: Run) -> list[dict[str, Any]]:
    """Each control, what it tells, and its scores beside the plain ones; `block` is None where it was not run."""
    found: list[dict[str, Any]] = []
    for key, (title, what) in CONTROLS.items():
        rows = [(m, t) for m in run.models for t in run.tasks if t in run.scores[m]]
        hits = [(m, t) for m, t in rows if key in m.split("-") or split_task(t)[1] == key]
        if not hits:
            found.append({"title": title, "what": what, "block": None})
            continue
        task = split_task(hits[0][1])[0]
        plain = [
            (m, t)
            for m, t in rows
            if t == task and m in {m for m, _ in hits} | {"control", "listing"} and (m, t) not in hits
        ]
        metric = headline_of(run.scores[hits[0][0]][hits[0][1]])
        shown = [
            (
                f"{m}, {title.lower()}" if (m, t) in hits and key not in m.split("-") else m,
                run.series[m],
                run.scores[m][t]["metrics"],
            )
            for m, t in [*hits, *plain]
            if split_task(t)[0] == task and metric in run.scores[m][t]["metrics"]
        ]
        found.append({"title": title, "what": what, "block": score_block(task, metric, shown, title=task_title(task))})
    return found
