"""The papers' recipes run as they are shipped, with another model, other data and fewer rows a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_data
import typer
from typer.testing import CliRunner

from visift.cli.train import train
from visift.train.settings import named_in, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
PAPERS = ("som_llava", "coco_is_all")


def run(*words: str) -> dict:
    app = typer.Typer()
    app.command()(train)
    return json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)


@pytest.mark.integration
@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_recipe_runs_small(tmp_path: Path, name: str) -> None:
    data = tiny_data.dataset(tmp_path / "data", 8, mixed=True)
    options = ["--model", "builtin", "--data", str(data), "--out", str(tmp_path / "run")]
    result = run(str(RECIPES / f"{name}.yaml"), *options, "steps=2", "batch_size=4", "threads=1")
    assert result["steps"] == 2 and result["stage"] == "sft" and result["plan"]["rejected"] == 0
    assert set(result["census"]["frozen_by_part"]) == {"vision"}


def test_they_say_what_the_papers_say() -> None:
    som, coco = (read_recipe(RECIPES / f"{name}.yaml") for name in PAPERS)
    assert (som.epochs, som.batch_size, som.lr, som.schedule, som.warmup, som.max_length) == (
        1,
        64,
        2e-5,
        "cosine",
        0.03,
        2048,
    )
    assert coco == som.model_copy(update={"batch_size": 128})
    assert named_in(RECIPES / "som_llava.yaml") == {"model": "llava-hf/llava-1.5-7b-hf", "stage": "sft"}


@pytest.mark.integration
@pytest.mark.data
@pytest.mark.parametrize(("steps", "rows"), [(1, 2), pytest.param(20, 1, marks=pytest.mark.stress)])
def test_foreign_chats_train_without_a_dropped_row(data: Path, tmp_path: Path, steps: int, rows: int) -> None:
    """Fifty real chats of about ten rounds over several pictures."""
    chats = data / "mantis_chat" / "train.json"
    options = ["--model", "builtin", "--data", str(chats), "--stage", "sft", "--out", str(tmp_path / "run")]
    result = run(*options, f"steps={steps}", f"batch_size={rows}", "max_length=8192", "bf16=false")
    assert (result["plan"]["rows"], result["plan"]["rejected"], result["steps"]) == (50, 0, steps)
    assert (tmp_path / "run" / "rejected.jsonl").read_text() == ""
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "train_log.jsonl").read_text().splitlines()]
    assert len(losses) == steps and (steps < 20 or sum(losses[-5:]) < sum(losses[:5]))
