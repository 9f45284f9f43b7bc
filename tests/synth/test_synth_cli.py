"""`visift synth` and `visift mark` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError

runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_is_the_card_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "a"
    card = json.loads(run("synth", "listing", "--tabletop", "5", "--out", str(out), "--json"))
    assert card == json.loads((out / "dataset.json").read_text()) and card["counts"]["conversations"] == 5
    again = json.loads(run("synth", "listing", "--tabletop", "5", "--out", str(out), "--json"))
    assert again == card


def test_options_reach_the_picture(tmp_path: Path) -> None:
    run("synth", "tag-qa", "--tabletop", "6", "--out", str(tmp_path / "a"), "--numbering", "area", "--style", "paper",
        "--max-tags", "2", "--limit", "4", "--seed", "5", "--model-px", "112")  # fmt: skip
    tagged = list(Dataset(tmp_path / "a").tagged())
    assert len(tagged) == 4 and all(len(t.marks) == 2 and t.style == "paper" for t in tagged)
    assert all(t.marks[0].area <= t.marks[1].area for t in tagged)


def test_mark_makes_a_sheet(tmp_path: Path) -> None:
    run("mark", "--tabletop", "6", "--out", str(tmp_path / "a"), "--sheet")
    with Image.open(tmp_path / "a" / "sheet.png") as sheet:
        assert sheet.width > 1000 and sheet.height > 300
    assert len(Dataset(tmp_path / "a")) == 0 and len(list(Dataset(tmp_path / "a").tagged())) == 6


@pytest.mark.data
def test_mark_single_pictures(data: Path, tmp_path: Path) -> None:
    coco = data / "coco_mini"
    pictures = sorted((coco / "train2017").glob("*.jpg"))[:2]
    annotations = str(coco / "annotations" / "instances_train2017.json")
    run("mark", *map(str, pictures), "--annotations", annotations, "--out", str(tmp_path / "a"))
    assert sorted(t.source for t in Dataset(tmp_path / "a").tagged()) == [p.name for p in pictures]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["listing"], "source is missing"), (["listing", "--tabletop", "3", "--images", "."], "exclude each other"),
     (["poem", "--tabletop", "3"], "not one of"), (["listing", "--tabletop", "0"], "at least one"),
     (["listing", "--tabletop", "3", "--numbering", "x"], "not one of"), (["listing", "--tabletop", "3", "--workers", "0"], "at least 1"),
     (["listing", "--tabletop", "3", "--executor", "x"], "neither local nor ray")],
)  # fmt: skip
def test_bad_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runner.invoke(app, ["synth", *arguments, "--out", str(tmp_path / "a")], catch_exceptions=False)


def test_wrong_paths_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    for images, labels in (
        (tmp_path / "none", tmp_path / "x.json"),
        (tmp_path, tmp_path / "none.json"),
        (tmp_path, tmp_path / "x.json"),
    ):
        with pytest.raises(DataError) as error:
            runner.invoke(app, ["synth", "listing", "--images", str(images), "--annotations", str(labels), "--out",
                                str(tmp_path / "a")], catch_exceptions=False)  # fmt: skip
        assert "\n" not in str(error.value)
        assert not (tmp_path / "a").exists()


def test_another_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    run("synth", "listing", "--tabletop", "3", "--out", str(tmp_path / "a"))
    with pytest.raises(UsageError, match="other settings"):
        runner.invoke(
            app, ["synth", "listing", "--tabletop", "4", "--out", str(tmp_path / "a")], catch_exceptions=False
        )


def test_command_modules_import_nothing_heavy() -> None:
    code = "import sys, visift.cli.synth, visift.cli.mark; print([m for m in ('numpy', 'PIL', 'scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
