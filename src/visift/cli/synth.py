"""`visift synth KIND`: instruction data from a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from visift.cli.source_options import Annotations, Captions, Images, Panoptic, TabletopCount, source_from
from visift.cli.teacher_options import (
    RULES,
    TeacherCache,
    TeacherConcurrency,
    TeacherKeyEnv,
    TeacherMaxCost,
    TeacherModel,
    TeacherPrice,
    TeacherRpm,
    TeacherTpm,
    TeacherUrl,
    teacher_from,
)

Numbering = Annotated[str | None, typer.Option(help="random (default), area or reading.")]
Style = Annotated[str | None, typer.Option(help="How numbers look: clear (default) or paper.")]
ModelPx = Annotated[int | None, typer.Option(help="Longest side that the model sees, in pixels (default 336).")]
MaxTags = Annotated[int | None, typer.Option(help="Most numbers on a picture (default 24).")]
Seed = Annotated[int, typer.Option(help="Same seed, same bytes.")]
Limit = Annotated[int | None, typer.Option(help="Use only the first N scenes.")]
Workers = Annotated[int, typer.Option(help="Processes; the result does not depend on it.")]
ExecutorName = Annotated[str, typer.Option("--executor", help="local, or ray (extra `visift[ray]`).")]
Json = Annotated[bool, typer.Option("--json", help="Print the dataset card as one JSON object.")]


def synth(
    kind: Annotated[str, typer.Argument(help="listing, tag-qa, dialog, difference or demonstration.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; run again, the work resumes.")],
    images: Images = None,
    annotations: Annotations = None,
    captions: Captions = None,
    panoptic: Panoptic = None,
    tabletop: TabletopCount = None,
    limit: Limit = None,
    seed: Seed = 0,
    workers: Workers = 1,
    executor: ExecutorName = "local",
    numbering: Numbering = None,
    style: Style = None,
    model_px: ModelPx = None,
    max_tags: MaxTags = None,
    answers: Annotated[str | None, typer.Option(help="Wording of lists: plain (default) or varied.")] = None,
    teacher: TeacherUrl = RULES,
    teacher_model: TeacherModel = None,
    teacher_key_env: TeacherKeyEnv = "VISIFT_API_KEY",
    teacher_max_cost: TeacherMaxCost = None,
    teacher_price: TeacherPrice = None,
    teacher_cache: TeacherCache = None,
    teacher_concurrency: TeacherConcurrency = 16,
    teacher_rpm: TeacherRpm = None,
    teacher_tpm: TeacherTpm = None,
    as_json: Json = False,
) -> None:
    """Make instruction data of one kind.

    Example: visift synth listing --images val2017 --annotations instances_val2017.json --out data/listing
    """
    from visift.synth.frame import synthesise

    source = source_from(images, annotations, captions, panoptic, tabletop, seed)
    options: dict[str, Any] = {
        "numbering": numbering, "style": style, "model_px": model_px, "max_tags": max_tags, "answers": answers,
    }  # fmt: skip
    with teacher_from(
        teacher, out, teacher_model, teacher_key_env, teacher_max_cost, teacher_price, teacher_cache, teacher_concurrency,
        teacher_rpm, teacher_tpm,
    ) as asked:  # fmt: skip
        card = synthesise(
            kind, source, out, seed=seed, limit=limit, workers=workers, executor=executor, teacher=asked, **options  # type: ignore[arg-type]
        )  # fmt: skip
    print_card(card, out, as_json)


def print_card(card: dict[str, Any], out: Path, as_json: bool) -> None:
    """The card as JSON, or its counts in a line."""
    if as_json:
        typer.echo(json.dumps(card, ensure_ascii=False))
        return
    counts = card["counts"]
    typer.echo(
        f"{out}: {counts['conversations']} conversations, {counts['tagged']} tagged pictures from {counts['items']} scenes; "
        f"{counts['rejected']} left out (rejected.jsonl)"
    )
