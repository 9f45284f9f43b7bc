from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import tiny_data
import tiny_vlm

from visift.cli.answer import answer
from visift.cli.train import train
from visift.core.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(train)
    made.command()(answer)
    return made


def test_train_then_answer(app: typer.Typer, tmp_path: Path) -> None:
    base, data = tiny_vlm.llava(tmp_path / "base"), tiny_data.dataset(tmp_path / "data", 4)
    (tmp_path / "r.yaml").write_text("batch_size: 2\nbf16: false\n")
    words = [
        "train",
        str(tmp_path / "r.yaml"),
        "steps=2",
        "--model",
        str(base),
        "--data",
        str(data),
        "--stage",
        "align",
    ]
    run = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run"), "--json"], catch_exceptions=False)
    result = json.loads(run.stdout)
    assert run.exit_code == 0 and result["steps"] == 2 and "6,272 parameters train" in run.stderr
    out = tmp_path / "a.jsonl"
    words = [
        "answer",
        "caption",
        "--model",
        result["model"],
        "--questions",
        str(data),
        "--out",
        str(out),
        "--max-new-tokens",
        "2",
    ]
    run = CliRunner().invoke(app, words, catch_exceptions=False)
    assert run.exit_code == 0 and "4 answers" in run.stdout and len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "m", "--data", "d"], "--out is missing"),
        (["--model", "m", "--data", "d", "--out", "o", "lrr=1"], "unknown key 'lrr'"),
    ],
)
def test_wrong_usage_is_named(app: typer.Typer, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, ["train", *words], catch_exceptions=False)
