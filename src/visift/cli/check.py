"""visift check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def check(
    path: Annotated[Path, typer.Argument(help="A dataset of ours, or a foreign file or folder.")],
    image_root: Annotated[
        list[str] | None, typer.Option(help="Where the pictures lie: DIR, or NAME=DIR for a dataset of ours.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="The format; recognised when not given.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Report text that is longer (4 bytes count as a token).")] = 4096,
    keep: Annotated[int, typer.Option(help="Findings listed of each kind; all are counted.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check a dataset or a foreign file: every fault with its row, field and fix. Exit code 1 if there is an error.

    Example: visift check llava_v1_5_mix665k.json --image-root images/
    """
    import json

    from visift.cli.image_roots import foreign_root, named_roots
    from visift.curate.check import check as run

    report = run(
        path, format=from_, image_root=foreign_root(image_root), roots=named_roots(image_root),
        max_tokens=max_tokens, keep=keep,
    )  # fmt: skip
    if as_json:
        print(json.dumps(report))
    else:
        _print(report)
    if report["errors"]:
        raise typer.Exit(1)


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if report["findings"]:
        table = Table("", "row", "id", "field", "fault", "fix", title=escape(report["path"]))
        for f in report["findings"]:
            cells = (f["severity"], str(f["row"]), f["id"], f["field"], f["fault"], f["fix"])
            table.add_row(*(escape(c) for c in cells), style="red" if f["severity"] == "error" else "yellow")
        console.print(table)
    shown = len(report["findings"])
    if (found := report["errors"] + report["warnings"]) > shown:
        counts = ", ".join(f"{f['count']} {f['kind']}" for f in report["faults"])
        console.print(f"{shown} of {found} findings are listed; in all: {counts}")
    forms = report["forms"]
    opened = "opened" if report["pictures_opened"] else "not looked for: give --image-root"
    print(f"{report['format']}: {report['rows']} rows, {report['pictures']} pictures ({opened})")
    print(
        f"forms: {forms['several_rounds']} dialogues of several rounds; {forms['asked_first']} ask for a short answer in the"
        f" first, {forms['only_first']} ({forms['share_only_first']:.1%}) only there, and"
        f" {forms['only_first_stay_short']} of these stay short"
    )
    if forms["forms"]:
        print("response forms: " + ", ".join(f"{name} {count}" for name, count in forms["forms"].items()))
    print(f"{report['errors']} errors, {report['warnings']} warnings")
