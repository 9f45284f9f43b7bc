"""Check finds what is wrong, names it, and finds nothing where nothing is wrong."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from visift.cli.check import check as command
from visift.core.dataset import Made, build
from visift.core.files import sha256_bytes
from visift.core.rle import encode_rle
from visift.core.types import Conversation, Mark, Picture, Provenance, TaggedPicture, assistant, user
from visift.curate.check import check
from visift.formats import TEXT

GOOD = {
    "id": "g", "image": "a.png",
    "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Red."}],
}  # fmt: skip


def png(size: tuple[int, int] = (4, 3)) -> bytes:
    data = io.BytesIO()
    Image.new("1", size).save(data, "PNG", compress_level=1)
    return data.getvalue()


def kinds(tmp_path: Path, rows: list[Any], **options: Any) -> list[tuple[int, str, str, str]]:
    (tmp_path / "f.json").write_text(json.dumps(rows))
    found = check(tmp_path / "f.json", **options)["findings"]
    return [(f["row"], f["kind"], f["field"], f["severity"]) for f in found]


def changed(**fields: Any) -> dict[str, Any]:
    return {**GOOD, "id": "x", **fields}


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]


def test_a_clean_file_is_clean(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    assert kinds(tmp_path, [GOOD, changed(image=["a.png"])], image_root=tmp_path) == []


@pytest.mark.parametrize(
    ("row", "kind", "field"),
    [
        (changed(conversations=turns("no picture", "x")), "placeholders", ""),
        (changed(conversations=turns("<image><image>", "x")), "placeholders", ""),
        (changed(image=None, images="a.png"), "list", "images"),
        (changed(image={"path": "a.png"}), "list", "image"),
        (changed(image="../a.png"), "path", "image[0]"),
        (changed(image="https://x/a.png"), "path", "image[0]"),
        (changed(conversations=[]), "turns", "conversations"),
        (changed(conversations="<image>"), "turns", "conversations"),
        (changed(conversations=[*turns("<image>", "x"), "y"]), "turns", "conversations[2]"),
        (changed(conversations=turns("<image>", " ")), "empty", "conversations[1].value"),
        (changed(conversations=turns("<image>", "x", "", "y")), "empty", "conversations[2].value"),
        (changed(conversations=turns("<image>", "x", "more?")), "roles", "conversations[2].value"),
        (changed(conversations=[{"from": "gpt", "value": "<image>x"}]), "roles", "conversations[0].value"),
        (
            changed(conversations=[*turns("<image>", "x"), {"from": "gpt", "value": "y"}]),
            "roles",
            "conversations[2].value",
        ),
        (changed(conversations=[{"from": "bot", "value": "<image>"}]), "roles", "conversations[0].from"),
        (
            changed(conversations=[*turns("<image>", "x"), {"from": "system", "value": "y"}]),
            "roles",
            "conversations[2].value",
        ),
        (changed(conversations=[{"from": "human", "value": 7}]), "text", "conversations[0].value"),
        (changed(video="a.mp4"), "moving", "video"),
        (changed(visift={"forms": ["list"]}), "row", ""),
        ("not an object", "row", ""),
    ],
)
def test_each_fault_is_named_with_its_row_and_field(tmp_path: Path, row: Any, kind: str, field: str) -> None:
    found = kinds(tmp_path, [GOOD, row])
    assert (2, kind, field, "error") in found
    assert all(r == 2 for r, *_ in found)


def test_a_mutated_row_never_passes_where_reading_fails(tmp_path: Path) -> None:
    """Whatever `read` refuses, `check` calls an error."""
    values = [None, "", 0, [], {}, "<image>", ["a"], [{}], [None], "/a", True]
    for key in GOOD:
        for value in values:
            row = {**GOOD, key: value}
            try:
                TEXT["llava"][0](row, 2, "")
            except Exception:
                assert any(s == "error" for *_, s in kinds(tmp_path, [GOOD, row])), (key, value)


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    found = kinds(tmp_path, [GOOD, GOOD, changed(conversations=turns("<image>", "word " * 99))], max_tokens=100)
    assert sorted(found) == [(2, "duplicate id", "id", "warning"), (3, "long", "", "warning")]


def test_a_row_may_state_the_size_as_stored_or_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 4)).save(tmp_path / "pictures/a.jpg", exif=exif)
    Image.new("RGB", (8, 4)).save(tmp_path / "pictures/b.jpg", exif=b"Exif\0\0MM\0*broken")

    def make(size: tuple[str, int, int]) -> Made:
        picture = Picture(f"p:{size[0]}", width=size[1], height=size[2])
        return Made([Conversation(f"{size}", (picture,), (user(0, "What?"), assistant("Red.")), Provenance("x"))])

    sizes = [("a.jpg", 8, 4), ("a.jpg", 4, 8), ("a.jpg", 4, 4), ("b.jpg", 8, 4), ("b.jpg", 4, 8)]
    build(tmp_path / "d", kind="x", items=sizes, make=make, settings={}, roots={"p": str(tmp_path / "pictures")})
    faults = {(f["id"], f["fault"]) for f in check(tmp_path / "d")["findings"] if f["severity"] == "error"}
    assert faults == {
        (f"{sizes[2]}", "is 8x4, the row says 4x4"), (f"{sizes[4]}", "is 8x4, the row says 4x8"),
    }  # fmt: skip


def test_pictures_are_opened_when_their_root_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_text("<html>")
    (tmp_path / "big.png").write_bytes(png((20_000, 6_000)))
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    rows = [changed(id=name, image=name) for name in ("a.png", "b.png", "absent.png", "big.png", "out.png")]
    (tmp_path / "f.json").write_text(json.dumps(rows))
    report = check(tmp_path / "f.json", image_root=tmp_path)
    faults = {f["id"]: f["fault"] for f in report["findings"]}
    assert "no picture" in faults["b.png"] and "missing" in faults["absent.png"]
    assert "pixels" in faults["big.png"] and "outside its root" in faults["out.png"]
    assert "a.png" not in faults and report["errors"] == 4
    assert check(tmp_path / "f.json")["pictures_opened"] is False


def test_broken_lines_are_findings_and_the_rest_is_checked(tmp_path: Path) -> None:
    lines = [json.dumps(GOOD), "{", json.dumps(changed(conversations=turns("x", "y")))]
    (tmp_path / "f.jsonl").write_text("\n".join(lines))
    found = check(tmp_path / "f.jsonl")["findings"]
    assert [(f["row"], f["kind"]) for f in found] == [(2, "json"), (3, "placeholders")]


def test_all_are_counted_and_few_are_kept(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps([changed(id=str(k), image="../x") for k in range(50)]))
    report = check(tmp_path / "f.json", keep=3)
    assert len(report["findings"]) == 3
    assert report["faults"] == [{"severity": "error", "kind": "path", "count": 50}]


def test_a_long_file_is_checked_in_flat_memory(tmp_path: Path) -> None:
    row = json.dumps(changed(conversations=turns("<image>", "word " * 900))).replace('"x"', "%d")
    (tmp_path / "f.jsonl").write_text("\n".join(row % k for k in range(2000)))
    tracemalloc.start()
    report = check(tmp_path / "f.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report["rows"] == 2000 and report["errors"] == 0
    assert peak < 3e6  # the file has 9 MB


def test_the_form_audit_counts_requests_that_stand_only_first(tmp_path: Path) -> None:
    short = "\nAnswer the question using a single word or phrase."
    dialogues = [
        turns("<image>\nWhat colour?" + short, "Red", "And the size?", "Small"),  # the suspected flaw
        turns("<image>\nWhat colour?" + short, "Red", "Why?", "Because it was painted that way last year."),
        turns("<image>\nWhat colour?" + short, "Red", "And the size?" + short, "Small"),
        turns("<image>\nWhy is it red?", "It was painted.", "Size?" + short, "Small"),
        turns("<image>\nColour?" + short, "Red"),
    ]
    (tmp_path / "f.json").write_text(json.dumps([changed(id=str(k), conversations=d) for k, d in enumerate(dialogues)]))
    forms = check(tmp_path / "f.json")["forms"]
    assert {k: forms[k] for k in ("dialogues", "several_rounds", "asked_first", "only_first", "only_first_stay_short")} == {
        "dialogues": 5, "several_rounds": 4, "asked_first": 3, "only_first": 2, "only_first_stay_short": 1,
    }  # fmt: skip
    assert forms["share_only_first"] == 0.5


def _ours(out: Path) -> dict[str, Any]:
    """Two tagged pictures of two halves."""
    import numpy as np

    def make(k: int) -> Made:
        data = png((8, 6))
        (out / "images").mkdir(parents=True, exist_ok=True)
        (out / f"images/{k}.png").write_bytes(data)
        left = np.zeros((6, 8), bool)
        left[:, :4] = True
        marks = tuple(
            Mark(n, f"r{n}", "half", c, (0, 0, 4, 6), (c[0], c[1], 1, 1), 24, encode_rle(m))
            for n, (c, m) in enumerate([((1, 2), left), ((6, 2), ~left)], 1)
        )
        tagged = TaggedPicture(f"images/{k}.png", sha256_bytes(data), f"s{k}", "x.png", 8, 6, "default", marks)
        picture = Picture(f"images/{k}.png", sha256_bytes(data), 8, 6)
        turns = (user(0, "List."), assistant("1. half\n2. half", "list"))
        return Made([Conversation(f"c{k}", (picture,), turns, Provenance("listing"))], [tagged])

    return build(out, kind="listing", items=range(2), make=make, settings={"seed": 0})


def test_a_dataset_of_ours_is_clean(tmp_path: Path) -> None:
    _ours(tmp_path / "d")
    report = check(tmp_path / "d")
    assert (report["format"], report["rows"], report["pictures"], report["findings"]) == ("visift", 2, 2, [])
    assert report["forms"]["forms"] == {"list": 2}


@pytest.mark.parametrize(
    ("file", "old", "new", "kind"),
    [
        ("conversations/part-00000.jsonl", '"List."', '""', "content"),
        ("marks/part-00000.jsonl", '"number": 2', '"number": 3', "manifest"),
        ("marks/part-00000.jsonl", '"center": [1, 2]', '"center": [5, 2]', "manifest"),
        ("marks/part-00000.jsonl", '"area": 24', '"area": 23', "manifest"),
        ("conversations/part-00000.jsonl", '"width": 8', '"width": 9', "picture"),
        ("conversations/part-00000.jsonl", '"sha256": "', '"sha256": "0', "picture"),
    ],
)
def test_a_dataset_of_ours_that_was_changed_is_not(tmp_path: Path, file: str, old: str, new: str, kind: str) -> None:
    _ours(tmp_path / "d")
    path = tmp_path / "d" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    found = {f["kind"] for f in check(tmp_path / "d")["findings"]}
    assert {kind, "content"} <= found


def test_overlapping_regions_and_a_replaced_picture_are_found(tmp_path: Path) -> None:
    _ours(tmp_path / "d")
    (tmp_path / "d/images/0.png").write_bytes(png((8, 7)))
    path = tmp_path / "d/marks/part-00000.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["marks"][1] |= {"rle": rows[1]["marks"][0]["rle"], "center": [1, 2]}
    path.write_text("\n".join(json.dumps(r) for r in rows))
    faults = [f["fault"] for f in check(tmp_path / "d")["findings"]]
    assert "regions overlap" in faults and "is 8x7, the row says 8x6" in faults


def test_the_command_exits_1_on_errors_and_prints_json_alone(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    (tmp_path / "good.json").write_text(json.dumps([GOOD]))
    (tmp_path / "bad.json").write_text(json.dumps([changed(image="/a.png")]))
    runner = CliRunner()
    good = runner.invoke(app, [str(tmp_path / "good.json"), "--json"])
    assert good.exit_code == 0 and json.loads(good.stdout)["errors"] == 0
    bad = runner.invoke(app, [str(tmp_path / "bad.json")])
    assert bad.exit_code == 1 and "image[0]" in bad.stdout and "1 errors" in bad.stdout


@pytest.mark.data
def test_real_interleaved_chats_are_clean(data: Path) -> None:
    report = check(data / "mantis_chat/train.json", image_root=data / "mantis_chat")
    assert (report["format"], report["rows"], report["findings"]) == ("chat", 50, [])
    assert report["pictures"] > 150
