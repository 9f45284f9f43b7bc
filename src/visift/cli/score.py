"""`visift score` and `visift compare`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from visift.cli.judge_options import JudgeOptions
from visift.cli.option_groups import grouped


@grouped
def score(
    task: Annotated[str, typer.Argument(help="pope, tag-listing, mme, …")],
    answers: Annotated[Path, typer.Option(help="The answers: a JSONL of ours, or what --format says.")],
    questions: Annotated[
        Path | None, typer.Option(help="The dataset folder or question file that was answered.")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Labels, where they do not lie with the questions.")] = None,
    format: Annotated[
        str, typer.Option(help="visift, llava, mme-tool, lmms-eval, mm-vet-grades, llava-reviews, verdicts or demon.")
    ] = "visift",
    parser: Annotated[
        str | None,
        typer.Option(help="default, llava, lmms-eval, vlmevalkit, mme; all shows the spread. Unset: the format's own."),
    ] = None,
    rules: Annotated[str, typer.Option(help="DEMON: published (bug for bug) or fixed.")] = "published",
    permute: Annotated[
        bool, typer.Option("--permute", help="tag-listing: against the truth permuted (a control).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of resampling and permutation.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Keep score.json and items.jsonl here.")] = None,
    *,
    judging: JudgeOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Score answers; every number comes with its interval.

    Example: visift score pope --answers answers.jsonl --questions data/existence --out scores/pope
    """
    from visift.evals.score import score as run

    with judging.asked(out) as judge:
        result = run(
            task, answers, questions=questions, references=references, format=format, parser=parser, rules=rules,
            permute=permute, seed=seed, out=out, judge=judge,
        )  # fmt: skip
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    for name, row in result["metrics"].items():
        print(f"{task} {name}: {_shown(row)}  [{row['n']} questions, {row['clusters']} pictures; {row['method']}]")
    for group, rows in result["groups"].items():
        print(f"  {group}: " + "  ".join(f"{name} {_shown(row)}" for name, row in rows.items()))
    for name, value in result.get("baselines", {}).items():
        print(f"  baseline {name}: {value:.3f}")
    for name, row in result.get("spread", {}).items():
        value = row["metrics"][result["headline"]]
        print(f"  parser {name}: {result['headline']} {_shown(value)}, {row['no_answer']} without an answer")
    counts = result["counts"]
    print(
        f"  {counts['scored']} of {counts['total']} scored, {counts['no_answer']} without an answer (wrong); parser {result['recipe']['parser']}"
    )
    for kind, ids in result["rows"].items():
        print(f"{kind} rows: {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}", file=sys.stderr)


def compare(
    a: Annotated[Path, typer.Argument(help="A folder made by `visift score --out`.")],
    b: Annotated[Path, typer.Argument(help="Another, on the same questions.")],
    seed: Annotated[int, typer.Option(help="Of resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Paired difference of two scores: B minus A, with interval and test.

    Example: visift compare scores/base scores/listing
    """
    from visift.evals.compare import compare as run

    result = run(a, b, seed=seed)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    for name, row in result["metrics"].items():
        print(
            f"{result['task']} {name}: {row['a']:.4g} → {row['b']:.4g}, difference {row['difference']:+.4g} "
            f"[{row['low']:+.4g}, {row['high']:+.4g}], p {row['p']:.2g}  ({row['n']} questions, {row['clusters']} pictures; {row['method']})"
        )
    print(f"  only A right {result['only_a']}, only B right {result['only_b']}, dropped {result['counts']['dropped']}")


def _shown(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"withheld ({row['withheld']})" if "withheld" in row else "no data"
    return f"{row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}]" + (" (few pictures)" if "flag" in row else "")
