"""Difference pairs about what a model ignores, or looks at most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise


class Planted(Tabletop):
    """The further right a thing stands, the more it is attended to."""

    diagnosed = True

    def __iter__(self) -> Any:
        for scene in super().__iter__():
            ranked = sorted(scene.regions, key=lambda r: r.box[0])
            known = {r.id: float(k) for k, r in enumerate(ranked)}
            yield replace(scene, regions=tuple(replace(r, significance=known[r.id]) for r in scene.regions))


def ranks(out: Path) -> list[float]:
    """Rank of each edited thing among its scene's, 0..1, from left to right."""
    sizes = {s.id: len(s.regions) for s in Planted(10, seed=4)}
    found = []
    for row in Dataset(out):
        for edit in row.meta["edits"]:
            found.append(edit["significance"] / (sizes[row.provenance.scenes[0]] - 1))
    return found


@pytest.mark.parametrize(
    ("targets", "low", "high"), [("ignored", 0.0, 0.34), ("salient", 0.66, 1.0), ("random", 0.0, 1.0)]
)
def test_targets_are_what_they_say(targets: str, low: float, high: float, tmp_path: Path) -> None:
    synthesise("difference", Planted(10, seed=4), tmp_path / "d", targets=targets, edits="modify,delete", sets=0.0,
               unchanged=0.0, per_scene=1)  # fmt: skip
    found = ranks(tmp_path / "d")
    assert len(found) >= 8 and low <= min(found) and max(found) <= high
    if targets == "random":
        assert min(found) < 0.2 and max(found) > 0.8


def test_targets_need_a_diagnosis(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"what is ignored a model's attention says.*--attention-of MODEL"):
        synthesise("difference", Tabletop(2), tmp_path / "a", targets="ignored")
    with pytest.raises(UsageError, match="targets 'most' is none of random, ignored, salient"):
        synthesise("difference", Planted(2), tmp_path / "b", targets="most")


@pytest.mark.integration
def test_the_command_asks_a_model(tmp_path: Path) -> None:
    words = [
        "synth",
        "difference",
        "--tabletop",
        "6",
        "--targets",
        "ignored",
        "--attention-of",
        "builtin",
        "--out",
        str(tmp_path / "d"),
    ]
    run = CliRunner().invoke(app, words, catch_exceptions=False)
    assert run.exit_code == 0
    edits = [e for row in Dataset(tmp_path / "d") for e in row.meta["edits"] if e["edit"] != "add"]
    assert edits and all(e["significance"] > 0 for e in edits)
