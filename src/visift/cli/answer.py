"""`visift answer`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def answer(
    task: Annotated[str, typer.Argument(help="pope, tag-listing, mme, …")],
    model: Annotated[str, typer.Option(help="A model folder or hub id.")],
    questions: Annotated[
        Path, typer.Option(help="A dataset folder; each conversation's last answer is the reference.")
    ],
    out: Annotated[Path, typer.Option(help="Answers, one JSON object a line; run again it goes on.")],
    image_root: Annotated[list[str] | None, typer.Option(help="NAME=DIR: where the pictures lie.")] = None,
    mode: Annotated[
        str, typer.Option(help="generate, or logits: the likeliest option, or Yes/No, from one forward.")
    ] = "generate",
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Questions at once; does not change the replies.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="Every picture replaced by mid-grey (a control).")] = False,
    limit: Annotated[int, typer.Option(help="Only the first so many questions; 0 = all.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 = torch's default.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Get a model's replies to questions, greedily.

    Example: visift answer tag-listing --model runs/listing/model --questions data/heldout --out answers/listing.jsonl
    """
    from visift.cli.image_roots import named_roots
    from visift.evals.answer import answer as run

    result = run(
        task, model, questions, out, mode=mode, max_new_tokens=max_new_tokens, batch_size=batch_size, images=named_roots(image_root),
        grey=grey, limit=limit, threads=threads,
    )  # fmt: skip
    if as_json:
        print(json.dumps(result))
    else:
        finishes = ", ".join(f"{n} {kind}" for kind, n in result.items() if kind not in ("task", "questions", "asked"))
        print(f"{out}: {result['questions']} answers ({finishes}), {result['asked']} asked now")
