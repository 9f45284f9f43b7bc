"""Listing: text equals manifest, pictures exist, same bytes on any number of workers."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.core.dataset import Dataset
from visift.core.errors import UsageError, VisiftError
from visift.core.files import sha256_file
from visift.core.lists import parse_list, render_list
from visift.core.rle import decode_rle
from visift.sources.coco import CocoSource
from visift.sources.folder import FolderSource
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
from visift.synth.listing import INSTRUCTIONS


def digest(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def check_dataset(path: Path) -> None:
    """Everything a listing dataset promises."""
    dataset = Dataset(path)
    manifest = {t.image: t for t in dataset.tagged()}
    assert len(manifest) == len(dataset) > 0
    centred = total = 0
    for row in dataset:
        (picture,) = row.images
        tagged = manifest[picture.path]
        file = dataset.picture_path(picture)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == picture.sha256 == tagged.sha256
        assert [m.number for m in tagged.marks] == list(range(1, len(tagged.marks) + 1))
        assert row.turns[1].form == "list" and row.turns[0].parts[0].image == 0
        assert parse_list(row.turns[1].text) == {m.number: m.name or m.category for m in tagged.marks}
        masks = [decode_rle(m.rle) for m in tagged.marks]
        assert sum(m.astype(int) for m in masks).max() == 1
        for mark, mask in zip(tagged.marks, masks, strict=True):
            x, y, w, h = mark.glyph
            assert mask.shape == (tagged.height, tagged.width) and mask.sum() == mark.area
            assert mask[mark.center[1], mark.center[0]]
            bx, by, bw, bh = mark.box
            assert mask[by : by + bh, bx : bx + bw].sum() == mark.area
            assert x >= 0 and y >= 0 and x + w <= tagged.width and y + h <= tagged.height
            centred += bool(mask[y + h // 2, x + w // 2])
            total += 1
    assert centred > 0.99 * total


def test_tabletop(tmp_path: Path) -> None:
    card = synthesise("listing", Tabletop(60), tmp_path / "a")
    assert card["counts"]["conversations"] == 60 and card["counts"]["rejected"] == 0
    check_dataset(tmp_path / "a")


@pytest.mark.integration
def test_same_bytes_on_two_workers(tmp_path: Path) -> None:
    synthesise("listing", Tabletop(40), tmp_path / "a")
    synthesise("listing", Tabletop(40), tmp_path / "b", workers=2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


@pytest.mark.data
def test_photographs(data: Path, tmp_path: Path) -> None:
    coco = data / "coco_mini"
    source = CocoSource(coco / "val2017", coco / "annotations" / "instances_val2017.json")
    card = synthesise("listing", source, tmp_path / "a")
    assert card["counts"]["conversations"] == len(source) == 79
    check_dataset(tmp_path / "a")
    synthesise("listing", source, tmp_path / "b", workers=2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_numbering_changes_numbers_only(tmp_path: Path) -> None:
    for numbering in ("random", "area", "reading"):
        synthesise("listing", Tabletop(20), tmp_path / numbering, numbering=numbering)
        check_dataset(tmp_path / numbering)
    marked = [
        {m.region for t in Dataset(tmp_path / n).tagged() for m in t.marks} for n in ("random", "area", "reading")
    ]
    assert marked[0] == marked[1] == marked[2]
    area = [t.marks for t in Dataset(tmp_path / "area").tagged()]
    assert all(a.area <= b.area for marks in area for a, b in pairwise(marks))
    shuffled = [t.marks for t in Dataset(tmp_path / "random").tagged()]
    last_is_largest = sum(max(m, key=lambda k: k.area) is m[-1] for m in shuffled)
    assert last_is_largest < 15  # of 20; with 3-6 objects a quarter is expected by chance


def test_varied_answers_still_parse(tmp_path: Path) -> None:
    synthesise("listing", Tabletop(40), tmp_path / "a", answers="varied")
    dataset = Dataset(tmp_path / "a")
    names = {t.image: [m.name for m in t.marks] for t in dataset.tagged()}
    texts = [(parse_list(row.turns[1].text), names[row.images[0].path]) for row in dataset]
    assert all(list(found) == list(range(1, len(want) + 1)) for found, want in texts)
    assert all(name in item.lower() for found, want in texts for item, name in zip(found.values(), want, strict=True))
    assert len({row.turns[1].text[3:5] for row in dataset}) > 2


def test_scenes_without_regions_are_rejected_with_a_reason(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 20)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "c.jpg").write_text("broken")
    with pytest.raises(VisiftError, match=r"a\.jpg.*has no regions"):
        synthesise("listing", FolderSource(tmp_path / "pictures"), tmp_path / "out")
    text = (tmp_path / "out" / "rejected.jsonl").read_text()
    assert "has no regions" in text and "not a picture" in text and str(tmp_path) not in text


def test_bad_options(tmp_path: Path) -> None:
    for kind, options in [("listing", {"color": 1}), ("poem", {}), ("listing", {"limit": 0}), ("listing", {"numbering": "x"}),
                          ("listing", {"style": "x"}), ("listing", {"answers": "x"}), ("listing", {"max_tags": 0})]:  # fmt: skip
        with pytest.raises(UsageError):
            synthesise(kind, Tabletop(3), tmp_path / "out", **options)


def test_instruction_pool() -> None:
    assert len(set(INSTRUCTIONS)) == len(INSTRUCTIONS) >= 40
    assert all(text[0].isupper() and text[-1] in ".?" for text in INSTRUCTIONS)


item = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
    lambda s: s == s.strip()
)


@given(st.dictionaries(st.integers(1, 9999), item, max_size=12))
@settings(max_examples=50)
def test_parse_of_render_is_the_list(items: dict[int, str]) -> None:
    assert parse_list(render_list(items)) == items


@pytest.mark.parametrize(
    ("text", "items"),
    [("Sure!\n1. cat\n2) dog\n(3) cow", {1: "cat", 2: "dog", 3: "cow"}), ("- 1: cat\n* **2.** dog\n#3 cow", {1: "cat", 2: "dog", 3: "cow"}),
     ("1. cat\n1. dog", {1: "cat"}), ("1 - cat\n2 – dog\n[3] cow", {1: "cat", 2: "dog", 3: "cow"}), ("10 dogs\n1.5 m\n2.", {}), ("", {}),
     ("1.cat\r\n  2. dog  ", {1: "cat", 2: "dog"})],
)  # fmt: skip
def test_parse_is_robust(text: str, items: dict[int, str]) -> None:
    assert parse_list(text) == items
