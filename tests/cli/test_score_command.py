"""`visift score` with a judge, as users type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faulty_server import serving
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.files import write_json, write_jsonl
from visift.core.types import Answer

pytestmark = pytest.mark.integration


def files(folder: Path) -> list[str]:
    row = {"imagename": "0.png", "question": "What?", "answer": "a bus", "capability": ["rec"]}
    write_json(folder / "mm-vet.json", {"v1_0": row})
    write_jsonl(folder / "a.jsonl", [Answer("v1_0", "mm-vet", (), "What?", "a bus", "stop").to_json()])
    return ["score", "mm-vet", "--answers", str(folder / "a.jsonl"), "--references", str(folder / "mm-vet.json")]


def test_a_judge_is_named_by_its_address_and_its_verdicts_are_kept(tmp_path: Path) -> None:
    command = [*files(tmp_path), "--json", "--out", str(tmp_path / "out")]
    assert json.loads(CliRunner().invoke(app, command).stdout)["metrics"]["score"]["value"] == 1.0
    with serving(lambda n, body: '{"score": 0.3}') as server:
        for _ in range(2):
            made = CliRunner().invoke(app, [*command, "--judge", server.url])
            assert json.loads(made.stdout)["metrics"]["score"]["value"] == 0.3
        assert server.calls == 1 and server.bodies[0]["model"] == "only-model"
    stored = [
        "score",
        "mm-vet",
        "--answers",
        str(tmp_path / "out" / "verdicts.jsonl"),
        "--format",
        "verdicts",
        "--json",
    ]
    assert json.loads(CliRunner().invoke(app, stored).stdout)["metrics"]["score"]["value"] == 0.3


def test_a_judge_needs_a_place_for_its_verdicts_and_a_price_for_a_cap(tmp_path: Path) -> None:
    command = [*files(tmp_path), "--judge", "http://127.0.0.1:9/v1"]
    assert "verdicts are to be kept" in str(CliRunner().invoke(app, command).exception)
    more = ["--out", str(tmp_path / "out"), "--judge-model", "m", "--judge-max-cost", "1"]
    assert "needs a price" in str(CliRunner().invoke(app, [*command, *more]).exception)
