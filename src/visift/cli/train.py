"""`visift train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE.yaml] [key=value …]", help="A recipe of settings, and settings."),
    ] = None,
    model: Annotated[str, typer.Option(help="A model folder or hub id; default: the recipe's.")] = "",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A dataset of ours, or a foreign file; several are trained on together."),
    ] = None,
    stage: Annotated[
        str, typer.Option(help="What trains: align, sft, lora, vpgc or full; default: the recipe's, else sft.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Where the run lives; run again it goes on.")] = None,
    image_root: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR: where a dataset's pictures lie; DIR: a foreign file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Fine-tune a vision-language model.

    Example: visift train --model runs/base --data data/listing --stage sft --out runs/listing steps=1000 lr=6e-4
    """
    from visift.cli.image_roots import foreign_root, named_roots
    from visift.core.errors import UsageError
    from visift.train.settings import named_in, read_recipe

    recipes = [w for w in words or [] if "=" not in w]
    if len(recipes) > 1:
        raise UsageError(f"{' '.join(recipes)}: one recipe is enough", remedy="settings are written key=value")
    recipe = Path(recipes[0]) if recipes else None
    named = named_in(recipe)
    model, stage = model or named.get("model", ""), stage or named.get("stage", "sft")
    for name, value in (("--model", model), ("--data", data), ("--out", out)):
        if not value:
            raise UsageError(f"{name} is missing", remedy="see visift train --help")
    settings = read_recipe(recipe, [w for w in words or [] if "=" in w])

    from visift.train.run import train as run

    result = run(model, data or [], stage, out or Path(), settings, named_roots(image_root), foreign_root(image_root))
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{result['model']}: {result['steps']} steps, loss {result['loss']:.4f}, {result['seconds']:.0f} s")
