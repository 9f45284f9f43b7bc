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
    lvis: Annotated[
        Path | None,
        typer.Option(help="LVIS JSON beside COCO's: adds what its 80 categories do not name.", rich_help_panel=PANEL),
    ] = None
    tabletop: Annotated[
        int | None, typer.Option("--tabletop", help="This many scenes of the built-in world.", rich_help_panel=PANEL)
    ] = None
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Tabletop scenes that no training split has.", rich_help_panel=PANEL)
    ] = False
    level: Annotated[
        int | None,
        typer.Option(
            help="Of tabletop scenes: 0 (default), 1 (textures) or 2 (also overlap, clutter, noise).",
            rich_help_panel=PANEL,
        ),
    ] = None
    segmenter: Annotated[
        str | None,
        typer.Option(help="For pictures without annotations: sam2-onnx, sam, sam2 or panoptic.", rich_help_panel=PANEL),
    ] = None
    weights: Annotated[str | None, typer.Option(help="Its weights: a folder, or a hub id.", rich_help_panel=PANEL)] = (
        None
    )
    points: Annotated[
        int | None,
        typer.Option(
            help="Points a side that it is asked about (default 12 on a CPU, 32 on a GPU).", rich_help_panel=PANEL
        ),
    ] = None
    min_iou: Annotated[
        float | None,
        typer.Option(help="Least IoU that it gives a mask itself (default 0.88).", rich_help_panel=PANEL),
    ] = None
    min_stability: Annotated[
        float | None,
        typer.Option(
            help="Least IoU of a mask cut a little higher and lower (default 0.92); lower both to find more.",
            rich_help_panel=PANEL,
        ),
    ] = None
    mask_cache: Annotated[
        Path | None, typer.Option(help="Folder of its masks (default ~/.cache/visift/masks).", rich_help_panel=PANEL)
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
            if self.images or self.annotations or self.captions or self.panoptic or self.lvis or self.segmenter:
                raise UsageError("--tabletop and --images exclude each other")
            from visift.sources.tabletop import Tabletop

            split = "held-out" if self.held_out else "train"
            return Tabletop(self.tabletop, seed=seed, split=split, level=self.level or 0)
        if self.held_out or self.level is not None:
            raise UsageError(
                "--held-out and --level are for the tabletop", remedy="pass --tabletop N, or leave them out"
            )
        if self.images is None:
            raise UsageError("a source is missing", remedy="pass --images DIR with --annotations FILE, or --tabletop N")
        if self.annotations or self.captions or self.panoptic or self.lvis:
            if self.segmenter:
                raise UsageError("--segmenter is for pictures without annotations", remedy="leave one of them out")
            from visift.sources.coco import CocoSource

            return CocoSource(self.images, self.annotations, self.captions, self.panoptic, lvis=self.lvis)
        from visift.sources.folder import FolderSource

        folder = FolderSource(self.images)
        asked = {"points": self.points, "min_iou": self.min_iou, "min_stability": self.min_stability}
        if self.segmenter is None:
            if self.weights or any(value is not None for value in asked.values()):
                raise UsageError(
                    "--weights, --points, --min-iou and --min-stability are a segmenter's",
                    remedy="pass --segmenter NAME too",
                )
            return folder
        from visift.segment.mask_cache import default_folder
        from visift.segment.segmented import Segmented
        from visift.segment.segmenter import segmenter_from

        model = segmenter_from(self.segmenter, self.weights, **asked)
        return Segmented(folder, model, self.mask_cache or default_folder())
