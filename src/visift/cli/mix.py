"""visift mix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mix(
    recipe: Annotated[Path, typer.Argument(metavar="MIX.yaml", help="What to mix; see docs/formats.md.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; run again after a kill, it goes on.")],
    image_root: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR: where the pictures of the source NAME lie (repeatable).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Mix datasets of ours and foreign files: weighted, seeded, without the pictures of your evaluation sets.

    Example: visift mix mix.yaml --out data/mix --image-root coco=/data/coco
    """
    import json

    from visift.cli.image_roots import named_roots
    from visift.curate.mix import mix as run

    card = run(recipe, out, roots=named_roots(image_root))
    if as_json:
        print(json.dumps(card))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("source", "weight", "read", "leaked", "rejected", "taken", "share", title=str(out))
    for s in card["settings"]["ratios"]:
        row = (s["name"], f"{s['weight']:g}", s["read"], s["leaked"], s["rejected"], s["taken"], f"{s['share']:.1%}")
        table.add_row(*(str(v) for v in row))
    Console().print(table)
    print(f"{card['counts']['conversations']} conversations, {card['counts']['pictures']} pictures: {out}")
