from __future__ import annotations

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
