"""Every format gives back what went in: text, order, place of every picture, and what the format has no field for."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from conversation_strategies import TEXTS, conversations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from visift.core.errors import DataError, UsageError
from visift.core.types import Conversation, Part, Picture, Provenance, Turn, assistant, user
from visift.formats import FORMATS, TEXT, read, recognise, write
from visift.formats.convert import convert
from visift.formats.normal import FOREIGN, normal

ROLES = {"llava": (True, False), "sharegpt": (True, True), "chat": (False, False), "messages": (False, False)}


def png(shade: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "a").mkdir(parents=True)
    for k in range(4):
        (folder / f"a/{k}.png").write_bytes(png(k))
    return folder


def picture(k: int) -> Picture:
    return Picture(f"a/{k}.png", hashlib.sha256(png(k)).hexdigest(), 4, 3)


def interleaved(name: str = "c1") -> Conversation:
    return Conversation(
        name,
        (picture(2), picture(0), picture(1)),
        (
            user("first ", 0, " then\n", 1, "?"),
            assistant("Both."),
            user(2, "and this"),
            assistant("A third.", "sentence"),
        ),
        FOREIGN,
        {"source": "x"},
    )


@pytest.mark.parametrize("name", TEXT)
def test_a_row_survives(name: str) -> None:
    decode, encode = TEXT[name]
    alternating, system = ROLES[name]

    @given(conversations(alternating, system))
    def check(c: Conversation) -> None:
        wire = json.loads(json.dumps(encode(c)))
        assert decode(wire, 1, "row 1") == normal(c)

    check()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.lists(conversations(), max_size=4))
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_file_survives_and_is_recognised(tmp_path: Path, suffix: str, some: list[Conversation]) -> None:
    for name in TEXT:
        path = tmp_path / f"f{suffix}"
        assert write(path, some, name) == len(some)
        assert list(read(path, name)) == [normal(c) for c in some]
        if any(c.images for c in some):
            assert recognise(path) == name or (name == "sharegpt" and recognise(path) == "llava")


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_formats_with_pictures_survive_with_their_bytes(tmp_path: Path, root: Path, name: str) -> None:
    some = [interleaved("c1"), Conversation("text", (), (user("q"), assistant("a")), FOREIGN), interleaved("c2")]
    out = tmp_path / ("shards" if name == "webdataset" else "f.parquet")
    assert write(out, some, name, locate=lambda p: root / p.path) == 3
    assert recognise(out) == name
    assert list(read(out, pictures=tmp_path / "back")) == some
    for k in range(3):
        assert (tmp_path / f"back/a/{k}.png").read_bytes() == png(k)


@pytest.mark.parametrize("name", FORMATS)
def test_conversion_there_and_back_gives_the_same_file(tmp_path: Path, root: Path, name: str) -> None:
    rows = [
        {"id": 7, "image": "a/0.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Red.", "weight": 1}], "model": ""},
        {"id": "t", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"id": "m", "image": ["a/1.png", "a/2.png"], "conversations": [{"from": "human", "value": "<image>x<image>"}, {"from": "gpt", "value": "y"}]},
    ]  # fmt: skip
    start = tmp_path / "start.json"
    start.write_text(json.dumps(rows))
    middle = tmp_path / {"webdataset": "w", "parquet": "m.parquet"}.get(name, "m.json")
    convert(start, name, middle, image_root=root)
    report = convert(middle, "llava", tmp_path / "end.json")
    assert json.loads((tmp_path / "end.json").read_text()) == rows
    if name in ("webdataset", "parquet"):
        assert (Path(report["image_root"]) / "a/2.png").read_bytes() == png(2)


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, root: Path, name: str) -> None:
    digests = []
    for k in range(2):
        out = tmp_path / f"{k}.parquet"
        write(out, [interleaved(str(n)) for n in range(5)], name, locate=lambda p: root / p.path)
        files = sorted(out.rglob("*")) if out.is_dir() else [out]
        digests.append([f.read_bytes() for f in files])
    assert digests[0] == digests[1]


@given(TEXTS, TEXTS)
def test_a_literal_placeholder_is_refused_where_it_would_be_read_as_a_picture(a: str, b: str) -> None:
    c = Conversation("c", (), (user(f"{a}<image>{b}"), assistant("x")), FOREIGN)
    for name in ("llava", "sharegpt", "chat"):
        with pytest.raises(DataError, match="literal <image>"):
            TEXT[name][1](c)
    decode, encode = TEXT["messages"]
    assert decode(encode(c), 1, "") == c


def test_a_placeholder_spread_over_parts_is_seen() -> None:
    c = Conversation("c", (), (user("<ima", "ge>"), assistant("x")), FOREIGN)
    with pytest.raises(DataError, match="literal <image>"):
        TEXT["llava"][1](c)


@pytest.mark.parametrize(
    ("names", "turns", "reason"),
    [
        (["llava"], (Turn("system", (Part(text="s"),)), user("q"), assistant("a")), "no place for a system turn"),
        (["llava", "sharegpt"], (user("q"), user("r"), assistant("a")), "in turn"),
        (["llava", "sharegpt"], (assistant("a"),), "in turn"),
        (["llava", "sharegpt"], (user("q"),), "in turn"),
        (["sharegpt"], (user("q"), assistant("a"), Turn("system", (Part(text="s"),))), "after the first"),
        (list(TEXT), (user("q"), assistant("a", train=False)), "not to be trained on"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(
    names: list[str], turns: tuple[Turn, ...], reason: str
) -> None:
    for name in names:
        with pytest.raises(DataError, match=reason) as e:
            TEXT[name][1](Conversation("the-id", (), turns, FOREIGN))
        assert "the-id" in str(e.value)


def test_a_picture_that_stands_nowhere_is_refused() -> None:
    with pytest.raises(DataError, match="picture 1 stands nowhere"):
        normal(Conversation("c", (picture(0), picture(1)), (user(0, "q"),), FOREIGN))


def test_refusal_writes_nothing_and_skipping_lists_what_was_left_out(tmp_path: Path) -> None:
    good = Conversation("good", (), (user("q"), assistant("a")), FOREIGN)
    bad = replace(good, id="bad", turns=(user("q"),))
    write(tmp_path / "in.jsonl", [good, bad], "chat")
    with pytest.raises(DataError, match="bad"):
        convert(tmp_path / "in.jsonl", "llava", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    report = convert(tmp_path / "in.jsonl", "llava", tmp_path / "out.json", skip=True)
    assert (report["rows"], report["rejected"]) == (1, 1)
    rejected = json.loads((tmp_path / "out.json.rejected.jsonl").read_text())
    assert rejected["id"] == "bad" and "in turn" in rejected["reason"]


def test_an_unknown_format_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not one of"):
        write(tmp_path / "x.json", [], "yaml")
    with pytest.raises(UsageError, match=r"\.json"):
        write(tmp_path / "x.txt", [], "llava")


@pytest.mark.data
@pytest.mark.parametrize("name", FORMATS)
def test_real_interleaved_chats_come_back_unchanged(tmp_path: Path, data: Path, name: str) -> None:
    """50 chats of about 10 rounds, with 2 to 6 pictures each, in other hands' JSON."""
    source = data / "mantis_chat/train.json"
    middle = tmp_path / {"webdataset": "w", "parquet": "m.parquet"}.get(name, "m.json")
    convert(source, name, middle, image_root=data / "mantis_chat")
    report = convert(middle, "chat", tmp_path / "end.json")
    original = json.loads(source.read_text())
    assert json.loads((tmp_path / "end.json").read_text()) == original
    if name in ("webdataset", "parquet"):
        for row in original:
            for path in row["images"]:
                assert (Path(report["image_root"]) / path).read_bytes() == (data / "mantis_chat" / path).read_bytes()


