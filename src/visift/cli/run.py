"""`visift run`, `visift demo`, `visift claims`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, YAML; see recipes/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, dotted: train.steps=100", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the run lies; default runs/RECIPE. Run again, it goes on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Run a recipe: synthesise, train, evaluate, report.

    Example: visift run recipes/demo.yaml train.steps=300 --out runs/short
    """
    from visift.core.files import read_json
    from visift.recipe.run import run_recipe

    folder = out or Path("runs") / recipe.stem
    page = run_recipe(recipe, folder, overrides or [])
    summary = read_json(folder / "summary.json")
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
        return
    for row in summary["verdicts"]:
        print(f"{row['claim']}: {row['verdict']}: {row['text']} ({row['why']})")
    print(f"report: {page}")


def demo(
    out: Annotated[Path, typer.Option(help="Where the run lies. Run again, it goes on.")] = Path("runs/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """The whole loop on the built-in world and model, on the CPU: does listing items one by one help?

    Example: visift demo --out runs/demo
    """
    from visift.recipe.schema import shipped

    run(shipped("demo"), [], out, as_json)


def claims(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which claims; none lists them all.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Where their runs lie.")] = Path("runs/claims"),
    seeds: Annotated[int, typer.Option(help="How many seeds a claim is run with.")] = 3,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value for every recipe, dotted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """The papers' claims as experiments: effect, interval, verdict over seeds.

    Example: visift claims A1 A7 --seeds 3
    """
    from visift.claims.run import run_claims
    from visift.claims.table import CLAIMS, lines

    if not names:
        if as_json:
            print(json.dumps({"claims": [c.to_json() for c in CLAIMS.values()]}, ensure_ascii=False))
        else:
            print("\n".join(lines()))
        return
    results = run_claims(names, out, seeds, overrides or [])
    if as_json:
        print(json.dumps({"claims": results}, ensure_ascii=False))
        return
    for row in results:
        print(f"{row['claim']}: {row['verdict']}: {row['text']} ({row['why']})", file=sys.stdout)
