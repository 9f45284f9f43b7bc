"""What strangers write: the shapes that are accepted, and the faults that are named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from visift.core.errors import DataError
from visift.core.types import Conversation
from visift.formats import TEXT, read, recognise, webdataset
from visift.formats.convert import convert

Q = {"role": "user", "content": "What?"}
A = {"role": "assistant", "content": "This."}


def decode(row: dict[str, Any], name: str = "messages") -> Conversation:
    return TEXT[name][0](row, 3, "f.json: row 3")


def shape(c: Conversation) -> list[list[str | int | None]]:
    return [[p.image if p.text is None else p.text for p in t.parts] for t in c.turns]


def test_messages_in_every_spelling() -> None:
    paths = ["a.jpg", "b.jpg"]
    placed = decode({"messages": [{"role": "user", "content": "x<image>y<image>"}, A], "images": paths})
    assert shape(placed) == [["x", 0, "y", 1], ["This."]]
    bare = decode({"messages": [{"role": "system", "content": "s"}, Q, A], "images": paths})
    assert shape(bare) == [["s"], [0, 1, "What?"], ["This."]]  # as TRL places them
    parts = [
        {"type": "text", "text": "x"},
        {"type": "image", "path": "a.jpg"},
        {"type": "image_url", "image_url": {"url": "b.jpg"}},
    ]
    inline = decode({"messages": [{"role": "user", "content": parts}, A]})
    assert shape(inline) == [["x", 0, 1], ["This."]]
    assert [p.path for c in (placed, bare, inline) for p in c.images] == paths * 3
    assert placed.id == "row-0000003"


def test_llava_with_one_picture_and_with_several() -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    assert [p.path for p in decode({"id": 5, "image": "a.jpg", "conversations": turns}, "llava").images] == ["a.jpg"]
    two = [{"from": "human", "value": "<image>\n<image>"}, {"from": "gpt", "value": "Two."}]
    assert shape(decode({"image": ["a.jpg", "b.jpg"], "conversations": two}, "llava")) == [[0, "\n", 1], ["Two."]]


@pytest.mark.parametrize("name", ["llava", "sharegpt", "chat"])
def test_fields_of_a_turn_never_replace_its_text_or_role(name: str) -> None:
    """They stand in the turn where the format has no such field, else aside; on the way back all are where they were."""
    start = {
        "id": "1",
        "conversation": [Q | {"weight": 0.5}, A | {"value": 3, "from": "gpt-4", "weight": 1}],
        "images": [],
    }
    if name == "chat":
        turns = [{"from": "human", "value": "What?", "weight": 0.5}]
        turns.append({"from": "gpt", "value": "This.", "role": 5, "content": None})
        start = {"id": "1", "conversations": turns}
    first = "llava" if name == "chat" else "chat"
    c = decode(start, first)
    row = json.loads(json.dumps(TEXT[name][1](c)))
    there = decode(row, name)
    assert [(t.role, t.text) for t in there.turns] == [("user", "What?"), ("assistant", "This.")]
    assert there == c and TEXT[first][1](there) == start
    turns = row["conversation" if name == "chat" else "conversations"]
    assert turns[0]["weight"] == 0.5 and row["visift"]["meta"] == {"turn_fields": c.meta["turn_fields"]}


def test_turn_fields_that_are_none_are_named_or_kept() -> None:
    c = decode({"id": "1", "conversation": [Q, A], "turn_fields": {"9": {"x": 1}}}, "chat")
    assert decode(TEXT["chat"][1](c), "chat") == c
    with pytest.raises(DataError, match="'0' is int"):
        TEXT["chat"][1](decode({"id": "1", "conversation": [Q, A], "turn_fields": {"0": 5}}, "chat"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [Q, A], "images": "a.jpg"}, "'images' is str, a list is meant"),
        (
            {"messages": [{"role": "user", "content": "<image>"}, A], "images": ["a.jpg", "b.jpg"]},
            "1 image parts.*2 pictures",
        ),
        ({"messages": [{"role": "bot", "content": ""}]}, "role 'bot' is unknown"),
        ({"messages": [{"role": "user"}]}, "'content' is NoneType"),
        ({"messages": [{"role": "user", "content": [{"type": "video", "url": "a.mp4"}]}]}, "neither text nor image"),
        ({"messages": [A], "images": ["a.jpg"]}, "no user message"),
        ({"messages": [Q], "videos": ["a.mp4"]}, "holds 'videos'"),
        ({"messages": [Q], "image": "a.jpg", "images": ["a.jpg"]}, "keep one of the two"),
        ({"messages": {}}, "'messages' is dict, expected list"),
        ({"messages": [7]}, "expected a JSON object"),
        ({"messages": [Q], "visift": "{"}, "no JSON text"),
        ({"messages": [Q], "visift": '{"forms": ["", ""]}'}, "fits another row"),
        ([], "expected a JSON object"),
    ],
)
def test_faults_are_named_with_their_row(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        decode(row)
    assert "row 3" in e.value.where


BAD_PATHS = [
    "http://host/a.jpg", "HTTPS://host/a.jpg", "file:///etc/passwd", "data:image/png;base64,AAAA", "/etc/passwd", "C:\\a.jpg",
    "..", "../a.jpg", "a/../../b.jpg", "a\\..\\b.jpg", "\\\\host\\a", "a\0b", "", 7,
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("name", ["llava", "sharegpt", "chat", "messages"])
def test_no_picture_is_fetched_or_read_outside_its_root(path: Any, name: str) -> None:
    text = {"llava": ("conversations", "from", "value"), "sharegpt": ("conversations", "from", "value")}
    turns, role, value = text.get(name, ("messages" if name == "messages" else "conversation", "role", "content"))
    row = {turns: [{role: "user", value: "<image>"}], "images": [path]}
    with pytest.raises(DataError, match=r"remote or inline|leaves its root|text is needed"):
        decode(row, name)


def test_a_link_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "f.json").write_text(
        json.dumps([{"messages": [{"role": "user", "content": "<image>"}, A], "images": ["in.jpg"]}])
    )
    with pytest.raises(DataError, match="outside its root"):
        list(read(tmp_path / "f.json", image_root=root))
    with pytest.raises(DataError, match="outside its root"):
        convert(tmp_path / "f.json", "parquet", tmp_path / "f.parquet", image_root=root)
    assert not (tmp_path / "f.parquet").exists()


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_foreign_shards_with_llava_rows_and_names_that_climb(tmp_path: Path) -> None:
    row = {"id": "k", "image": "../../evil.png", "conversations": [{"from": "human", "value": "<image>"}]}
    tar = _tar(tmp_path / "s.tar", {"../../k.json": json.dumps(row).encode(), "../../k.png": b"\x89PNG\r\n\x1a\n"})
    assert recognise(tar) == "webdataset"
    with pytest.raises(DataError, match="leaves its root"):
        list(read(tar, pictures=tmp_path / "deep/er/out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.tar"]
    row["image"] = "fine.png"
    tar = _tar(tmp_path / "s.tar", {"../../k.json": json.dumps(row).encode(), "../../k.png": b"\x89PNG\r\n\x1a\n"})
    assert [c.id for c in read(tar, pictures=tmp_path / "out")] == ["k"]
    assert (tmp_path / "out/fine.png").exists()


def test_a_sample_without_json_a_broken_tar_and_a_huge_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = _tar(tmp_path / "s.tar", {"a.jpg": b"x", "a.txt": b"caption", "b.json": b"{"})
    faults: list[str] = []
    assert list(read(tar, "webdataset", on_fault=lambda row, e: faults.append(e.what))) == []
    assert "no JSON" in faults[0] and "not valid" in faults[1]
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(DataError, match=r"s\.tar"):
        list(read(tar, "webdataset"))
    monkeypatch.setattr(webdataset, "LARGEST", 10)
    with pytest.raises(DataError, match="larger than 10"):
        list(read(_tar(tmp_path / "t.tar", {"a.json": b" " * 11}), "webdataset"))


def test_two_pictures_of_one_name_and_a_wrong_hash(tmp_path: Path) -> None:
    def sample(key: str, blob: bytes, extra: str = "") -> dict[str, bytes]:
        row = {"messages": [{"role": "user", "content": [{"type": "image"}]}], "images": ["a.png"], "visift": extra}
        return {f"{key}.json": json.dumps(row).encode(), f"{key}.0.png": blob}

    tar = _tar(tmp_path / "s.tar", sample("a", b"\x89PNG\r\n\x1a\n1") | sample("b", b"\x89PNG\r\n\x1a\n2"))
    with pytest.raises(DataError, match="two different pictures"):
        list(read(tar, pictures=tmp_path / "out"))
    tar = _tar(tmp_path / "s.tar", sample("a", b"\x89PNG\r\n\x1a\n1", '{"images": [{"sha256": "00"}]}'))
    with pytest.raises(DataError, match="sha256"):
        list(read(tar, pictures=tmp_path / "out2"))


def test_missing_pictures_and_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(
        json.dumps([{"id": "r", "messages": [{"role": "user", "content": "<image>"}, A], "images": ["a.jpg"]}])
    )
    with pytest.raises(DataError, match=r"a\.jpg"):
        list(read(tmp_path / "f.json", image_root=tmp_path))
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(DataError, match="no picture"):
        convert(tmp_path / "f.json", "webdataset", tmp_path / "out", image_root=tmp_path)