@pytest.mark.parametrize(("name", "outside"), [("coco", "coco"), ("images", "originals")])
def test_a_dataset_of_ours_takes_its_pictures_along(tmp_path: Path, root: Path, name: str, outside: str) -> None:
    """Drawn pictures and those under a root end up below one image root, in every format; also where both are called alike."""
    from visift.core.dataset import Made, build

    out = tmp_path / "ours"
    (out / "images/a").mkdir(parents=True)
    (out / "images/a/1.png").write_bytes(png(9))
    drawn = Picture("images/a/1.png", hashlib.sha256(png(9)).hexdigest(), 4, 3)
    rooted = replace(picture(1), path=f"{name}:a/1.png")
    provenance = Provenance("listing", ("coco:1",), ("CC BY 2.0",), 3, "listing/01", "rules")
    made = Conversation("c", (drawn, rooted), (user(0, "x", 1), assistant("1. a", "list")), provenance, {"n": 1})
    build(out, kind="listing", items=[0], make=lambda _: Made([made]), settings={}, roots={name: str(root)})
    expected = replace(made, images=(drawn, replace(rooted, path=f"{outside}/a/1.png")))
    for to in FORMATS:
        target = tmp_path / {"webdataset": "w", "parquet": "m.parquet"}.get(to, f"{to}.json")
        report = convert(out, to, target)
        unpacked = Path(report["image_root"]) if report["image_root"] else tmp_path / f"{to}-unpacked"
        assert list(read(target, pictures=unpacked)) == [expected]
        assert (unpacked / "images/a/1.png").read_bytes() == png(9) and (
            unpacked / f"{outside}/a/1.png"
        ).read_bytes() == png(1)
        assert convert(out, to, target) == report  # again, over what is there
    (root / "a/1.png").unlink()
    with pytest.raises(DataError, match=r"missing|cannot be read"):
        convert(out, "llava", tmp_path / "again.json")


def test_the_command(tmp_path: Path) -> None:
    from typer import Typer
    from typer.testing import CliRunner

    from visift.cli.convert import convert as command

    app = Typer()
    app.command()(command)
    write(tmp_path / "in.jsonl", [Conversation("t", (), (user("q"), assistant("a")), FOREIGN)], "chat")
    done = CliRunner().invoke(
        app, [str(tmp_path / "in.jsonl"), "--to", "llava", "--out", str(tmp_path / "out.json"), "--json"]
    )
    assert done.exit_code == 0 and json.loads(done.stdout)["rows"] == 1
    same = CliRunner().invoke(app, [str(tmp_path / "in.jsonl"), "--to", "chat", "--out", str(tmp_path / "in.jsonl")])
    assert isinstance(same.exception, UsageError) and "own source" in str(same.exception)
