"""The SOURCE options that several commands share, and the source they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.sources.source import Source

PANEL = "Source"
Images = Annotated[Path | None, typer.Option(help="Folder of pictures.", rich_help_panel=PANEL)]
Annotations = Annotated[Path | None, typer.Option(help="COCO or LVIS instances JSON.", rich_help_panel=PANEL)]
Captions = Annotated[Path | None, typer.Option(help="COCO captions JSON.", rich_help_panel=PANEL)]
Panoptic = Annotated[
    Path | None,
    typer.Option(help="COCO panoptic JSON; its PNGs lie in the folder of the same name.", rich_help_panel=PANEL),
]
TabletopCount = Annotated[
    int | None, typer.Option("--tabletop", help="This many scenes of the built-in world.", rich_help_panel=PANEL)
]


def source_from(
    images: Path | None = None,
    annotations: Path | None = None,
    captions: Path | None = None,
    panoptic: Path | None = None,
    tabletop: int | None = None,
    seed: int = 0,
) -> Source:
    """The source that the options name. Raises UsageError when they name none or two."""
    if tabletop is not None:
        if images or annotations or captions or panoptic:
            raise UsageError("--tabletop and --images exclude each other")
        from visift.sources.tabletop import Tabletop

        return Tabletop(tabletop, seed=seed)
    if images is None:
        raise UsageError("a source is missing", remedy="pass --images DIR with --annotations FILE, or --tabletop N")
    if annotations or captions or panoptic:
        from visift.sources.coco import CocoSource

        return CocoSource(images, annotations, captions, panoptic)
    from visift.sources.folder import FolderSource

    return FolderSource(images)
