from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from visift.core.errors import DataError
from visift.sources.folder import FolderSource


def test_pictures_in_path_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "b.JPG", exif=exif)
    Image.new("RGB", (8, 4)).save(tmp_path / "sub" / "a.png")
    (tmp_path / "c.jpg").write_text("broken")
    (tmp_path / "note.txt").write_text("no picture")
    found = FolderSource(tmp_path)
    scenes = list(found)
    assert [(s.path, s.width, s.height) for s in scenes] == [("b.JPG", 4, 8), ("c.jpg", 0, 0), ("sub/a.png", 8, 4)]
    assert len(found) == 3 and found.open(scenes[0]).size == (4, 8)
    with pytest.raises(DataError, match="not a picture"):
        found.open(scenes[1])


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        len(FolderSource(tmp_path))
    with pytest.raises(DataError, match="no folder"):
        FolderSource(tmp_path / "none")


def test_what_is_no_picture_that_can_be_read_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jpg", "b.JFIF", "sub/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 4)).save(tmp_path / name, "JPEG")
    for name in ("c.heic", "d.HEIC", "sub/f.avif", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    found = FolderSource(tmp_path)
    assert [s.path for s in found] == ["a.jpg", "b.JFIF", "sub/e.jpg"] and found.describe()["pictures"] == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "not read: 3 (.avif, .heic)" in line and "convert them to JPEG" in line
    for name in ("a.jpg", "b.JFIF", "sub/e.jpg"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="holds no picture"):
        len(FolderSource(tmp_path))


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg")
    os.rename(tmp_path / "a.jpg", os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"))
    with pytest.raises(DataError, match=r"'caf\\udce9.jpg' is not UTF-8.*rename it") as e:
        FolderSource(tmp_path).describe()
    str(e.value).encode()
