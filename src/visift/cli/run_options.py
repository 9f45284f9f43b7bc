"""How a dataset is made, and how numbers look on it: the options that `mark` and `synth` share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class RunOptions:
    limit: Annotated[int | None, typer.Option(help="Use only the first N scenes.")] = None
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0
    workers: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 1
    executor: Annotated[str, typer.Option("--executor", help="local, or ray (extra `visift[ray]`).")] = "local"
    drop_noncommercial: Annotated[
        bool,
        typer.Option("--drop-noncommercial", help="Leave out what has a non-commercial licence, or states none."),
    ] = False

    def given(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TagOptions:
    numbering: Annotated[str | None, typer.Option(help="random (default), area or reading.")] = None
    style: Annotated[str | None, typer.Option(help="How numbers look: clear (default) or paper.")] = None
    model_px: Annotated[int | None, typer.Option(help="Longest side that the model sees, in pixels (default 336).")] = (
        None
    )
    max_tags: Annotated[int | None, typer.Option(help="Most numbers on a picture (default 24).")] = None

    def given(self) -> dict[str, Any]:
        return asdict(self)


Json = Annotated[bool, typer.Option("--json", help="Print the dataset card as one JSON object.")]


def print_card(card: dict[str, Any], out: Path, as_json: bool) -> None:
    """Write the page that shows the dataset; then the card as JSON, or its counts in a line."""
    from visift.curate.card import ensure_card

    ensure_card(out)
    if as_json:
        typer.echo(json.dumps(card, ensure_ascii=False))
        return
    counts = card["counts"]
    typer.echo(
        f"{out}: {counts['conversations']} conversations, {counts['tagged']} tagged pictures from {counts['items']} scenes; "
        f"{counts['rejected']} left out (rejected.jsonl)"
    )
