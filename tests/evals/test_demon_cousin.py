"""Our demonstrations in DEMON's file format: read, asked and scored as DEMON's own files are."""

from __future__ import annotations

import pytest
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, write_json
from visift.core.types import Part
from visift.evals.demon_cousin import export, split
from visift.evals.score import score
from visift.evals.tasks import demon
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise

ONE_A_CATEGORY = "history,story,match,facts,read,same-or-different"
HELD_OUT = Tabletop(12, split="held-out")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cousin")
    synthesise("demonstration", HELD_OUT, root / "d", tasks=ONE_A_CATEGORY, per_scene=2)
    synthesise("difference", HELD_OUT, root / "f", limit=4, sets=0.4)
    counts = [export(Dataset(root / name), root / "cousin") for name in ("d", "f")]
    return root, counts


def test_seven_small_tasks_one_a_category(made):
    root, counts = made
    names = {name for count in counts for name in count["samples"]}
    assert len(names) == 7
    assert {c for c, tasks in demon.COUSINS.items() if names & set(tasks)} == set(demon.OPEN) | set(demon.CHOICE)
    sets = sum(len(row.images) > 2 for row in Dataset(root / "f"))
    assert counts[0]["left_out"] == {} and counts[1]["left_out"] == {"tabletop-difference": sets} and sets
    for name in names:
        core = read_json(root / "cousin" / name / "core" / "core.json")
        assert core["metadata"]["num_sample"] == len(core["data"]) > 0
        assert core["metadata"]["question_type"] == ("open-ended" if demon.is_open(name) else "multi-choice")


def test_questions_are_those_of_the_dataset(made):
    """Pictures in their places, none left behind, and all that was asked."""
    root, _ = made
    rows = iter(Dataset(root / "d"))
    asked = {(q.groups[0], q.id.partition("/")[2]): q for dataset, path in demon.cores(root / "cousin").items()
             for q in demon.read_core(path, dataset, "fixed", asking=True)}  # fmt: skip
    seen: dict[str, int] = {}
    for row in rows:
        name = f"tabletop-{row.provenance.template.partition('/')[2]}"
        q = asked[name, str(seen.get(name, 0))]
        seen[name] = seen.get(name, 0) + 1
        assert q.gold["truth"] == row.turns[-1].text and [p for p in q.parts if isinstance(p, int)] == list(range(len(row.images)))  # fmt: skip
        words = {w for part in row.turns[0].parts if part.text for w in part.text.partition(" Choices: ")[0].split()}
        assert words <= set(q.asked.split())
        for path, picture in zip(q.images, row.images, strict=True):
            assert Image.open(root / "cousin" / path).size == (picture.width, picture.height)


def test_what_stands_there_stays(made, tmp_path):
    """The same questions again change nothing; others of one of its tasks are refused before anything is written."""
    root, counts = made
    before = {p: p.read_bytes() for p in (root / "cousin").rglob("*") if p.is_file()}
    assert export(Dataset(root / "d"), root / "cousin") == counts[0]
    synthesise("demonstration", Tabletop(8, seed=9, split="held-out"), tmp_path / "d", tasks="read,which-picture")
    with pytest.raises(UsageError, match=r"tabletop-read/core/core\.json: holds other questions of this task"):
        export(Dataset(tmp_path / "d"), root / "cousin")
    assert {p: p.read_bytes() for p in (root / "cousin").rglob("*") if p.is_file()} == before


def test_true_answers_score_one_under_both_rules(made, tmp_path):
    root, _ = made
    for name, path in demon.cores(root / "cousin").items():
        truths = [
            {"sample_id": r["sample_id"], "pred_response": r["response"], "gt_response": r["response"]}
            for r in read_json(path)["data"]
        ]
        write_json(tmp_path / name / "pred.json", truths)
    result = score("demon", tmp_path, references=root / "cousin", format="demon", rules="published")
    for mode in result["modes"].values():
        assert set(mode["metrics"]) == {"accuracy", "rouge_l", *demon.OPEN, *demon.CHOICE}
        assert all(value == pytest.approx(1, abs=1e-6) for value in mode["metrics"].values())


def test_instructions_stand_first_or_last():
    text, picture = (lambda t: Part(text=t)), Part(image=0)
    for parts in ([text("What? "), picture, text(" A: ")], [picture, text(" A: "), picture, text("What?")],
                  [text("Picture 1: "), picture, text(" What? Choices: a; b.")]):  # fmt: skip
        instruction, body = split(parts)
        assert instruction == "What?" and picture in body and not any(p.text and "What" in p.text for p in body)


def test_other_datasets_are_refused_by_name(tmp_path):
    synthesise("skills", HELD_OUT, tmp_path / "s", limit=1)
    with pytest.raises(DataError, match="is no demonstration and no difference"):
        export(Dataset(tmp_path / "s"), tmp_path / "out")


def test_command(made, tmp_path):
    root, _ = made
    run = ["export", "demon", "--to", "demon", "--questions", str(root / "d"), "--out", str(tmp_path / "c")]
    shown = CliRunner().invoke(app, run)
    assert shown.exit_code == 0 and "tabletop-story" in shown.output
    held = CliRunner().invoke(
        app, ["synth", "demonstration", "--images", ".", "--held-out", "--out", str(tmp_path / "x")]
    )
    assert isinstance(held.exception, UsageError)
