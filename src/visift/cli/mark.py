"""`visift mark`: tagged pictures and their manifest, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from visift.cli.source_options import Annotations, Captions, Images, Panoptic, TabletopCount, source_from
from visift.cli.synth import (
    ExecutorName,
    Json,
    Limit,
    MaxTags,
    ModelPx,
    Numbering,
    Seed,
    Style,
    Workers,
    print_card,
)


def mark(
    out: Annotated[Path, typer.Option(help="Folder for pictures and manifest; run again, the work resumes.")],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE]...", help="Only these pictures of the source.")
    ] = None,
    images: Images = None,
    annotations: Annotations = None,
    captions: Captions = None,
    panoptic: Panoptic = None,
    tabletop: TabletopCount = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write sheet.png, a contact sheet.")] = False,
    limit: Limit = None,
    seed: Seed = 0,
    workers: Workers = 1,
    executor: ExecutorName = "local",
    numbering: Numbering = None,
    style: Style = None,
    model_px: ModelPx = None,
    max_tags: MaxTags = None,
    as_json: Json = False,
) -> None:
    """Draw numbers on pictures and keep what each number marks.

    Example: visift mark --images val2017 --annotations instances_val2017.json --limit 30 --sheet --out tagged
    """
    from visift.sources.chosen import Chosen
    from visift.synth.frame import synthesise

    if pictures and images is None and tabletop is None:
        images = pictures[0].parent
    source: Any = source_from(images, annotations, captions, panoptic, tabletop, seed)
    if pictures:
        source = Chosen(source, tuple(path.name for path in pictures))
    options: dict[str, Any] = {"numbering": numbering, "style": style, "model_px": model_px, "max_tags": max_tags}
    card = synthesise(
        "mark", source, out, seed=seed, limit=limit, workers=workers, executor=executor, **options  # type: ignore[arg-type]
    )  # fmt: skip
    if sheet:
        from visift.marks.sheet import write_sheet

        write_sheet(out, out / "sheet.png")
    print_card(card, out, as_json)
