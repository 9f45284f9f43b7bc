"""The model card: README.md beside the weights, for whoever finds the folder alone and for the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import visift
from visift.core.files import write_atomic
from visift.train.settings import TrainSettings

SCORES = "\n## Scores\n"


def model_card(
    census: Mapping[str, Any], counts: Mapping[str, int], run: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]],
    base: str, steps: int,
) -> str:  # fmt: skip
    """`run` is what run.json says, `data` each dataset's name and its card (dataset.json)."""
    changed = {k: v for k, v in run["settings"].items() if v != TrainSettings().identity().get(k)}
    name = Path(base).name or base
    lines = [
        "---", "library_name: transformers", "pipeline_tag: image-text-to-text", f"base_model: {name}", "---", "",
        f"# {name}, fine-tuned with visift", "",
        f"* {census_line(census)}.",
        f"* {counts['rows']:,} rows ({counts['tokens']:,} tokens, {counts['learnt']:,} learnt, {counts['pictures']:,} pictures;"
        f" {counts['rejected']} left out), {steps:,} steps.",
        f"* Settings other than the defaults of visift {visift.__version__}: `{json.dumps(changed, sort_keys=True)}`.",
        "", "## Data", "",
        *(f"* {label}: kind {card['kind']}, {card['counts']['conversations']:,} conversations,"
          f" licences {', '.join(card.get('licences') or ()) or 'not stated'}, texts by {', '.join(card.get('teacher') or ()) or 'the sources'};"
          f" content sha256 `{card['content_sha256']}`" for label, card in data.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def census_line(census: Mapping[str, Any]) -> str:
    """What a stage (`stages.Staged.census`) trains, in a line."""
    by = ", ".join(f"{part} {n:,}" for part, n in census["trainable_by_part"].items())
    return f"stage {census['stage']}: {census['trainable']:,} parameters train ({by}), {census['frozen']:,} are frozen"


def add_scores(folder: Path, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Write {task: score} into the card of the model in `folder`, in place of those it had; headlines only.

    A score is what `visift score` writes (score.json).
    """
    page = folder / "README.md"
    rows = [_row(task, score) for task, score in scores.items() if score.get("headline") in score["metrics"]]
    table = ["| task | metric | value | 95 % interval | questions |", "| --- | --- | --- | --- | --- |", *rows]
    text = page.read_text(encoding="utf-8").partition(SCORES)[0]
    write_atomic(page, text + (SCORES + "\n" + "\n".join(table) + "\n" if rows else ""))


def _row(task: str, score: Mapping[str, Any]) -> str:
    name = score["headline"]
    found = score["metrics"][name]
    if found["value"] is None:
        return f"| {task} | {name} | withheld: {found.get('withheld', 'not computed')} | | |"
    low, high = found.get("low"), found.get("high")
    span = f"{low:.3f} to {high:.3f}" if low is not None and high is not None else ""
    return f"| {task} | {name} | {found['value']:.3f} | {span} | {found.get('n', '')} |"
