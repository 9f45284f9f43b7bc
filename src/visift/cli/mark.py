"""`visift mark`: tagged pictures and their manifest, nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from visift.cli.option_groups import grouped
from visift.cli.run_options import Json, RunOptions, TagOptions, print_card
from visift.cli.source_options import SourceOptions
from visift.core.errors import UsageError


@grouped
def mark(
    out: Annotated[Path, typer.Option(help="Folder for pictures and manifest; run again, the work resumes.")],
    source: SourceOptions,
    tags: TagOptions,
    run: RunOptions,
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE]...", help="Only these pictures of the source.")
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write sheet.png, a contact sheet.")] = False,
    as_json: Json = False,
) -> None:
    """Draw numbers on pictures and keep what each number marks.

    Example: visift mark --images val2017 --annotations instances_val2017.json --limit 30 --sheet --out tagged
    """
    from visift.synth.frame import synthesise

    if len({path.parent for path in pictures or ()}) > 1:  # they are found by name
        raise UsageError("the pictures lie in several folders", remedy="mark one folder at a time")
    if pictures and source.images is None and source.tabletop is None:
        source = replace(source, images=pictures[0].parent)
    only = [path.name for path in pictures or ()]
    card = synthesise("mark", source.source(run.seed, only), out, **run.given(), **tags.given())
    if sheet:
        from visift.marks.sheet import write_sheet

        write_sheet(out, out / "sheet.png")
    print_card(card, out, as_json)
