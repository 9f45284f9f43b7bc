"""A recipe from end to end, small; and killed at random moments, it ends with the same scores."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time

import pytest
import yaml

import visift
from visift.core.errors import UsageError
from visift.core.files import read_json
from visift.models import fingerprint
from visift.models.builtin import FOLDER
from visift.recipe import job
from visift.recipe import run as run_module
from visift.recipe.run import BUILTIN, made_with, run_recipe
from visift.recipe.schema import read_recipe, shipped

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (FOLDER / "model.safetensors").exists(), reason="the shipped weights are not there"),
]


def small_recipe(path):
    """The demo with few scenes, few steps and few question sets."""
    values = yaml.safe_load(shipped("demo").read_text())
    for data in values["data"].values():
        data["tabletop"] = 24
    values["train"].update(steps=4, batch_size=8, save_every=2, warmup=1)
    keep = ("tag-listing", "existence", "existence-tagged", "existence-cluttered")
    values["questions"] = {
        n: {**q, "tabletop": 6, "models": [], "max_new_tokens": 8} for n, q in values["questions"].items() if n in keep
    }
    values["claims"] = [c for c in values["claims"] if c["task"] in keep]
    path.write_text(yaml.safe_dump(values))
    return path


class Done:
    """What `jobs` starts, already done here: torch is loaded in this process. The killed run is in processes of its own."""

    def __init__(self, command, **options):
        self.stderr = ()
        job.do(json.loads(command[-1]))

    def poll(self):
        return 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    recipe = small_recipe(folder / "small.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "Popen", Done)
        page = run_recipe(recipe, folder / "run")
    return recipe, folder / "run", page


def scores(run):
    """As summary.json has them, but for where the questions lie, which differs between two folders."""
    found = json.loads((run / "summary.json").read_text())["scores"]
    for score in (s for of_model in found.values() for s in of_model.values()):
        score["recipe"].pop("questions", None)
    return found


def test_it_ends_in_a_report_and_a_summary(finished):
    _, run, page = finished
    assert page == run / "report.html"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["scores"].keys() == {"base", "control", "listing", "blind"}
    assert {"tag-listing", "tag-listing-shuffled", "existence", "existence-tagged"} <= summary["scores"][
        "listing"
    ].keys()
    assert summary["scores"]["blind"].keys() == {"tag-listing"}
    for score in summary["scores"]["listing"].values():
        for metric in score["metrics"].values():
            assert metric["low"] <= metric["value"] <= metric["high"]
    assert {"A1", "A4", "A6", "A7"} <= {v["claim"] for v in summary["verdicts"]}
    assert all(v["verdict"].split(":")[0] in ("supported", "not supported", "undecided") for v in summary["verdicts"])
    assert not [v for v in summary["verdicts"] if "not measured" in v["verdict"]]
    assert {"train.control", "train.listing"} <= summary["seconds"].keys()
    assert "| tag-listing | accuracy |" in (run / "models" / "listing" / "model" / "README.md").read_text()
    assert any((c["a"], c["b"]) == ("control", "listing") for c in summary["comparisons"])


def test_run_again_nothing_is_done_twice(finished):
    recipe, run, _ = finished
    stamps = {p: p.stat().st_mtime_ns for p in run.rglob("*.jsonl") if "scores" not in p.parts}
    run_recipe(recipe, run)
    assert stamps == {p: p.stat().st_mtime_ns for p in run.rglob("*.jsonl") if "scores" not in p.parts}


def test_another_recipe_in_the_same_folder_is_refused(finished):
    recipe, run, _ = finished
    with pytest.raises(UsageError, match="another recipe"):
        run_recipe(recipe, run, ["seed=5"])


def test_a_run_begun_with_other_weights_or_another_version_is_refused(finished, tmp_path, monkeypatch):
    recipe, run, _ = finished
    assert BUILTIN == FOLDER
    known = read_json(run / "made_with.json")["models"]
    assert known == {"builtin": fingerprint("builtin")} and "model.safetensors" in known["builtin"]
    monkeypatch.setattr(visift, "__version__", "99")
    with pytest.raises(UsageError, match="another version of visift"):
        run_recipe(recipe, run)
    monkeypatch.undo()
    shutil.copytree(FOLDER, tmp_path / "weights")
    monkeypatch.setattr(run_module, "BUILTIN", tmp_path / "weights")
    assert made_with(read_recipe(recipe))["models"] == known  # as the same weights elsewhere
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"others")
    with pytest.raises(UsageError, match="other weights to start from"):
        run_recipe(recipe, run)


def killed_run(recipe, out, kills, longest, seed, timeout=600.0):
    """Start, kill -9 after a random while, `kills` times; then let it end. Returns how many kills hit a running one."""
    draw = random.Random(seed)
    command = [sys.executable, "-m", "visift", "run", str(recipe), "--out", str(out)]
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(1.0, longest))
        hits += process.poll() is None
        process.kill()  # SIGKILL; nothing where it had already ended
        process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=timeout)
    return hits


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.stress)])
def test_killed_it_ends_with_the_same_scores(finished, tmp_path, kills):
    recipe, run, _ = finished
    hits = killed_run(recipe, tmp_path / "run", kills, 10.0, seed=kills)  # of half a minute
    assert hits
    assert scores(tmp_path / "run") == scores(run)


@pytest.mark.stress
def test_the_demo_killed_five_times_ends_with_the_same_scores(tmp_path):
    """The shipped recipe as it is, twice: half an hour on two cores."""
    run_recipe(shipped("demo"), tmp_path / "whole")
    assert killed_run(shipped("demo"), tmp_path / "killed", 5, 150.0, seed=5, timeout=3600.0) == 5
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
