"""Difference pairs about what a model ignores, or looks at most; and in plain words."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.core.types import Region
from visift.sources.tabletop import Tabletop
from visift.synth.difference_edits import Edit
from visift.synth.difference_words import plain
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


def test_plain_words_by_hand() -> None:
    def thing(colour: str, shape: str = "star") -> Region:
        return Region(f"{colour} {shape}", shape, (0, 0, 9, 9), None, {"colour": colour})

    def made(kind: str, before: Region | None, after: Region | None, adjective: str = "") -> Edit:
        return Edit(kind, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), bool), before, after, adjective)

    red, orange = thing("red"), thing("orange", "moon")
    assert plain(None, False) == "Nothing changed."
    assert plain(made("delete", red, None), False) == "The red star is gone."
    assert plain(made("delete", red, None), True) == "A red star was added."
    assert plain(made("add", None, orange), False) == "An orange moon was added."
    assert plain(made("swap", red, orange), False) == "The red star has become an orange moon."
    assert plain(made("modify", red, thing("blue"), "blue"), True) == "The blue star has become a red star."
    dog = Region("d", "dog", (0, 0, 9, 9))
    assert plain(made("modify", dog, dog, "striped"), False) == "The dog has become striped."
    assert plain(made("modify", dog, dog, "striped"), True) == "The dog is no longer striped."


@pytest.mark.integration
def test_plain_pairs_are_what_the_base_was_taught(tmp_path: Path) -> None:
    from visift.models.builtin.lessons import difference_sentences

    synthesise("difference", Tabletop(8, seed=4), tmp_path / "d", answers="plain", sets=0.3, unchanged=0.3)
    line = re.compile(
        r"(Picture \d: )?(Nothing changed\.|(The|An?) [a-z ]+ (is gone|was added|has become an? [a-z ]+)\.)"
    )
    taught = {
        re.sub(r"[a-z]+ [a-z]+ [a-z]+(?= (is|has|was)|\.)", "X", difference_sentences(np.random.default_rng(k)).answer)
        for k in range(40)
    }
    assert taught == {"Nothing changed.", "The X is gone.", "A X was added.", "The X has become a X."}
    for row in Dataset(tmp_path / "d"):
        assert all(line.fullmatch(said) for said in row.turns[1].text.split("\n"))
        if len(row.images) == 2:
            assert row.turns[0].text == "First there was . Now there is . What changed?"
    with pytest.raises(UsageError, match="answers 'short' is neither plain nor varied"):
        synthesise("difference", Tabletop(2), tmp_path / "e", answers="short")


def test_a_set_made_anew_in_one_process_has_its_own_targets(tmp_path: Path) -> None:
    ends = {}
    for targets in ("ignored", "salient"):
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        synthesise("difference", Planted(6, seed=4), tmp_path / "d", targets=targets, edits="delete", sets=0.0, unchanged=0.0, per_scene=1)  # fmt: skip
        ends[targets] = ranks(tmp_path / "d")
    assert max(ends["ignored"]) < 0.35 and min(ends["salient"]) > 0.65


@pytest.mark.parametrize(("sets", "pictures"), [("0", {2}), ("1", {3, 4, 5, 6})])
def test_the_command_says_how_many_sets(sets: str, pictures: set[int], tmp_path: Path) -> None:
    words = ["synth", "difference", "--tabletop", "5", "--out", str(tmp_path / "d"), "--sets", sets, "--unchanged", "0"]
    assert CliRunner().invoke(app, words).exit_code == 0
    rows = list(Dataset(tmp_path / "d"))
    assert rows and {len(row.images) for row in rows} <= pictures and all(row.meta["edits"] for row in rows)
