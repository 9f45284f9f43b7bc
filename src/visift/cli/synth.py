"""`visift synth KIND`: instruction data from a source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visift.cli.dialog_options import DialogOptions
from visift.cli.option_groups import grouped
from visift.cli.run_options import Json, RunOptions, TagOptions, print_card
from visift.cli.source_options import SourceOptions
from visift.cli.teacher_options import TeacherOptions
from visift.core.errors import UsageError


@grouped
def synth(
    kind: Annotated[str, typer.Argument(help="listing, tag-qa, dialog, difference or demonstration.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; run again, the work resumes.")],
    source: SourceOptions,
    tags: TagOptions,
    run: RunOptions,
    teacher: TeacherOptions,
    dialog: DialogOptions,
    answers: Annotated[
        str | None, typer.Option(help="Wording: plain (default of lists) or varied (default of differences).")
    ] = None,
    editor: Annotated[
        str | None,
        typer.Option(help="difference: heal (default), diffusion, migan[:FILE.onnx], http(s)://… or MODULE:FUNCTION."),
    ] = None,
    edits: Annotated[str | None, typer.Option(help="difference: of modify,swap,delete,add (default: all).")] = None,
    sets: Annotated[
        float | None, typer.Option(help="difference: share of rows with 3 to 6 pictures, not 2 (default 0.2).")
    ] = None,
    unchanged: Annotated[
        float | None, typer.Option(help="difference: share of pictures in which nothing changed (default 0.1).")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(help="difference: things to edit: random (default), ignored or salient, by --attention-of."),
    ] = None,
    attention_of: Annotated[
        str | None, typer.Option(help="difference: the model whose attention says what is ignored: a folder or hub id.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="demonstration: of odd-one-out,story,pattern,… (default: all eleven).")
    ] = None,
    per_scene: Annotated[int | None, typer.Option(help="difference, demonstration: rows a scene (default 2).")] = None,
    as_json: Json = False,
) -> None:
    """Make instruction data of one kind.

    Example: visift synth listing --images val2017 --annotations instances_val2017.json --out data/listing
    """
    from visift.synth.frame import synthesise

    found = dialog.source(source.source(run.seed))
    if attention_of is not None:
        if kind != "difference":
            raise UsageError("--attention-of is for difference pairs", remedy="leave it out")
        from visift.models.significance import Diagnosed

        found = Diagnosed(found, attention_of)
    with teacher.asked(out) as asked:
        card = synthesise(
            kind, found, out, teacher=asked, answers=answers, editor=editor, edits=edits, sets=sets, unchanged=unchanged,
            targets=targets, tasks=tasks, per_scene=per_scene, **run.given(), **tags.given(), **dialog.given(),
        )  # fmt: skip
    print_card(card, out, as_json)
