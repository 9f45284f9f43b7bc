"""visift convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    path: Annotated[Path, typer.Argument(help="A dataset of ours, or a foreign file or folder.")],
    to: Annotated[str, typer.Option(help="llava, messages, sharegpt, chat, webdataset or parquet.")],
    out: Annotated[Path, typer.Option(help="A .json or .jsonl file, a .parquet file, a folder for webdataset.")],
    from_: Annotated[str | None, typer.Option("--from", help="The source's format; recognised when not given.")] = None,
    image_root: Annotated[
        list[str] | None, typer.Option(help="Where the pictures lie: DIR, or NAME=DIR for a dataset of ours.")
    ] = None,
    skip: Annotated[
        bool,
        typer.Option("--skip", help="List rows that cannot be converted in OUT.rejected.jsonl instead of stopping."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Convert a dataset or a foreign file to another format. No picture changes its place in the text.

    What the format cannot hold is refused with the reason, never dropped.

    Example: visift convert data/listing --to llava --out listing.json
    """
    import json

    from visift.cli.image_roots import foreign_root, named_roots
    from visift.formats.convert import convert as run

    report = run(
        path, to, out, format=from_, image_root=foreign_root(image_root), roots=named_roots(image_root), skip=skip
    )
    if as_json:
        print(json.dumps(report))
        return
    left = f", {report['rejected']} left out (listed in {report['out']}.rejected.jsonl)" if report["rejected"] else ""
    print(f"{report['rows']} conversations from {report['from']} to {report['to']}: {report['out']}{left}")
    if report["image_root"]:
        print(f"image root: {report['image_root']}")
    elif report["to"] not in ("webdataset", "parquet"):
        print("picture paths are as in the source, relative to its image root")
