"""Masks as COCO RLE: made of what COCO writes, and the runs inside, to check them and to decode and encode no more than their box.

pycocotools decodes runs that do not fill the picture into uninitialised memory, and always the whole picture.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np

from visift.core.errors import DataError

RLE = dict[str, Any]  # COCO run-length encoding: {"size": [height, width], "counts": str}


def decode_rle(rle: RLE) -> np.ndarray:
    """COCO RLE -> bool (height, width)."""
    from pycocotools import mask as coco_mask

    return cast(np.ndarray, coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()})).astype(bool)


def encode_rle(mask: np.ndarray) -> RLE:
    """bool (height, width) -> COCO RLE with str counts."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode()}


def as_rle(segmentation: list[list[float]] | RLE, height: int, width: int, where: str) -> RLE:
    """COCO's polygons, or RLE with counts compressed or as a list -> compressed RLE with str counts.

    Raises DataError, saying `where`, when it is malformed or made for a picture of another size.
    """
    from pycocotools import mask as coco_mask

    try:
        if isinstance(segmentation, dict):
            size, counts = [int(v) for v in segmentation["size"]], segmentation["counts"]
            if size != [height, width]:
                raise DataError(f"mask is {size[1]}x{size[0]}, picture is {width}x{height}", where=where)
            raw = coco_mask.frPyObjects(segmentation, height, width) if isinstance(counts, list) else segmentation
        else:
            if not segmentation or any(len(p) < 6 or len(p) % 2 or not np.isfinite(p).all() for p in segmentation):
                raise DataError("polygon needs at least three finite x, y pairs", where=where)
            # pycocotools would walk there in pixels
            if max(abs(v) for p in segmentation for v in p) > 4 * max(height, width):
                raise DataError("polygon lies far outside the picture", where=where)
            raw = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        counts = raw["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else str(counts)
        if isinstance(segmentation, dict) and not fills(text, height * width):
            raise ValueError("its runs do not fill the picture")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as e:
        raise DataError(f"malformed segmentation ({e})", where=where, remedy="expected COCO polygons or RLE") from e
    return {"size": [height, width], "counts": text}


def runs_of(counts: str) -> np.ndarray:
    """Run lengths int64 of compressed counts, off first. Raises ValueError for text that is no RLE.

    Each character holds 5 bits and a flag that more follow; from the fourth run on, a run is a difference to the last
    but one.
    """
    codes = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if not codes.size or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("counts are no compressed RLE")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 5:
        raise ValueError("a run is too long")
    digit = np.arange(codes.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 31) << (5 * digit), first)
    values -= np.where(codes[last] & 16, 1 << (5 * (last - first + 1)), 0)  # the sign bit of the last 5
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def fills(counts: str, pixels: int) -> bool:
    """Whether the runs are those of a picture with that many pixels. Raises ValueError for text that is no RLE."""
    runs = runs_of(counts)
    return bool(runs.min() >= 0) and int(runs.sum()) == pixels


def decode_box(counts: str, height: int) -> tuple[np.ndarray, int, int]:
    """The mask as bool (h, w), cut to its tight box, and the box's x and y. `counts` fill a picture of that height.

    An empty mask gives an array of shape (0, 0). Raises ValueError for text that is no RLE.
    """
    ends = np.cumsum(runs_of(counts))
    starts, stops = ends[:-1:2], ends[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts]
    if not starts.size:
        return np.zeros((0, 0), dtype=bool), 0, 0
    (first_column, first_row), (last_column, last_row) = np.divmod(starts, height), np.divmod(stops - 1, height)
    left, top, bottom = int(first_column[0]), int(first_row.min()), int(last_row.max()) + 1
    if (first_column != last_column).any():  # a run goes on at the top of the next column
        top, bottom = 0, height
    w, h = int(last_column[-1]) + 1 - left, bottom - top
    steps = np.zeros(w * h + 1, dtype=np.int8)
    steps[(first_column - left) * h + first_row - top] = 1
    steps[(last_column - left) * h + last_row - top + 1] -= 1  # 0 where the next run starts at once
    return np.cumsum(steps[:-1], dtype=np.int8).view(bool).reshape(w, h).T, left, top


def encode_box(mask: np.ndarray, x: int, y: int, height: int, width: int) -> str:
    """The counts of a picture of that size, empty but for the bool (h, w) `mask` with its corner at x, y."""
    from pycocotools import mask as coco_mask

    columns = np.zeros((mask.shape[1], height), dtype=bool)
    columns[:, y : y + mask.shape[0]] = mask.T
    flat, start, end = columns.ravel(), x * height, width * height
    turns = (start + 1 + np.flatnonzero(flat[1:] != flat[:-1])).tolist()
    edges = [0, *([start] if flat[0] else []), *turns, *([start + flat.size] if flat[-1] else [])]
    if edges[-1] < end:
        edges.append(end)
    counts = [stop - begin for begin, stop in pairwise(edges)]
    return str(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"].decode())
