"""The difference task by hand, and for replies that know nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visift.core.dataset import Dataset
from visift.core.types import Conversation
from visift.evals.score import score
from visift.evals.tasks.difference import gold
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "d"
    synthesise("difference", Tabletop(12, seed=2), out, sets=0.0, unchanged=0.3)
    return out


def scored(pairs: Path, say: Callable[[Conversation], Any], tmp_path: Path) -> dict[str, float]:
    rows = [
        {"id": c.id, "task": "difference", "images": [], "question": "", "text": say(c), "finish": "stop", "request_sha256": "",
         "decoding": {}, "history": [], "meta": {}}
        for c in Dataset(pairs)
    ]  # fmt: skip
    tmp_path.mkdir()
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = score("difference", tmp_path / "a.jsonl", questions=pairs, out=tmp_path / "s")
    return {k: v["value"] for k, v in found["metrics"].items()}


def test_the_truth_by_hand() -> None:
    edit = {"edit": "swap", "before": "small red star", "after": "large blue ring"}
    said = "The small red star has become a large blue ring."
    assert gold(said, {"edits": [edit]}, "x") == ({"small", "red", "star", "large", "blue", "ring"},) * 2


def test_right_wrong_and_knowing_nothing(pairs: Path, tmp_path: Path) -> None:
    rows = list(Dataset(pairs))
    unchanged = sum(not c.meta["edits"] for c in rows) / len(rows)
    assert 0.1 < unchanged < 0.6
    assert scored(pairs, lambda c: c.reference, tmp_path / "1") == {"accuracy": 1.0, "f1": 1.0}
    assert scored(pairs, lambda c: "", tmp_path / "2") == {"accuracy": 0.0, "f1": 0.0}
    assert scored(pairs, lambda c: "Nothing has changed.", tmp_path / "3") == {"accuracy": unchanged, "f1": 0.0}
    every = (
        "small large red green blue yellow orange purple cyan pink circle square triangle star cross diamond ring moon"
    )
    all_words = scored(pairs, lambda c: every, tmp_path / "4")
    assert all_words["accuracy"] == 0.0 and all_words["f1"] < 0.35
    following = {c.id: rows[(k + 1) % len(rows)].reference for k, c in enumerate(rows)}
    other = scored(pairs, lambda c: following[c.id], tmp_path / "5")
    assert 0.1 < other["f1"] < 0.8 and other["accuracy"] < 0.8
