"""`visift answer`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.option_groups import grouped
from visift.cli.remote_options import RemoteOptions
from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.core.dataset import Dataset


@grouped
def answer(
    task: Annotated[str, typer.Argument(help="pope, tag-listing, mme, …")],
    model: Annotated[str, typer.Option(help="A model folder, a hub id, or the URL of an OpenAI-compatible server.")],
    questions: Annotated[
        str, typer.Option(help="A dataset folder, the benchmark's own file or folder, or a hub id (owner/name).")
    ],
    out: Annotated[Path, typer.Option(help="Answers, one JSON object a line; run again it goes on.")],
    references: Annotated[
        Path | None, typer.Option(help="The benchmark's labels, where they do not lie with its questions.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Where the pictures lie: DIR, or NAME=DIR for one image root of a dataset (repeatable)."),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="generate, or logits: the likeliest option, or Yes/No, from one forward.")
    ] = "generate",
    tags: Annotated[
        str | None,
        typer.Option(
            help="Number the things on the pictures: COCO annotations, a segmenter's name, or `visift mark`'s folder."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="The segmenter's weights: a folder, or a hub id.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at once; does not change the replies.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="Every picture replaced by mid-grey (a control).")] = False,
    shuffle_images: Annotated[
        int | None, typer.Option(help="A seed: each question's pictures change places (a test of order).")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Ask so many rounds before each question (MR-k); the model answers them itself.")
    ] = None,
    neutral: Annotated[
        bool, typer.Option("--neutral", help="Earlier rounds without the wish for a short answer.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Only the first so many questions; 0 = all.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 = torch's default.")] = 0,
    *,
    server: RemoteOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Get a model's replies to questions, greedily.

    Questions that are no dataset of ours are made one, beside the answers (OUT.questions): score with that folder.

    Example: visift answer pope --model runs/listing/model --questions coco_pope_random.json --images val2014 --out pope.jsonl
    """
    from visift.cli.image_roots import image_roots
    from visift.core.dataset import Dataset
    from visift.evals import tasks
    from visift.evals.answer import answer as run
    from visift.evals.question_sets import question_set
    from visift.evals.rounds import Rounds, dialogue_set, is_dialogues

    folder, roots = image_roots(images, "--images")
    work, given = Path(f"{out}.questions"), Path(questions)
    if neutral and rounds is None:
        raise UsageError("--neutral is about earlier rounds", remedy="pass --rounds K too")
    if rounds is not None and is_dialogues(given):
        asked = dialogue_set(given, work, folder)  # only compared in length, under any name
    else:
        tasks.get(task)
        asked = question_set(task, questions, work, references=references, images=folder)
    roots = dict.fromkeys(Dataset(asked).roots, str(folder.resolve())) | roots if folder else roots
    print(_before(Dataset(asked, roots), limit), file=sys.stderr)
    drawn = _tagged(tags, weights, Dataset(asked, roots), Path(f"{out}.tags")) if tags else None
    with server.asked(model, out) as remote:
        result = run(
            task, model, asked, out, mode=mode, max_new_tokens=max_new_tokens, batch_size=batch_size, images=roots, grey=grey,
            limit=limit, threads=threads, remote=remote, tags=drawn, shuffle_images=shuffle_images,
            rounds=Rounds(rounds, neutral) if rounds is not None else None,
        )  # fmt: skip
    if as_json:
        print(json.dumps(result | {"questions_at": str(asked)}))
    else:
        known = ("task", "questions", "asked", "tagged", "protocol", "lengths")
        finishes = ", ".join(f"{n} {kind}" for kind, n in result.items() if kind not in known)
        shown = f", {result['tagged']} on tagged pictures" if tags else ""
        print(f"{out}: {result['questions']} answers ({finishes}){shown}, {result['asked']} asked now")
        if rounds is not None:
            words = ", ".join(f"{w:.1f}" for w in result["lengths"]["words"])
            print(
                f"{result['protocol']}: words per round {words}; {result['lengths']['short']:.1%} of the last answers have at most 3"
            )


def _before(dataset: Dataset, limit: int) -> str:
    """What such a run can show, before it costs anything."""
    from itertools import islice

    from visift.evals.questions import cluster_of
    from visift.evals.stats import detectable_before

    pictures = [cluster_of(c) for c in islice(dataset, limit or None)]
    share = detectable_before(len(pictures), len(set(pictures)))
    return (
        f"{len(pictures)} questions on {len(set(pictures))} pictures: two models that differ in accuracy by {100 * share:.1f} points "
        "will be told apart four times out of five (if they disagree on a fifth of the questions)"
    )


def _tagged(tags: str, weights: str | None, dataset: Dataset, out: Path) -> Path:
    """The folder of tagged pictures: `tags` itself, or made at `out` from annotations or by a segmenter."""
    from visift.cli.source_options import SourceOptions
    from visift.evals.tagged_questions import draw, folder_of

    path = Path(tags)
    if (path / "dataset.json").exists():
        return path
    if path.is_dir():
        raise UsageError(
            "holds no tagged pictures", where=f"--tags {tags}", remedy="name a folder made by `visift mark`"
        )
    given = {"annotations": path} if path.is_file() else {"segmenter": tags, "weights": weights}
    draw(dataset, SourceOptions(images=folder_of(dataset), **given).source(), out)
    return out
