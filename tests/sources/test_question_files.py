"""Every published layout, read through one table."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from PIL import Image
from question_fixtures import EXPECTED, write

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.sources.folder import FolderSource
from visift.sources.question_files import LAYOUTS, QuestionFile, WithQuestions, coco_id
from visift.synth.frame import synthesise


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "images").mkdir()
    for k in (9, 10):
        Image.new("RGB", (40, 20), (k, 90, 90)).save(tmp_path / "images" / f"{k:012d}.jpg")
    return write(tmp_path / "questions")


def source(tmp_path: Path, *files: str) -> WithQuestions:
    return WithQuestions(FolderSource(tmp_path / "images"), [QuestionFile.parse(f) for f in files])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_each_format_asks(name: str, tmp_path: Path, files: dict[str, str]) -> None:
    nine, ten = source(tmp_path, files[name])
    assert [(a.question, a.answer, a.form) for a in nine.asked] == EXPECTED[name] and ten.asked == ()
    assert all(a.source == name and a.licence == LAYOUTS[name].licence for a in nine.asked)
    assert len(nine.faults) == (name == "vg-regions")  # the region outside its picture


def test_every_row_of_the_table_is_tested() -> None:
    assert LAYOUTS.keys() - EXPECTED.keys() == {"llava-instruct", "sharegpt4v", "lvis-instruct4v"}  # read as `llava`


def test_all_merge_into_dialogues_of_one_picture(tmp_path: Path, files: dict[str, str]) -> None:
    card = synthesise("dialog", source(tmp_path, *files.values()), tmp_path / "out", rounds=30)
    (row,) = Dataset(tmp_path / "out")
    # OK-VQA here asks what VQAv2 asks, and TallyQA what COCO-QA does: each question once
    assert len(row.turns) // 2 == sum(map(len, EXPECTED.values())) - 3 and row.provenance.teacher == ""
    assert {"Apache-2.0", "CC BY 4.0"} <= set(card["licences"]) and card["counts"][
        "rejected"
    ] == 2  # a region, picture 10
    texts = [t.text for t in row.turns[::2]]
    at = texts.index("What is it?")
    assert texts[at + 1] == "What colour is it?"  # refers to the round before it
    assert any(t.startswith("Is the food hot? ") for t in texts)


def test_workers_get_the_rounds_with_the_scene(tmp_path: Path, files: dict[str, str]) -> None:
    found = pickle.loads(pickle.dumps(source(tmp_path, files["vqav2"])))
    assert len(next(iter(found)).asked) == 2 and str(tmp_path) not in json.dumps(found.describe())


@pytest.mark.parametrize("text", ["vqav2", "nothing=x.json", "vqav2=a.json", "vsr=a.jsonl,b.jsonl", "=x"])
def test_a_misnamed_file_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--questions"):
        QuestionFile.parse(text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a-okvqa", "[]", "no rows"), ("a-okvqa", "{}", "no rows"), ("a-okvqa", '[{"question": "x"}]', "image_id"), ("a-okvqa", "[3]", "no object"),
        ("a-okvqa", "nonsense", "JSON"), ("st-vqa", "[]", "no rows under 'data'"), ("vsr", "", "no rows"), ("vsr", "{", "JSON"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named(
    name: str, content: str, message: str, tmp_path: Path, files: dict[str, str]
) -> None:
    path = tmp_path / ("x.jsonl" if name == "vsr" else "x.json")
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        list(source(tmp_path, f"{name}={path}"))
    assert path.name in str(error.value)


def test_a_row_that_cannot_be_used_is_a_fault_of_its_picture(tmp_path: Path, files: dict[str, str]) -> None:
    rows = [
        {"image": "000000000009.jpg", "caption": "x", "label": 7}, {"image": "000000000009.jpg", "caption": " ", "label": 1},
        {"image": "000000000009.jpg", "label": 1}, {"image": "000000000009.jpg", "caption": "The box is pink.", "label": 1},
    ]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    nine, _ = source(tmp_path, f"vsr={tmp_path / 'x.jsonl'}")
    assert [a.answer for a in nine.asked] == ["yes"]
    assert [where for where, _ in nine.faults] == ["vsr:row 1", "vsr:row 2", "vsr:row 3"]


def test_coco_names() -> None:
    assert (
        coco_id("COCO_val2014_000000000042.jpg")
        == coco_id("coco/train2017/000000000042.jpg")
        == coco_id(42)
        == coco_id("42")
        == 42
    )
    assert (
        coco_id("VG_100K/2405722.jpg") is None
        and coco_id("gqa/images/000000000042x.jpg") is None
        and coco_id(None) is None
    )
