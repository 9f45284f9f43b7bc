"""One call from a picture and its scene to the tagged picture and its marks."""

from __future__ import annotations

from typing import Any

from PIL import Image

from visift.core.errors import DataError
from visift.core.types import Mark, Scene
from visift.marks.draw import put
from visift.marks.layout import Layout, lay_out


def tag(image: Image.Image, scene: Scene, **options: Any) -> tuple[Image.Image, tuple[Mark, ...]]:
    """A copy of the RGB picture with numbers on its regions, and the marks ordered by number.

    Options as in `lay_out`, which also tells what was left out. Raises DataError when picture and scene differ in size.
    """
    layout = lay_out(scene, **options)
    return draw_layout(image, scene, layout), layout.marks


def draw_layout(image: Image.Image, scene: Scene, layout: Layout) -> Image.Image:
    """The marks of a layout, drawn. Raises DataError when picture and scene differ in size."""
    if image.size != (scene.width, scene.height):
        raise DataError(
            f"picture is {image.width}x{image.height}, its scene {scene.width}x{scene.height}",
            where=f"scene {scene.id}",
        )
    return put(image, ((look, m.number, m.glyph[:2]) for m, look in zip(layout.marks, layout.looks, strict=True)))
