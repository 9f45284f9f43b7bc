"""`visift probe`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from visift.cli.option_groups import grouped
from visift.cli.source_options import SourceOptions


@grouped
def probe(
    model: Annotated[list[str], typer.Option(help="A model folder or hub id; several are set side by side.")],
    out: Annotated[Path, typer.Option(help="probe.json, overlays and report.html go here.")],
    source: SourceOptions,
    questions: Annotated[Path | None, typer.Option(help="A listing dataset, in place of a source.")] = None,
    limit: Annotated[int, typer.Option(help="Only the first so many pictures; 0 = all.")] = 50,
    top: Annotated[int, typer.Option(help="How many patches a number.")] = 5,
    lists: Annotated[
        str, typer.Option(help="own: the list that the model writes; given: the true one is read to it.")
    ] = "own",
    seed: Annotated[int, typer.Option(help="Of the tabletop world, the numbering and the controls.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What a model looks at when it lists: the share of the patches each number's token attends to that lie in its region.

    Example: visift probe --model runs/listing/model --model builtin --tabletop 50 --lists given --out runs/probe
    """
    from visift.core.dataset import Dataset
    from visift.evals.probe import probe as run
    from visift.report.probe_page import write_probe_page

    asked = questions
    if asked is None:
        from visift.synth.frame import synthesise

        asked = out / "questions"
        synthesise("listing", source.source(seed), asked, seed=seed, limit=limit or None)
    results = {}
    for name in model:
        folder = out / _folder(name, model)
        results[name] = run(name, Dataset(asked), folder, top=top, lists=lists, limit=limit, seed=seed)
    page = write_probe_page([out / _folder(name, model) for name in model], out / "report.html")
    if as_json:
        print(json.dumps({"models": results, "report": str(page)}))
        return
    for name, found in results.items():
        print(f"{name}: {found['numbers']} numbers on {found['pictures']} pictures, {found['unlisted']} not listed")
        if found["layers"]:
            best = found["layers"][found["best_layer"]]
            said = ", ".join(
                f"{k} {best[k]['value']:.3f} [{best[k]['low']:.3f}, {best[k]['high']:.3f}]"
                for k in ("share", "shuffled", "blank")
            )
            print(
                f"  layer {found['best_layer']} (the best of {len(found['layers'])}): {said}, chance {found['chance']:.3f}"
            )
    print(f"report: {page}")


def _folder(name: str, models: list[str]) -> str:
    """A folder name for each model: its own, numbered where two share it."""
    own = Path(name).name if Path(name).name != "model" else Path(name).parent.name
    same = [m for m in models if (Path(m).name if Path(m).name != "model" else Path(m).parent.name) == own]
    return own if len(same) == 1 else f"{own}-{same.index(name) + 1}"
