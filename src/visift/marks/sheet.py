"""A contact sheet of tagged pictures: each as the model sees it, its list beneath, for a person to judge at a glance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.files import under, write_atomic
from visift.core.types import TaggedPicture
from visift.sources.pictures import open_rgb

CELL = 336  # pixels: side of a picture on the sheet
COLUMNS = 4
MOST = 40  # pictures on a sheet
LINE = 15  # pixels a line of text
INK, PAPER = (20, 20, 20), (250, 250, 250)


def write_sheet(dataset: Path, path: Path, most: int = MOST) -> None:
    """Write a PNG of the first `most` tagged pictures of a dataset. Raises DataError when it has none."""
    tagged = list(islice(Dataset(dataset).tagged(), most))
    if not tagged:
        raise DataError("holds no tagged picture", where=dataset)
    font = ImageFont.load_default(12)
    rows = [tagged[k : k + COLUMNS] for k in range(0, len(tagged), COLUMNS)]
    tall = [max(_shown(t)[1] for t in row) for row in rows]
    heights = [h + LINE * (1 + max(len(_lines(t)) for t in row)) + 12 for h, row in zip(tall, rows, strict=True)]
    sheet = Image.new("RGB", (COLUMNS * (CELL + 12) + 12, sum(heights) + 12), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 12
    for row, high, height in zip(rows, tall, heights, strict=True):
        for column, picture in enumerate(row):
            left = 12 + column * (CELL + 12)
            image = open_rgb(under(dataset, picture.image))
            image = image.resize(_shown(picture), Image.Resampling.BICUBIC)
            sheet.paste(image, (left, top + high - image.height))
            for number, line in enumerate(_lines(picture)):
                draw.text((left, top + high + 3 + number * LINE), line, fill=INK, font=font)
        top += height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def _shown(picture: TaggedPicture) -> tuple[int, int]:
    """Width and height on the sheet: the longest side fills the cell."""
    scale = CELL / max(picture.width, picture.height)
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _lines(picture: TaggedPicture) -> Sequence[str]:
    """The picture's name and its list, wrapped."""
    lines, line = [picture.scene], ""
    for mark in picture.marks:
        item = f"{mark.number} {mark.name or mark.category}".strip()
        if line and len(line) + len(item) > 48:
            lines.append(line)
            line = ""
        line = f"{line}, {item}" if line else item
    return [*lines, line] if line else lines
