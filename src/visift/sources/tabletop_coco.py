"""Write tabletop scenes as a COCO folder: pictures, instances, captions, panoptic. What our COCO reader opens, any other can."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visift.core.files import write_atomic, write_json
from visift.core.progress import progress
from visift.core.rle import decode_rle
from visift.sources.pictures import write_jpeg
from visift.sources.tabletop import SHAPES, SIDE, Tabletop

TABLE = len(SHAPES) + 1  # category id of the ground, the only stuff
LICENCE = {"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


def write_coco(source: Tabletop, folder: Path) -> dict[str, Path]:
    """Write `source` under `folder` and return the paths by option name: images, annotations, captions, panoptic.

    Instances carry RLE masks and `attributes` (size, colour); panoptic adds the ground as stuff. A picture's COCO id is
    its index from 1.
    """
    shapes = [{"id": k, "name": name, "supercategory": "object", "isthing": 1} for k, name in enumerate(SHAPES, 1)]
    ground = {"id": TABLE, "name": "table", "supercategory": "ground", "isthing": 0}
    pictures: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    with progress("coco", len(source), "scenes") as tick:
        for number, scene in enumerate(source, 1):
            stem = f"{number:012d}"
            write_jpeg(source.open(scene), folder / "images" / f"{stem}.jpg")
            pictures.append({"id": number, "file_name": f"{stem}.jpg", "width": SIDE, "height": SIDE, "license": 1})
            captions.append({"id": number, "image_id": number, "caption": scene.captions[0]})
            ids = np.full((SIDE, SIDE), 1, np.int64)  # segment 1 is the ground, things follow
            info = []
            for k, region in enumerate(scene.regions, 2):
                rle = region.rle(SIDE, SIDE)
                mask = decode_rle(rle)
                ids[mask] = k
                row = {
                    "category_id": SHAPES.index(region.category) + 1, "area": int(mask.sum()),
                    "bbox": list(region.box), "iscrowd": 0,
                }  # fmt: skip
                instances.append(
                    {
                        "id": len(instances) + 1,
                        "image_id": number,
                        "segmentation": rle,
                        "attributes": dict(region.attributes),
                        **row,
                    }
                )
                info.append({"id": k, **row})
            rest = int((ids == 1).sum())
            info.append({"id": 1, "category_id": TABLE, "area": rest, "bbox": [0, 0, SIDE, SIDE], "iscrowd": 0})
            segments.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": info})
            _write_ids(ids, folder / "annotations" / "panoptic" / f"{stem}.png")
            tick()
    paths = {
        "images": folder / "images",
        "annotations": folder / "annotations" / "instances.json",
        "captions": folder / "annotations" / "captions.json",
        "panoptic": folder / "annotations" / "panoptic.json",
    }
    head = {"info": {"description": "visift tabletop", **source.describe()}, "licenses": [LICENCE], "images": pictures}
    write_json(paths["annotations"], {**head, "annotations": instances, "categories": shapes})
    write_json(paths["captions"], {**head, "annotations": captions})
    write_json(paths["panoptic"], {**head, "annotations": segments, "categories": [*shapes, ground]})
    return paths


def _write_ids(ids: np.ndarray, path: Path) -> None:
    """A panoptic PNG: id = red + 256 green + 65536 blue."""
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)  # (H, W, 3)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
