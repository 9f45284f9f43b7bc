"""Pictures of every mode come out as upright 8-bit RGB; broken ones with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visift.core.errors import DataError
from visift.sources.pictures import open_rgb, write_jpeg


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("mode", "value", "name", "expected"),
    [("L", 128, "a.png", (128, 128, 128)), ("1", 1, "a.png", (255, 255, 255)), ("RGBA", (255, 0, 0, 0), "a.png", (255, 255, 255)),
     ("LA", (10, 255), "a.png", (10, 10, 10)), ("I;16", 0x8040, "a.png", (128, 128, 128)), ("I", 40000, "a.tif", (156, 156, 156)),
     ("F", 0.5, "a.tif", (127, 127, 127)), ("CMYK", (0, 255, 255, 0), "a.tif", (255, 0, 0)), ("P", 0, "a.gif", (0, 0, 0))],
)  # fmt: skip
def test_modes(tmp_path: Path, mode: str, value: object, name: str, expected: tuple[int, int, int]) -> None:
    path = saved(tmp_path, Image.new(mode, (6, 4), value), name)  # type: ignore[arg-type]
    rgb = open_rgb(path)
    assert (rgb.mode, rgb.size, rgb.getpixel((2, 2))) == ("RGB", (6, 4), expected)


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "a.jpg")
    assert np.abs(np.array(open_rgb(path).getpixel((8, 8))) - (200, 30, 30)).max() < 12


def test_palette_transparency_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((1, 1), 1)
    rgb = open_rgb(saved(tmp_path, image, "a.png", transparency=0))
    assert rgb.getpixel((0, 0)) == (255, 255, 255) and rgb.getpixel((1, 1)) == (200, 0, 0)


def test_camera_rotation_is_applied_unless_annotations_ignored_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.new("RGB", (8, 4)), "a.jpg", exif=exif)
    assert open_rgb(path).size == (4, 8)
    assert open_rgb(path, (4, 8)).size == (4, 8)
    assert open_rgb(path, (8, 4)).size == (8, 4)
    assert open_rgb(path, (0, 0)).size == open_rgb(path, (8, 0)).size == (4, 8)  # unknown
    with pytest.raises(DataError, match="annotations are for 5x5"):
        open_rgb(path, (5, 5))


def test_bad_pictures_are_refused_with_a_reason(tmp_path: Path) -> None:
    good = saved(tmp_path, Image.effect_noise((64, 64), 40), "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, reason in [("cut.png", "cannot be decoded"), ("text.jpg", "not a picture"), ("empty.jpg", "not a picture"),
                         ("script.jpg", "not a picture"), ("none.jpg", "missing")]:  # fmt: skip
        with pytest.raises(DataError, match=reason):
            open_rgb(tmp_path / name)


def test_pixel_count_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.new("1", (3000, 3000)), "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(DataError, match="3000x3000 pixels"):
        open_rgb(path, max_pixels=1_000_000)


def test_jpeg_is_444_and_its_hash_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    sha256 = write_jpeg(Image.new("RGB", (32, 32), (250, 10, 10)), tmp_path / "x" / "a.jpg")
    assert sha256 == hashlib.sha256((tmp_path / "x" / "a.jpg").read_bytes()).hexdigest()
    with Image.open(tmp_path / "x" / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
