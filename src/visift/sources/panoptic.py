"""COCO panoptic masks: a PNG whose colours are segment ids, and the JSON that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from visift.core.errors import DataError
from visift.core.files import under
from visift.core.rle import encode_rle
from visift.core.types import Region
from visift.sources.pictures import open_rgb


def panoptic_regions(
    row: dict[str, Any],
    folder: Path,
    size: tuple[int, int],
    categories: dict[int, tuple[str, bool]],
    only_stuff: bool = False,
) -> list[Region]:
    """The segments of one picture, as regions with RLE. A segment id is red + 256 green + 65536 blue; 0 is nothing.

    `size` is the picture's width and height. Raises DataError: no PNG, another size, a segment without pixels or name.
    """
    name, segments = row.get("file_name"), row.get("segments_info")
    if not isinstance(name, str) or not isinstance(segments, list):
        raise DataError("panoptic annotation lacks 'file_name' or 'segments_info'")
    pixels = np.asarray(open_rgb(under(folder, name), size), dtype=np.int64)
    ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    regions = []
    for segment in segments:
        if not isinstance(segment, dict):
            raise DataError("an entry of 'segments_info' is no object")
        category, identity = segment.get("category_id"), segment.get("id")
        if not isinstance(category, int) or category not in categories:
            raise DataError(f"category {category!r} of segment {identity!r} is not among the categories")
        if not isinstance(identity, int):
            raise DataError(f"segment id {identity!r} is no number")
        label, thing = categories[category]
        if only_stuff and thing:
            continue
        mask = ids == identity
        if not mask.any():
            raise DataError(f"segment {identity!r} has no pixel in {name!r}")
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
        x, y, w, h = (float(v) for v in box)
        crowd = bool(segment.get("iscrowd", 0))
        of = f"coco-seg:{row.get('image_id')}/{identity}"
        regions.append(Region(of, label, (x, y, w, h), encode_rle(mask), {}, crowd, not thing))
    return regions
