"""`visift score` and `visift compare`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from visift.cli.judge_options import JudgeOptions
from visift.cli.option_groups import grouped


@grouped
def score(
    task: Annotated[str, typer.Argument(help="pope, tag-listing, mme, …")],
    answers: Annotated[Path, typer.Option(help="The answers: a JSONL of ours, or a file or folder in another format.")],
    questions: Annotated[
        Path | None, typer.Option(help="The dataset folder or question file that was answered.")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Labels, where they do not lie with the questions.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="visift, llava, mme-tool, lmms-eval, mm-vet-grades, llava-reviews, verdicts or demon. Unset: recognised."
        ),
    ] = None,
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
    for line in _modes(result.get("modes", {})):
        print(line)
    counts = result["counts"]
    print(
        f"  {counts['scored']} of {counts['total']} scored, {counts['no_answer']} without an answer (nothing right in them); parser {result['recipe']['parser']}"
    )
    for kind, ids in result["rows"].items():
        print(f"{kind} rows: {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}", file=sys.stderr)


def _modes(modes: dict[str, Any]) -> Iterator[str]:
    """A line for each number that is not the same under all rules."""
    if not modes:
        return
    first, last = (next(iter(modes.values())), list(modes.values())[-1])
    flat = [
        {("", n): v for n, v in m["metrics"].items()}
        | {(g, n): v for g, f in m["groups"].items() for n, v in f.items()}
        for m in (first, last)
    ]
    names = list(modes)
    yield f"  {names[-1]} against {names[0]} rules: {last['no_answer']} against {first['no_answer']} without an answer"
    for key, before in flat[0].items():
        after = flat[1].get(key)
        if before is not None and after is not None and before != after:
            yield f"    {' '.join(filter(None, key))}: {before:.4g} → {after:.4g} ({after - before:+.4g})"


def compare(
    a: Annotated[Path, typer.Argument(help="A folder made by `visift score --out`.")],
    b: Annotated[Path, typer.Argument(help="Another, on the same questions.")],
    seed: Annotated[int, typer.Option(help="Of resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Paired difference of two scores: B minus A, with interval and test. Of two answer files: how long the answers are.

    Example: visift compare scores/base scores/listing
    """
    if a.is_file() and b.is_file():
        _compare_lengths(a, b, as_json)
        return
    from visift.evals.compare import compare as run

    result = run(a, b, seed=seed)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    for name, row in result["metrics"].items():
        if "withheld" in row:
            print(f"{result['task']} {name}: withheld ({row['withheld']})")
            continue
        d = _decimals(row["a"], row["b"])
        print(
            f"{result['task']} {name}: {row['a']:.{d}f} → {row['b']:.{d}f}, difference {row['difference']:+.{d}f} "
            f"[{row['low']:+.{d}f}, {row['high']:+.{d}f}], p {row['p']:.2g}  ({row['n']} questions, {row['clusters']} pictures; {row['method']})"
        )
    print(f"  only A right {result['only_a']}, only B right {result['only_b']}, dropped {result['counts']['dropped']}")
    if "flag" in result:
        print(f"  {result['flag']}: intervals and p are rough")


def _compare_lengths(a: Path, b: Path, as_json: bool) -> None:
    from visift.evals.rounds import compare_lengths

    result = compare_lengths(a, b)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    for side in ("a", "b"):
        print(f"{side.upper()} {result[side]}: words per round {', '.join(f'{w:.1f}' for w in result['rounds'][side])}")
    for name, what in (("words", "words of the last answer"), ("short", "share of last answers of at most 3 words")):
        row = result["metrics"][name]
        interval = f"[{row['low']:+.4g}, {row['high']:+.4g}]" if row["low"] is not None else "[one picture]"
        print(f"{what}: {row['a']:.4g} → {row['b']:.4g}, difference {row['difference']:+.4g} {interval}, p {row['p']:.2g}"
              f"  ({result['n']} questions, {result['clusters']} pictures; {row['method']})")  # fmt: skip


def _shown(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"withheld ({row['withheld']})" if "withheld" in row else "no data"
    d = _decimals(row["value"])
    return f"{row['value']:.{d}f} [{row['low']:.{d}f}, {row['high']:.{d}f}]" + (
        " (few pictures)" if "flag" in row else ""
    )


def _decimals(*values: float) -> int:
    """Hundredths of a percent for shares, hundredths for MME's points: finer than anyone prints."""
    return 2 if max(map(abs, values)) > 2 else 4
