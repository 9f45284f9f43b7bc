"""COCO files, good and bad, through small fixtures of our own."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visift.core.errors import DataError, UsageError
from visift.core.rle import encode_rle
from visift.sources.coco import CocoSource
from visift.synth.dialog.known import Known


def coco(**changes: Any) -> dict[str, Any]:
    mask = np.zeros((30, 40), bool)
    mask[3:9, 4:20] = True
    return {
        "info": {"year": 2026},
        "licenses": [{"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 40, "height": 30, "license": 1},
            {"id": 3, "file_name": "a.jpg", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 1, "bbox": [1, 2, 10, 10], "segmentation": [[1, 2, 11, 2, 11, 12, 1, 12]]},
            {"id": 12, "image_id": 7, "category_id": 2, "bbox": [4, 3, 16, 6], "segmentation": encode_rle(mask), "iscrowd": 1},
            {"id": 13, "image_id": 3, "category_id": 2, "bbox": [20, 2, 10, 10]},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "wine glass"}],
        **changes,
    }  # fmt: skip


def write(tmp_path: Path, content: Any, name: str = "instances.json") -> Path:
    (tmp_path / "images").mkdir(exist_ok=True)
    for file in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / file)
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def source(tmp_path: Path, content: Any) -> CocoSource:
    return CocoSource(tmp_path / "images", write(tmp_path, content))


def test_scenes_in_file_order(tmp_path: Path) -> None:
    found = source(tmp_path, coco())
    scenes = list(found)
    assert [s.id for s in scenes] == ["coco:7", "coco:3"] and len(found) == 2
    assert [r.id for r in scenes[1].regions] == ["coco-ann:11", "coco-ann:13"]
    assert [r.name for r in scenes[1].regions] == ["dog", "wine glass"]
    assert scenes[0].regions[0].crowd and scenes[0].licence == "CC BY 2.0" and scenes[1].licence == ""
    assert scenes[0].regions[0].mask(30, 40).sum() == 6 * 16
    assert found.categories == ("dog", "wine glass")
    assert found.open(scenes[0]).size == (40, 30)
    assert str(tmp_path) not in json.dumps(found.describe())


def test_captions_join_by_picture(tmp_path: Path) -> None:
    captions = {
        "images": coco()["images"],
        "annotations": [{"id": 1, "image_id": 7, "caption": " A café\n dog. "}, {"id": 2, "image_id": 7, "caption": 3}],
    }
    path = write(tmp_path, captions, "captions.json")
    scenes = list(CocoSource(tmp_path / "images", write(tmp_path, coco()), path))
    assert scenes[0].captions == ("A café dog.",) and scenes[1].captions == ()
    assert scenes[0].faults == (("coco-caption:2", "field 'caption' is no text"),)
    alone = CocoSource(tmp_path / "images", captions=path)
    assert [len(s.captions) for s in alone] == [1, 0]


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"colour": "red", "size": "small"}, "small red dog"),
        ({"occluded": "yes", "rotation": 0.0}, "dog"),
        ({"colour": ["red"]}, "dog"),
        ([3, 17], "dog"),
        (None, "dog"),
    ],
)
def test_of_attributes_only_size_and_colour_are_part_of_a_name(tmp_path: Path, told: object, name: str) -> None:
    content = coco()
    content["annotations"][0]["attributes"] = told
    scenes = list(CocoSource(tmp_path / "images", write(tmp_path, content)))
    assert scenes[1].regions[0].name == name


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_text_beyond_ascii(tmp_path: Path, ensure_ascii: bool) -> None:
    content = json.dumps(
        coco(categories=[{"id": 1, "name": "Hündchen"}, {"id": 2, "name": "犬"}]), ensure_ascii=ensure_ascii
    )
    assert source(tmp_path, content).categories == ("Hündchen", "犬")


def test_text_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, coco())
    for old, new in ((b'"dog"', b'"d\xe5g"'), (b'"iscrowd"', b'"i\xe5crowd"')):
        path.write_bytes(json.dumps(coco()).encode().replace(old, new))
        with pytest.raises(DataError, match=r"instances.json: byte \d+.*UTF-8"):
            list(CocoSource(tmp_path / "images", path))


def test_a_bad_annotation_is_a_fault_of_its_scene(tmp_path: Path) -> None:
    good = coco()["annotations"]
    bad = [
        {"id": 20, "image_id": 3, "category_id": 99, "bbox": [0, 0, 1, 1]},
        {"id": 21, "image_id": 3, "category_id": 1, "bbox": [0, 0, -1, 1]},
        {"id": 22, "image_id": 3, "category_id": 1, "bbox": [0, 0, float("nan"), 1]},
        {"id": 23, "image_id": 3, "category_id": 1},
        {"id": 24, "image_id": 3, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": "x"},
        {"id": 25, "image_id": 3, "category_id": None, "bbox": [0, 0, 1, 1]},
    ]
    scene = list(source(tmp_path, coco(annotations=good + bad)))[1]
    assert [r.id for r in scene.regions] == ["coco-ann:11", "coco-ann:13"]
    assert [name for name, _ in scene.faults] == [f"coco-ann:{k}" for k in range(20, 26)]
    assert all(reason for _, reason in scene.faults)
    assert scene.uncounted == ("dog", "wine glass")  # those of no category may be anything


def test_what_an_annotation_that_was_left_out_shows_is_neither_counted_nor_absent(tmp_path: Path) -> None:
    good = coco()["annotations"]
    left_out = {"id": 20, "image_id": 3, "category_id": 2, "bbox": None}
    scene = list(source(tmp_path, coco(annotations=[*good, left_out])))[1]
    known = Known(scene, ("dog", "wine glass", "zebra"))
    assert scene.uncounted == ("wine glass",) and "wine glass" not in known.counts and known.counts["dog"] == 1
    dogless = Known(replace(scene, regions=(), uncounted=("dog",), absent=("dog", "zebra")))
    assert dogless.absent == ["zebra"]


def test_boxes_without_outlines_and_repeated_ids_are_regions_of_their_own(tmp_path: Path) -> None:
    boxes = [
        {"id": i, "image_id": 3, "category_id": 1, "bbox": [k, 0, 5, 5], "segmentation": []}
        for k, i in enumerate((7, 7, 0, 7))
    ]
    missing = [{"image_id": 3, "category_id": 1, "bbox": [k, 9, 5, 5]} for k in range(2)]
    scene = list(source(tmp_path, coco(annotations=boxes + missing)))[1]
    ids = ["coco-ann:7", "coco-ann:7~2", "coco-ann:0", "coco-ann:7~3", "coco-ann:?", "coco-ann:?~2"]
    assert [r.id for r in scene.regions] == ids and not scene.faults
    assert all(r.segmentation is None and r.mask(30, 40).sum() == 25 for r in scene.regions[:1])


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1, 2]", "a JSON object"), ('{"a": 1}', "no 'images'"), ("", "a JSON object"), ("{", "expected"), ('{"images": [', "expected"),
     ('{"images": [{]}', "expected"), ("nonsense", "a JSON object"), (coco(images=[]), "no 'images'"),
     (coco(categories=[]), "no categories"), (coco(images=[{"id": 1}]), "'file_name'"), (coco(images=[3]), "is no object"),
     (coco(images=[{"id": 1, "file_name": "a.jpg", "width": "40", "height": 30}]), "'width'"),
     (coco(images=coco()["images"] * 2), "listed twice"), (coco(annotations=[{"id": 5}]), "annotation 5"),
     (coco(annotations=[{"id": 5, "image_id": 99}]), "not listed"), (coco(categories=[{"id": 1}]), "category 1"),
     (coco(images=[{**i, "file_name": "a.jpg"} for i in coco()["images"]]), "same file"),
     (json.dumps(coco()) + "x", "more text"), (json.dumps(coco())[:-40], "expected"),
     ('{"images": [' + "9" * 5000 + "]}", "unreadable"), ('{"images": ' + "[" * 100_000, "unreadable|expected")],
)  # fmt: skip
def test_a_file_that_is_no_coco_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        list(source(tmp_path, content))
    assert "instances.json" in str(error.value)


def test_missing_things(tmp_path: Path) -> None:
    path = write(tmp_path, coco())
    with pytest.raises(DataError, match="no such file"):
        list(CocoSource(tmp_path / "images", tmp_path / "none.json"))
    with pytest.raises(DataError, match="is a folder"):
        list(CocoSource(tmp_path / "images", tmp_path))
    with pytest.raises(DataError, match="no folder"):
        CocoSource(tmp_path / "nowhere", path)
    with pytest.raises(UsageError, match="annotation file"):
        CocoSource(tmp_path / "images")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "x/../../../b.jpg"])
def test_a_picture_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    found = source(tmp_path, coco(images=[{"id": 7, "file_name": name, "width": 40, "height": 30}], annotations=[]))
    (scene,) = found
    with pytest.raises(DataError, match="outside its root"):
        found.open(scene)


def test_workers_do_not_carry_the_index(tmp_path: Path) -> None:
    found = source(tmp_path, coco())
    scene = next(iter(found))
    sent = pickle.dumps(found)
    assert len(sent) < 1500
    assert pickle.loads(sent).open(scene).size == (40, 30)


def test_elements_wider_than_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(source(tmp_path, coco()))
    for chunk in (1, 2, 7, 64):
        monkeypatch.setattr("visift.sources.json_stream.CHUNK", chunk)
        assert list(source(tmp_path, json.dumps(coco(), indent=1))) == expected


def test_lvis(tmp_path: Path) -> None:
    (tmp_path / "images" / "train2017").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "train2017" / "000000000009.jpg")
    url = "http://images.cocodataset.org/train2017/000000000009.jpg"
    content = coco(
        images=[{"id": 9, "coco_url": url, "width": 40, "height": 30, "neg_category_ids": [2]}],
        annotations=[{"id": 1, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}],
        categories=[{"id": 1, "name": "alarm_clock", "synset": "alarm_clock.n.01"}, {"id": 2, "name": "bow_(weapon)", "synset": "bow.n.04"}],
    )  # fmt: skip
    found = source(tmp_path, content)
    (scene,) = found
    assert scene.path == "train2017/000000000009.jpg" and scene.regions[0].name == "alarm clock"
    assert found.open(scene).size == (40, 30) and found.categories == ()
    flat = CocoSource(tmp_path / "images" / "train2017", write(tmp_path, content, "lvis.json"))
    assert next(iter(flat)).path == "000000000009.jpg"


def panoptic(tmp_path: Path) -> Path:
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:15] = (5, 1, 0)  # 261: sky
    pixels[20:26, 10:20] = (7, 0, 2)  # 131079: a dog
    (tmp_path / "panoptic").mkdir()
    Image.fromarray(pixels).save(tmp_path / "panoptic" / "a.png")
    segments = [{"id": 261, "category_id": 5, "iscrowd": 0}, {"id": 131079, "category_id": 1, "iscrowd": 0}]
    content = {
        "images": coco()["images"][1:],
        "annotations": [{"image_id": 3, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "dog", "isthing": 1}, {"id": 5, "name": "sky", "isthing": 0}],
    }
    return write(tmp_path, content, "panoptic.json")


def test_panoptic(tmp_path: Path) -> None:
    path = panoptic(tmp_path)
    (scene,) = CocoSource(tmp_path / "images", panoptic=path)
    assert [(r.name, r.mask(30, 40).sum(), r.box) for r in scene.regions] == [
        ("sky", 600, (0, 0, 40, 15)), ("dog", 60, (10, 20, 10, 6)),
    ]  # fmt: skip


def test_instances_with_panoptic_gain_its_stuff_only(tmp_path: Path) -> None:
    path = panoptic(tmp_path)
    scenes = {s.id: s for s in CocoSource(tmp_path / "images", write(tmp_path, coco()), panoptic=path)}
    assert [r.name for r in scenes["coco:3"].regions] == ["dog", "wine glass", "sky"]


def test_panoptic_without_its_png(tmp_path: Path) -> None:
    path = panoptic(tmp_path)
    (tmp_path / "panoptic" / "a.png").unlink()
    (scene,) = CocoSource(tmp_path / "images", panoptic=path)
    assert scene.regions == () and "missing" in scene.faults[0][1]


def test_lvis_says_what_it_did_not_look_for(tmp_path: Path) -> None:
    """Beside COCO's instances LVIS adds what COCO does not name, and what is surely absent or not counted to the end."""
    names = ("alarm_clock", "shirt", "basket", "dress")
    lvis = coco(
        images=[{"id": 7, "coco_url": "http://images.cocodataset.org/val2017/b.jpg", "width": 40, "height": 30,
                 "neg_category_ids": [3], "not_exhaustive_category_ids": [2, 1]}],
        annotations=[{"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]},
                     {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}],
        categories=[{"id": k, "name": name, "synset": f"{name}.n.01"} for k, name in enumerate(names, 1)],
    )  # fmt: skip
    both = CocoSource(tmp_path / "images", write(tmp_path, coco()), lvis=write(tmp_path, lvis, "lvis.json"))
    scene, other = both
    assert [(r.id, r.category) for r in scene.regions] == [("coco-ann:12", "wine glass"), ("lvis-ann:1", "shirt")]
    assert (scene.absent, scene.uncounted) == (("basket",), ("shirt",)) and (other.absent, other.uncounted) == ((), ())
    assert both.categories == ("dog", "wine glass") and both.open(scene).size == (40, 30)
    alone = next(iter(CocoSource(tmp_path / "images", tmp_path / "lvis.json")))
    assert [r.category for r in alone.regions] == ["shirt", "alarm clock"]
    assert (alone.absent, alone.uncounted) == (("basket",), ("alarm clock", "shirt"))
    with pytest.raises(DataError, match="no LVIS file"):
        list(CocoSource(tmp_path / "images", lvis=tmp_path / "instances.json"))
