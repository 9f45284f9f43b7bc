"""Questions by dataset folder, by published file, by a hub's folder of parquet files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import eval_samples as samples
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import write_jsonl
from visift.evals.question_sets import question_set
from visift.evals.score import score


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 6), shade).save(buffer, "PNG")
    return buffer.getvalue()


def pope_hub(folder: Path) -> Path:
    """As a hub lays it out: `data/test-…parquet`, pictures within, six questions on two pictures; and a split not to be asked."""
    rows = [
        {"id": str(k), "question_id": str(k + 1), "question": f"Is there a thing{k} in the image?", "answer": "no" if k % 2 else "yes",
         "image_source": f"COCO_{k // 3}", "image": {"bytes": png(k // 3), "path": None}, "category": "random"} for k in range(6)
    ]  # fmt: skip
    (folder / "data").mkdir(parents=True)
    for split, given in (
        ("test-00000-of-00002", rows[:4]),
        ("test-00001-of-00002", rows[4:]),
        ("train-00000-of-00001", rows),
    ):
        pq.write_table(pa.Table.from_pylist(given), folder / "data" / f"{split}.parquet")
    return folder


def test_a_hub_folder_becomes_questions_and_their_answers_are_scored(tmp_path: Path) -> None:
    made = question_set("pope", str(pope_hub(tmp_path / "hub")), tmp_path / "q")
    asked = list(Dataset(made))
    assert [c.id for c in asked] == [str(k) for k in range(6)]
    assert (
        asked[0].prompt[-1].text
        == "Is there a thing0 in the image?\nAnswer the question using a single word or phrase."
    )
    assert len({c.images[0].path for c in asked}) == 2 and all(
        Dataset(made).picture_path(c.images[0]).exists() for c in asked
    )
    answers = samples.answer_all(tmp_path / "a.jsonl", made, lambda c: "yes")
    result = score("pope", answers, questions=made)
    assert result["groups"]["random"]["f1"]["value"] == pytest.approx(2 / 3)
    assert result["metrics"]["f1"]["clusters"] == 2
    assert question_set("pope", str(tmp_path / "hub"), tmp_path / "q") == made  # found, not made again


def test_pictures_in_a_folder_of_their_own(tmp_path: Path) -> None:
    row = {"id": "20", "imageId": "n1", "question": "Is it red?", "answer": "yes", "types": {"structural": "verify"}}
    for name, rows in (
        ("testdev_balanced_instructions", [row]),
        ("testdev_balanced_images", [{"id": "n1", "image": {"bytes": png(9), "path": None}}]),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name / "testdev-00000-of-00001.parquet")
    made = question_set("gqa", str(tmp_path / "testdev_balanced_instructions"), tmp_path / "q")
    (asked,) = Dataset(made)
    assert Dataset(made).picture_path(asked.images[0]).read_bytes() == png(9)


def test_a_hub_id_is_fetched_as_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def fetch(name: str, **options: Any) -> str:
        asked.append((name, options["repo_type"], options["allow_patterns"]))
        return str(pope_hub(tmp_path / "snapshot"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert len(Dataset(question_set("pope", "lmms-lab/POPE", tmp_path / "q"))) == 6
    assert asked == [("lmms-lab/POPE", "dataset", ["**/*.parquet"])]


def test_published_files_and_dataset_folders(tmp_path: Path) -> None:
    ours = samples.existence(tmp_path / "ours", pictures=1)
    assert question_set("pope", str(ours), tmp_path / "none") == ours and not (tmp_path / "none").exists()
    write_jsonl(
        tmp_path / "coco_pope_random.json",
        [{"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "no"}],
    )
    (tmp_path / "pictures").mkdir()
    made = question_set("pope", str(tmp_path / "coco_pope_random.json"), tmp_path / "q", images=tmp_path / "pictures")
    (asked,) = Dataset(made)
    assert Dataset(made).picture_path(asked.images[0]) == tmp_path / "pictures" / "a.jpg"


def test_what_is_no_question_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file, folder or hub id"):
        question_set("pope", str(tmp_path / "nowhere"), tmp_path / "q")
    with pytest.raises(DataError, match="cannot be fetched from the hub"):
        question_set("pope", "nobody/nothing", tmp_path / "q")
    with pytest.raises(UsageError, match="lacks a column that vqav2 needs"):
        question_set("vqav2", str(pope_hub(tmp_path / "hub")), tmp_path / "q2")
    with pytest.raises(UsageError, match="no known columns on hubs"):
        question_set("demon", str(tmp_path / "hub"), tmp_path / "q3")
