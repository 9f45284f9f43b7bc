"""What a reader of the drawn numbers gets: size, contrast, legibility after JPEG and resize."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from legibility import read_numbers
from PIL import Image

from visift.core.errors import DataError, UsageError
from visift.core.types import Region, Scene, TaggedPicture
from visift.marks import lay_out, tag
from visift.marks.draw import glyph, looks_for
from visift.sources.coco import CocoSource
from visift.sources.pictures import jpeg_bytes
from visift.sources.source import Source
from visift.sources.tabletop import Tabletop


def luminance(colour: np.ndarray) -> float:
    """WCAG 2 relative luminance of an sRGB colour in 0..255."""
    c = colour[:3] / 255
    linear = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("number", [1, 4, 8, 17, 24])
def test_contrast_of_digit_and_box(number: int) -> None:
    pixels = np.asarray(glyph(looks_for("clear", 480, 640, 336)[0], number)).astype(float)
    assert (pixels[..., 3] == 255).all()  # solid: what lies beneath cannot matter
    levels = sorted(luminance(p) for p in pixels.reshape(-1, 4))
    digit, box = levels[-len(levels) // 10], levels[len(levels) // 10]
    assert (digit + 0.05) / (box + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("side", "model_px"), [(112, 112), (640, 336), (640, 112), (1024, 448), (336, 336), (2000, 224)]
)
def test_digits_keep_their_height_in_the_models_eye(side: int, model_px: int) -> None:
    sprite = np.asarray(glyph(looks_for("clear", side * 3 // 4, side, model_px)[0], 3).convert("L"))
    rows = np.flatnonzero((sprite > 128).any(axis=1))
    high = (rows[-1] - rows[0] + 1) * model_px / side
    assert 11.5 <= high <= 14
    assert sprite.shape[0] % 2 == sprite.shape[1] % 2 == 1
    assert sprite.shape[0] * model_px / side < 17


def legible(source: Source, style: str, model_px: int, seen_px: int, limit: int = 200) -> float:
    right = total = 0
    for scene in list(source)[:limit]:
        image, marks = tag(source.open(scene), scene, style=style, model_px=model_px)
        seen = Image.open(io.BytesIO(jpeg_bytes(image))).convert("RGB")
        tagged = TaggedPicture("", "", scene.id, scene.path, scene.width, scene.height, style, marks)
        right += sum(n == m.number for n, m in zip(read_numbers(seen, tagged, model_px, seen_px), marks, strict=True))
        total += len(marks)
    assert total > 100
    return right / total


@pytest.mark.data
def test_numbers_on_photographs_are_read_back_at_336(data: Path) -> None:
    coco = data / "coco_mini"
    source = CocoSource(coco / "val2017", coco / "annotations" / "instances_val2017.json")
    assert legible(source, "clear", 336, 336, limit=25) >= 0.98


def test_numbers_on_the_tabletop_are_read_back() -> None:
    assert legible(Tabletop(30), "clear", 112, 112) >= 0.98


def test_the_matcher_can_fail() -> None:
    """Numbers shrunk to a few pixels are not read, so reading them at full size says something."""
    assert legible(Tabletop(30), "clear", 112, 24) < 0.8


def scene_of(boxes: list[tuple[float, float, float, float]], side: int = 112) -> Scene:
    return Scene("s", "", "s.png", side, side, regions=tuple(Region(f"r{k}", "box", b) for k, b in enumerate(boxes)))


def test_numbers_that_cannot_but_overlap_leave_the_larger() -> None:
    """Thin bars close together: two numbers fit side by side, not four."""
    lines = [(50.0, 50.0 + 2 * k, 12.0 + 2 * k, 2.0) for k in range(4)]
    layout = lay_out(scene_of([*lines, (80, 80, 20, 20)]))
    kept, gone = sorted(m.region for m in layout.marks), [left.region for left in layout.left_out]
    assert kept[-2:] == ["r3", "r4"] and sorted(kept + gone) == [f"r{k}" for k in range(5)] and len(gone) >= 1
    assert all("overlap" in left.reason for left in layout.left_out)
    assert [m.number for m in layout.marks] == list(range(1, len(kept) + 1))
    boxes = [m.glyph for m in layout.marks]
    for k, (x, y, w, h) in enumerate(boxes):
        for ox, oy, ow, oh in boxes[:k]:
            assert x >= ox + ow or ox >= x + w or y >= oy + oh or oy >= y + h


def test_what_its_number_would_hide_gets_a_smaller_one_or_none() -> None:
    scene = scene_of([(50, 50, 4, 4), (70, 50, 12, 12), (10, 10, 20, 20)])
    layout = lay_out(scene)
    looks = {m.region: look.size for m, look in zip(layout.marks, layout.looks, strict=True)}
    assert looks == {"r1": 9, "r2": 12}
    assert [(left.region, left.reason) for left in layout.left_out] == [("r0", "its number would hide it")]
    paper = lay_out(scene, style="paper")
    assert len(paper.marks) == 3 and len(set(paper.looks)) == 1


def test_most_tags_keeps_the_largest() -> None:
    boxes = [(float(22 * k), 0.0, 16.0 + k, 20.0) for k in range(5)]
    layout = lay_out(scene_of(boxes), max_tags=2, numbering="area")
    assert [m.region for m in layout.marks] == ["r3", "r4"] and len(layout.left_out) == 3


def test_tag_is_deterministic_and_leaves_the_picture_alone() -> None:
    source = Tabletop(1)
    scene = next(iter(source))
    image = source.open(scene)
    before = image.tobytes()
    first, second = tag(image, scene, seed=3), tag(image, scene, seed=3)
    assert first[0].tobytes() == second[0].tobytes() and first[1] == second[1]
    assert image.tobytes() == before != first[0].tobytes()
    changed = np.argwhere((np.asarray(first[0]) != np.asarray(image)).any(axis=2))
    for y, x in changed:
        assert any(
            m.glyph[0] <= x < m.glyph[0] + m.glyph[2] and m.glyph[1] <= y < m.glyph[1] + m.glyph[3] for m in first[1]
        )


def test_bad_calls() -> None:
    scene = scene_of([(0, 0, 50, 50)])
    with pytest.raises(DataError, match="9x9"):
        tag(Image.new("RGB", (9, 9)), scene)
    for options in ({"style": "x"}, {"numbering": "x"}, {"model_px": 3}, {"max_tags": 0}):
        with pytest.raises(UsageError):
            lay_out(scene, **options)  # type: ignore[arg-type]
