"""Evaluation pictures are found by id and by looks, whatever was done to them; other pictures are left alone."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from visift.core.errors import DataError
from visift.core.types import Conversation, Picture, Provenance, user
from visift.curate.decontaminate import NEAR, Decontaminator, coco_id, held, picture_hash


def photograph(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Smooth random structure, as photographs have at low frequencies."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def apart(a: Path, b: Path) -> int:
    return int(np.bitwise_count(picture_hash(a) ^ picture_hash(b)).sum())


def tagged(image: Image.Image) -> Image.Image:
    out = image.copy()
    draw = ImageDraw.Draw(out)
    for k in range(5):
        draw.rectangle((20 + 55 * k, 30 + 37 * k, 34 + 55 * k, 46 + 37 * k), fill="black")
    return out


CHANGES = {
    "resized": lambda i: i.resize((160, 120)),
    "squashed": lambda i: i.resize((224, 224)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.2),
    "cropped": lambda i: i.crop((6, 4, i.width - 6, i.height - 4)),
    "grey": lambda i: i.convert("L"),
    "tagged": tagged,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_near(tmp_path: Path, change: str) -> None:
    for seed in range(5):
        photograph(seed).save(tmp_path / "a.png")
        CHANGES[change](photograph(seed)).save(tmp_path / "b.jpg", quality=60)
        assert apart(tmp_path / "a.png", tmp_path / "b.jpg") <= NEAR


def test_a_copy_that_exif_turns_and_one_of_16_bits_are_near(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for seed in range(5):
        photograph(seed).save(tmp_path / "a.png")
        photograph(seed).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif)
        Image.fromarray(np.asarray(photograph(seed).convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
        assert apart(tmp_path / "a.png", tmp_path / "turned.jpg") <= NEAR
        assert apart(tmp_path / "a.png", tmp_path / "deep.png") <= NEAR


def test_pictures_of_one_colour_or_one_gradient_are_no_copies(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    Image.new("RGB", (300, 300), "white").save(tmp_path / "eval/white.png")
    photograph(1).save(tmp_path / "eval/b.png")
    noise = np.random.default_rng(0).integers(200, 204, (200, 300), dtype=np.uint8)
    Image.new("RGB", (300, 200)).save(tmp_path / "black.png")
    Image.linear_gradient("L").save(tmp_path / "eval/down.png")
    Image.linear_gradient("L").rotate(90).save(tmp_path / "across.png")
    Image.fromarray(noise).save(tmp_path / "wall.png")
    photograph(1).save(tmp_path / "copy.jpg")
    guard = Decontaminator(held([tmp_path / "eval"]), lambda p: tmp_path / p.path)
    for name in ("black.png", "wall.png", "across.png"):
        assert guard.leak(conversation(name)) == "", name
    assert "evaluation picture eval/b.png" in guard.leak(conversation("copy.jpg"))  # names stay with their hashes


def test_other_pictures_are_far(tmp_path: Path) -> None:
    for seed in range(25):
        photograph(seed).save(tmp_path / f"{seed}.png")
    hashes = np.stack([picture_hash(tmp_path / f"{seed}.png") for seed in range(25)])
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(-1)
    assert distances[np.triu_indices(25, 1)].min() > NEAR


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("val2014/COCO_val2014_000000310196.jpg", 310196), ("train2017/000000000872.jpg", 872), ("images/000000000872.PNG", 872),
        ("00255/002555092.jpg", None), ("0000000008721.jpg", None), ("000000000872/x.jpg", None), ("vg/2350.jpg", None),
    ],
)  # fmt: skip
def test_coco_ids_in_file_names(path: str, number: int | None) -> None:
    assert coco_id(path) == number


def test_ids_are_read_from_question_files_of_many_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pope.json").write_text(
        '{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "A 12?", "label": "yes"}\n'
    )
    (tmp_path / "vqa.json").write_text(
        json.dumps({"questions": [{"image_id": 262148, "question_id": 262148000, "question": "?"}]})
    )
    (tmp_path / "ours.jsonl").write_text(json.dumps({"id": "q", "provenance": {"scenes": ["coco:872"]}}))
    monkeypatch.setattr("visift.curate.decontaminate.CHUNK", 50)  # ids are cut by the chunk's end
    assert held([tmp_path / "pope.json"]).ids == {310196}
    assert held([tmp_path / "vqa.json"]).ids == {262148}
    assert held([tmp_path]).ids == {310196, 262148, 872}


def test_what_holds_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match="neither pictures nor COCO ids"):
        held([tmp_path])
    with pytest.raises(DataError, match="no such file"):
        held([tmp_path / "absent"])


def conversation(path: str, *scenes: str) -> Conversation:
    return Conversation("c", (Picture(path),), (user(0),), Provenance("x", scenes))


def test_a_leak_is_found_by_name_by_scene_and_by_looks(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "train").mkdir()
    photograph(1).save(tmp_path / "eval/000000000872.jpg")
    photograph(2).save(tmp_path / "train/000000000872.png")
    photograph(3).save(tmp_path / "train/drawn.png")
    photograph(1).resize((100, 75)).save(tmp_path / "train/copy.png")
    guard = Decontaminator(held([tmp_path / "eval"]), lambda p: tmp_path / "train" / p.path)
    assert "COCO picture 872" in guard.leak(conversation("000000000872.png"))
    (tmp_path / "train/000000000872").mkdir()
    photograph(3).save(tmp_path / "train/000000000872/1.png")
    assert "COCO picture 872" in guard.leak(conversation("000000000872/1.png", "coco:872"))
    assert "looks like the evaluation picture eval/000000000872.jpg" in guard.leak(conversation("copy.png"))
    assert guard.leak(conversation("drawn.png", "coco:873")) == ""
    with pytest.raises(DataError, match="missing"):
        guard.leak(conversation("absent.png"))
    (tmp_path / "train/broken.png").write_bytes((tmp_path / "train/copy.png").read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be decoded"):
        guard.leak(conversation("broken.png"))


def test_a_scene_is_cocos_only_where_its_picture_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(json.dumps([{"image_id": 3}, {"image_id": 872}]))
    guard = Decontaminator(held([tmp_path / "e.json"]), lambda p: tmp_path / "any.png")
    photograph(1).save(tmp_path / "any.png")
    for path in ("own:shop3.jpg", "images/3.jpg", "own:000000000004x.jpg", "images/coco-shop3-0-0.jpg"):
        assert guard.leak(conversation(path, "coco:3")) == "", path
    for path in ("coco:val2014/COCO_val2014_000000000872.jpg", "images/000000000872/2.jpg"):
        assert "COCO picture 872" in guard.leak(conversation(path, "coco:872")), path
    kept = replace(conversation("0c1f.jpg", "coco:872"), id="llava/listing-coco-000000000872")  # out of a parquet file
    assert "COCO picture 872" in guard.leak(kept)


def test_a_row_of_several_scenes_is_vouched_for_by_one_name(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(json.dumps([{"image_id": 872}]))
    photograph(1).save(tmp_path / "any.png")
    guard = Decontaminator(held([tmp_path / "e.json"]), lambda p: tmp_path / "any.png")
    for path in (
        "images/000000000005/1.jpg",
        "images/coco-000000000139-0-1.jpg",
    ):  # lent a thing; named after a neighbour
        assert "COCO picture 872" in guard.leak(conversation(path, "coco:5", "coco:872")), path
    assert guard.leak(conversation("images/coco-shop3-0-1.jpg", "coco:5", "coco:872")) == ""


@pytest.mark.data
def test_real_copies_are_found_without_their_names_and_nothing_else(data: Path, tmp_path: Path) -> None:
    """coco_small holds 50 photographs of coco_mini at another size; renamed, only their looks can tell."""
    shared = {p.name for p in (data / "coco_small/images").iterdir()}
    guard = Decontaminator(held([data / "coco_small/images"]), lambda p: tmp_path / p.path)
    guard.held.ids.clear()
    right = 0
    for k, path in enumerate(sorted((data / "coco_mini").glob("*2017/*.jpg"))):
        data_ = io.BytesIO()
        Image.open(path).convert("RGB").resize((336, 336)).save(data_, "JPEG", quality=50)
        (tmp_path / f"{k}.jpg").write_bytes(data_.getvalue())
        why = guard.leak(conversation(f"{k}.jpg"))
        assert (path.name in shared) == (path.name in why), (path.name, why)
        right += path.name in shared
    assert right == 50
