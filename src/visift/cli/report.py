"""`visift report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Run folders (summary.json), or folders with scores in or below them."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; default DIR/report.html, or report.html here for several score folders."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Where the pictures of published questions lie; a dataset of ours knows its own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write static pages: one for every run folder, one for all other folders' scores together.

    Example: visift report scores/base scores/listing --out report.html
    """
    import json

    from visift.report.pages import write_pages

    pages = write_pages(folders, out, images)
    if as_json:
        print(json.dumps({"pages": [str(p) for p in pages]}))
        return
    for page in pages:
        print(f"report: {page}")
