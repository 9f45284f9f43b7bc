"""The SOURCE options that several commands share, and the source they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.sources.source import Source

PANEL = "Source"


@dataclass(frozen=True)
class SourceOptions:
    images: Annotated[Path | None, typer.Option(help="Folder of pictures.", rich_help_panel=PANEL)] = None
    annotations: Annotated[Path | None, typer.Option(help="COCO or LVIS instances JSON.", rich_help_panel=PANEL)] = None
    captions: Annotated[Path | None, typer.Option(help="COCO captions JSON.", rich_help_panel=PANEL)] = None
    panoptic: Annotated[
        Path | None,
        typer.Option(help="COCO panoptic JSON; its PNGs lie in the folder of the same name.", rich_help_panel=PANEL),
    ] = None
    tabletop: Annotated[
        int | None, typer.Option("--tabletop", help="This many scenes of the built-in world.", rich_help_panel=PANEL)
    ] = None

    def source(self, seed: int = 0, only: Sequence[str] = ()) -> Source:
        """The source that the options name; `only` the pictures of these file names.

        Raises UsageError when they name none or two.
        """
        found = self._whole(seed)
        if not only:
            return found
        from visift.sources.chosen import Chosen

        return Chosen(found, tuple(only))

    def _whole(self, seed: int) -> Source:
        if self.tabletop is not None:
            if self.images or self.annotations or self.captions or self.panoptic:
                raise UsageError("--tabletop and --images exclude each other")
            from visift.sources.tabletop import Tabletop

            return Tabletop(self.tabletop, seed=seed)
        if self.images is None:
            raise UsageError("a source is missing", remedy="pass --images DIR with --annotations FILE, or --tabletop N")
        if self.annotations or self.captions or self.panoptic:
            from visift.sources.coco import CocoSource

            return CocoSource(self.images, self.annotations, self.captions, self.panoptic)
        from visift.sources.folder import FolderSource

        return FolderSource(self.images)
