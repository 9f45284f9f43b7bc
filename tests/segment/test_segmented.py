"""Pictures without annotations become scenes with regions; masks are found once and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.rle import decode_rle, encode_rle
from visift.segment.mask_cache import MaskCache
from visift.segment.segmented import Segmented
from visift.segment.segmenter import Found, segmenter_from
from visift.sources.chosen import Chosen
from visift.sources.folder import FolderSource
from visift.synth.frame import synthesise


class Halves:
    """Left and right half; counts how often it was asked."""

    def __init__(self, named: bool = False, setting: int = 1) -> None:
        self.named, self.setting, self.calls = named, setting, 0

    def describe(self) -> dict[str, Any]:
        return {"segmenter": "halves", "setting": self.setting}

    def __call__(self, image: Image.Image) -> list[Found]:
        self.calls += 1
        left = np.zeros((image.height, image.width), bool)
        left[:, : image.width // 2] = True
        return [Found(encode_rle(m), 0.9, "wall" if self.named else "") for m in (left, ~left)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(3):
        Image.new("RGB", (80, 60), (40 * k, 90, 200)).save(folder / f"{k}.png")
    return folder


def test_marks_and_a_broken_picture(pictures: Path, tmp_path: Path) -> None:
    (pictures / "1.png").write_bytes((pictures / "1.png").read_bytes()[:60])
    source = Segmented(FolderSource(pictures), Halves(), tmp_path / "masks")
    card = synthesise("mark", source, tmp_path / "out")
    assert card["sources"][0]["segmenter"] == "halves" and card["counts"]["tagged"] == 2
    first = next(Dataset(tmp_path / "out").tagged())
    assert sorted(m.region for m in first.marks) == ["folder:0.png#1", "folder:0.png#2"]
    masks = [decode_rle(m.rle) for m in first.marks]
    assert (masks[0] ^ masks[1]).all()
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rejected] == ["folder:1.png"]
    assert [len(scene.regions) for scene in source] == [2, 0, 2]  # iterating gives whole scenes, and faults


def test_masks_are_found_once(pictures: Path, tmp_path: Path) -> None:
    model = Halves()
    image = Image.open(pictures / "0.png").convert("RGB")
    kept = MaskCache(tmp_path / "masks", model)
    assert kept.masks(image) == kept.masks(image) == MaskCache(tmp_path / "masks", model).masks(image)
    assert model.calls == 1
    kept.masks(Image.open(pictures / "1.png").convert("RGB"))
    MaskCache(tmp_path / "masks", Halves(setting=2)).masks(image)
    files = sorted((tmp_path / "masks").rglob("*.json"))
    assert model.calls == 2 and len(files) == 3
    for path in files:
        path.write_text("{}")  # no list of masks: as if absent
    assert len(kept.masks(image)) == 2 and model.calls == 3


def test_names_decide_what_rules_may_do(pictures: Path, tmp_path: Path) -> None:
    nameless = Segmented(FolderSource(pictures), Halves(), tmp_path / "masks")
    for source in (nameless, Chosen(nameless, ("0.png",))):
        with pytest.raises(UsageError, match="no names"):
            synthesise("listing", source, tmp_path / "a")
    named = Chosen(Segmented(FolderSource(pictures), Halves(named=True), tmp_path / "named"), ("2.png",))
    synthesise("listing", named, tmp_path / "b")
    (row,) = Dataset(tmp_path / "b")
    assert row.turns[1].text == "1. wall\n2. wall" and row.provenance.scenes == ("folder:2.png",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--segmenter", "x"], "is not one of"), (["--segmenter", "sam2-onnx"], "needs weights"),
     (["--segmenter", "sam2-onnx", "--weights", "."], "0 encoder files"), (["--weights", "."], "segmenter's"),
     (["--segmenter", "sam", "--points", "0"], "--points 0"), (["--segmenter", "panoptic", "--points", "9"], "leave --points"),
     (["--segmenter", "sam", "--min-iou", "2"], "--min-iou 2"), (["--min-stability", "0.9"], "segmenter's"),
     (["--segmenter", "sam", "--annotations", "x.json"], "without annotations")],
)  # fmt: skip
def test_bad_usage(pictures: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    words = ["mark", "--images", str(pictures), "--out", str(tmp_path / "out"), *arguments]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_broken_onnx_files_are_one_line(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(DataError, match="cannot be loaded") as error:
        segmenter_from("sam2-onnx", str(tmp_path))(Image.new("RGB", (40, 30)))
    assert "\n" not in str(error.value)


@pytest.mark.weights
@pytest.mark.data
@pytest.mark.integration
def test_sam2_tiny_on_a_photograph(weights: Path, data: Path, tmp_path: Path) -> None:
    """Its masks agree with what people drew: most large things of COCO have one."""
    pytest.importorskip("onnxruntime")
    if not (weights / "sam2-tiny").is_dir():
        pytest.skip(f"{weights} has no sam2-tiny")
    from visift.sources.coco import CocoSource

    coco = data / "coco_mini"
    source = CocoSource(coco / "val2017", coco / "annotations" / "instances_val2017.json")
    scene = next(s for s in source if len(s.regions) == 1 and s.regions[0].box[2] * s.regions[0].box[3] > 20_000)
    model = segmenter_from("sam2-onnx", str(weights / "sam2-tiny"), points=4)
    masks = [decode_rle(f.rle) for f in model(source.open(scene))]
    truth = scene.regions[0].mask(scene.height, scene.width)
    assert max((m & truth).sum() / (m | truth).sum() for m in masks) > 0.7
