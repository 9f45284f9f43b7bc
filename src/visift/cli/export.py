"""`visift export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def export(
    task: Annotated[str, typer.Argument(help="pope, tag-listing, mme, …")],
    questions: Annotated[
        str, typer.Option(help="As for `visift answer`: a dataset folder, a benchmark's file, a hub id.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="lmms-eval; sheets: blind rating sheets for people; demon: our demonstrations in DEMON's format.",
        ),
    ] = "lmms-eval",
    references: Annotated[Path | None, typer.Option(help="The benchmark's labels, where they lie apart.")] = None,
    images: Annotated[
        list[str] | None, typer.Option(help="Where the pictures lie: DIR, or NAME=DIR for one image root.")
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option(help="Our answers, for lmms-eval's from_log model; for sheets one MODEL=FILE for each model."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply that lmms-eval asks for.")] = 128,
    raters: Annotated[int, typer.Option(help="How many rating sheets.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the order in which a sheet shows the answers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a task for another harness, or for people.

    Example: visift export pope --to lmms-eval --questions coco_pope_random.json --images val2014 --out exported
    """
    from visift.cli.image_roots import image_roots
    from visift.core.dataset import Dataset
    from visift.core.errors import UsageError
    from visift.evals.export import export as to_harness
    from visift.evals.export import rating_sheets
    from visift.evals.question_sets import question_set

    folder, roots = image_roots(images, "--images")
    asked = question_set(task, questions, Path(f"{out}.questions"), references=references, images=folder)
    dataset = Dataset(asked, dict.fromkeys(Dataset(asked).roots, str(folder.resolve())) | roots if folder else roots)
    if to == "lmms-eval":
        if len(answers or ()) > 1:
            raise UsageError("--answers is one file for lmms-eval", remedy="export once for each model")
        given = Path(answers[0]) if answers else None
        result = to_harness(task, dataset, out, max_new_tokens=max_new_tokens, answers=given)
        line = f"{out}: {result['rows']} questions; lmms_eval --include_path {out} --tasks {result['task']} --log_samples …"
    elif to == "sheets":
        result = rating_sheets(task, dataset, out, answers or [], raters=raters, seed=seed)
        line = f"{out}: {raters} sheets of {result['rows']} questions; filled in: visift score {task} --answers {out}"
    elif to == "demon":
        from visift.evals.demon_cousin import export as to_demon

        result = to_demon(dataset, out)
        line = f"{out}: " + ", ".join(f"{n} {name}" for name, n in result["samples"].items())
    else:
        raise UsageError(f"{to!r} is nothing to export to", remedy="--to lmms-eval, --to sheets or --to demon")
    print(json.dumps(result) if as_json else line)
