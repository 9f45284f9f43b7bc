"""What repaints the inside of a mask: fills of our own, MI-GAN, and a place for text-guided editors (papers.md B.1.1).

An editor gets (image uint8 (H, W, 3), mask bool (H, W), text) and returns the whole picture; only what it painted inside
the mask is used, so no editor can change pixels elsewhere. Its name, a string, travels to the workers:

    heal                 a patch of the same picture whose surroundings fit, with its brightness blended in (default)
    diffusion            the surroundings run into the hole, with their grain
    migan[:FILE.onnx]    MI-GAN through onnxruntime (extra `visift[onnx]`), on the CPU
    http(s)://…          POST {"image", "mask": base64 PNG, "text"}; the reply is {"image": base64 PNG}
    module:function      any Python callable of that form

The last two are guided: `text` says what shall stand inside the mask (`a red car`; empty: background), and they make every
kind of edit. The others only take things away.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.onnx import open_session
from visift.core.seeds import rng

Paint = Callable[..., np.ndarray]  # (image, mask, text), and for `shy` editors what they must not copy, bool (H, W)
MIGAN = "migan/migan_pipeline_v2.onnx"  # under VISIFT_WEIGHTS
REACH = 3  # a patch is looked for up to so many of the hole's longer side away
SAMPLED = 300  # pixels of ring and hole by which patches are compared
SHADE = 24  # brightness by which a patch is bent at most, on either side of its mean change (of 255)
STRANGE = 1.3  # a patch that differs so much from its own rim, in the rim's spreads, holds a thing
HELD = 0.02  # of a patch: where things cover more of it, it holds one
THIN, PLAIN = (
    6,
    20,
)  # pixels to the rim, and spread of the rim's colours (of 255), up to which a hole may just be run into
TIMEOUT = 120.0  # seconds for one picture over HTTP


@dataclass(frozen=True, slots=True)
class Editor:
    """`guided` editors paint what the text says; others fill with background. `shy` ones copy parts of the picture, and have
    to be told where things stand."""

    paint: Paint
    guided: bool = False
    shy: bool = False


@lru_cache(maxsize=8)
def load_editor(name: str) -> Editor:
    """Raises UsageError for a name that is none of the forms above, or whose weights or packages are missing."""
    if name in FILLS:
        return Editor(FILLS[name], shy=name == "heal")
    if name.startswith(("http://", "https://")):
        return Editor(over_http(name), guided=True)
    kind, _, rest = name.partition(":")
    if kind == "migan":
        return Editor(migan(rest))
    try:
        found = getattr(import_module(kind), rest) if rest else None
    except (ImportError, AttributeError, ValueError) as e:
        raise UsageError(f"editor {name!r} cannot be loaded ({e})", remedy="MODULE:FUNCTION must be importable") from e
    if not callable(found):
        known = ", ".join([*FILLS, "migan[:FILE.onnx]", "an http(s) address", "MODULE:FUNCTION"])
        raise UsageError(f"editor {name!r} is unknown", remedy=f"it is one of: {known}")
    return Editor(found, guided=True)


def painted(editor: Editor, image: np.ndarray, mask: np.ndarray, text: str, things: np.ndarray) -> np.ndarray:
    """The editor's picture as float32 (H, W, 3); `things`, bool (H, W), is no background. Raises DataError when it is none of
    that size, or when the editor cannot do it."""
    # copies: a user's editor may paint over what it is given
    made = np.asarray(editor.paint(image.copy(), mask.copy(), text, *([things] if editor.shy else [])))
    if made.shape != image.shape or made.dtype != np.uint8:
        raise DataError(f"the editor returned {made.dtype} {made.shape}, uint8 {image.shape} is needed")
    return made.astype(np.float32)


def membrane(values: np.ndarray, known: np.ndarray, rounds: int = 16) -> np.ndarray:
    """float32 (H, W, C) with unknown pixels filled so that each is about the mean of its neighbours (a soap film).

    Coarse to fine: half the size first, then `rounds` of averaging. At least one pixel must be known.
    """
    height, width = known.shape
    if known.all():
        return values
    if max(height, width) <= 2:
        filled = values.copy()
        filled[~known] = values[known].mean(axis=0)
        return filled
    weight = np.pad(known, ((0, height % 2), (0, width % 2))).astype(np.float32)[..., None]  # (H', W', 1)
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0))) * weight
    half = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2)
    counts = weight.reshape(*half, 1).sum(axis=(1, 3))
    small = padded.reshape(*half, -1).sum(axis=(1, 3)) / np.maximum(counts, 1)
    small = membrane(small, counts[..., 0] > 0, rounds)
    filled = small.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    filled[known] = values[known]
    edge = np.pad(filled, ((1, 1), (1, 1), (0, 0)), mode="edge")
    inner, hole = edge[1:-1, 1:-1], ~known[..., None]
    for _ in range(rounds):
        mean = edge[:-2, 1:-1] + edge[2:, 1:-1]
        mean += edge[1:-1, :-2]
        mean += edge[1:-1, 2:]
        mean *= 0.25
        np.copyto(inner, mean, where=hole)
    return inner


def window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the mask's box, `margin` pixels wider on each side, cut at the picture's edge."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return slice(top, int(rows[-1]) + 1 + margin), slice(left, int(columns[-1]) + 1 + margin)


def grow(mask: np.ndarray, by: int) -> np.ndarray:
    """The mask and all pixels up to `by` rows and columns away."""
    if by < 1:
        return mask
    area = window(mask, by)
    wider = np.zeros_like(mask)
    wider[area] = ndimage.maximum_filter(mask[area].view(np.uint8), 2 * by + 1, mode="constant").view(bool)
    return wider


def diffusion(image: np.ndarray, mask: np.ndarray, text: str = "") -> np.ndarray:
    """The surroundings run into the hole; the grain of its rim is strewn over it, for a smooth patch would be seen."""
    area = window(mask, 8)
    crop, hole = image[area].astype(np.float32), mask[area]
    if hole.all():
        raise DataError("the mask covers the whole picture: nothing is left to fill it from")
    filled = membrane(crop, ~hole)
    grain = crop - ndimage.uniform_filter(crop, (3, 3, 1))
    rim = grain[grow(hole, 6) & ~grow(hole, 1)]
    if len(rim):
        gen = rng("grain", *crop.shape, int(hole.sum()))
        filled[hole] += rim[gen.integers(len(rim), size=int(hole.sum()))]
    return _put_back(image, area, filled)


def heal(image: np.ndarray, mask: np.ndarray, text: str = "", things: np.ndarray | None = None) -> np.ndarray:
    """Another part of the picture in place of the hole: the one whose rim looks most like the hole's and which holds no
    thing of its own, nor one of `things`, bool (H, W); the difference along the rim is spread over it.

    Where there is none: `diffusion`, in thin holes and on plain ground. Raises DataError elsewhere: it would be a smear.
    """
    best = _best_shift(image, mask, np.zeros_like(mask) if things is None else things)
    if best is None:
        near = image[grow(mask, 5) & ~mask]
        if near.size and near.std(axis=0).max() > PLAIN and ndimage.distance_transform_edt(mask).max() > THIN:
            raise DataError("no part of the picture fits in its place")
        return diffusion(image, mask)
    dy, dx = best
    area = window(mask, 6)
    rows, columns = np.indices(mask.shape)[:, area[0], area[1]]
    there = np.clip(rows + dy, 0, mask.shape[0] - 1), np.clip(columns + dx, 0, mask.shape[1] - 1)
    source, hole = image[there].astype(np.float32), mask[area]
    away = ndimage.uniform_filter(image[area].astype(np.float32) - source, (5, 5, 1))
    rim = ~grow(hole | mask[there], 2)  # the mean of 5 x 5 must not look into the hole, here or there
    if rim.any():  # a neighbour that stands at the rim is no change of light
        middle = np.median(away[rim], axis=0)
        away = np.clip(away, middle - SHADE, middle + SHADE)
    away = membrane(np.where(rim[..., None], away, 0), rim if rim.any() else ~hole)
    return _put_back(image, area, np.where(hole[..., None], source + away, image[area]))


def _best_shift(image: np.ndarray, mask: np.ndarray, things: np.ndarray) -> tuple[int, int] | None:
    """(dy, dx) of the patch that fits, None where each leaves the picture or holds a thing."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    side = int(max(bottom - top, right - left)) + 1
    step = max(2, side // 6)
    dy, dx = np.meshgrid(
        np.arange(-REACH * side, REACH * side + 1, step), np.arange(-REACH * side, REACH * side + 1, step)
    )
    dy, dx = dy.ravel(), dx.ravel()
    fits = (top + dy >= 0) & (bottom + dy < height) & (left + dx >= 0) & (right + dx < width)
    dy, dx = dy[fits], dx[fits]
    apart = (abs(dy) > bottom - top) | (abs(dx) > right - left)  # boxes that overlap: look closer
    for k in np.flatnonzero(~apart):
        y, x = rows[:: max(1, len(rows) // SAMPLED)] + dy[k], columns[:: max(1, len(rows) // SAMPLED)] + dx[k]
        apart[k] = not mask[y, x].any()
    dy, dx = dy[apart], dx[apart]
    if not len(dy):
        return None
    gen = rng("heal", height, width, len(rows))
    near = np.argwhere(grow(mask, 5) & ~mask)
    ring = near[gen.permutation(len(near))[:SAMPLED]]  # (R, 2)
    inside = np.argwhere(mask)[gen.permutation(len(rows))[:SAMPLED]]
    ours = image[ring[:, 0], ring[:, 1]].astype(np.float32)  # (R, 3)

    def at(points: np.ndarray) -> np.ndarray:  # -> float32 (shifts, points, 3)
        y = np.clip(points[:, 0] + dy[:, None], 0, height - 1)
        x = np.clip(points[:, 1] + dx[:, None], 0, width - 1)
        return image[y, x].astype(np.float32)

    theirs = at(ring)
    misfit = np.abs(theirs - ours).mean(axis=(1, 2))
    mean, spread = theirs.mean(axis=1, keepdims=True), theirs.std(axis=1, keepdims=True) + 6
    strange = (np.abs(at(inside) - mean) / spread).clip(0, 4).mean(axis=(1, 2))  # about .7 where it is all one texture
    far = np.hypot(dy, dx) / (REACH * side)
    held = things[inside[:, 0] + dy[:, None], inside[:, 1] + dx[:, None]].mean(axis=1)
    cost = np.where((strange < STRANGE) & (held < HELD), misfit * (0.5 + strange) + 3 * far, np.inf)
    best = int(np.argmin(cost))
    return (int(dy[best]), int(dx[best])) if np.isfinite(cost[best]) else None


def _put_back(image: np.ndarray, area: tuple[slice, slice], crop: np.ndarray) -> np.ndarray:
    made = image.copy()
    made[area] = np.clip(crop + 0.5, 0, 255).astype(np.uint8)
    return made


def migan(path: str = "") -> Paint:
    """MI-GAN's ONNX pipeline: any size, one thread, the same bytes each time. Raises UsageError without package or weights."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as e:
        raise UsageError("editor migan needs onnxruntime", remedy="pip install 'visift[onnx]'") from e
    file = Path(path) if path else Path(os.environ.get("VISIFT_WEIGHTS", "")) / MIGAN
    if not file.is_file():
        raise UsageError(
            f"MI-GAN's weights are not at {file}", remedy="--editor migan:FILE.onnx, or set VISIFT_WEIGHTS"
        )
    session = open_session(file, threads=1)

    def paint(image: np.ndarray, mask: np.ndarray, text: str) -> np.ndarray:
        keep = np.where(mask, 0, 255).astype(np.uint8)
        image_name, mask_name = (i.name for i in session.get_inputs())
        found: Any = session.run(None, {image_name: image.transpose(2, 0, 1)[None], mask_name: keep[None, None]})
        return np.ascontiguousarray(found[0][0].transpose(1, 2, 0))

    return paint


def over_http(url: str) -> Paint:
    """An editor behind an address. Raises VisiftError when it does not answer with a picture; what it paints should
    depend on what it is sent alone, or an interrupted run will not end in the bytes of an unbroken one."""
    import httpx

    client = httpx.Client(timeout=TIMEOUT, transport=httpx.HTTPTransport(retries=2))

    def paint(image: np.ndarray, mask: np.ndarray, text: str) -> np.ndarray:
        body = {"image": _png(Image.fromarray(image)), "mask": _png(Image.fromarray(mask)), "text": text}
        try:
            reply = client.post(url, json=body)
            reply.raise_for_status()
            data = base64.b64decode(reply.json()["image"])
            with Image.open(io.BytesIO(data), formats=("PNG",)) as made:
                if made.size != (image.shape[1], image.shape[0]):  # before decoding
                    raise DataError(f"the editor returned a picture of {made.width}x{made.height}", where=url)
                return np.asarray(made.convert("RGB"))
        except (httpx.HTTPError, ValueError, KeyError, TypeError, OSError) as e:
            raise VisiftError(f"the editor gave no picture ({type(e).__name__}: {e})", where=url) from e

    return paint


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


FILLS: dict[str, Paint] = {"heal": heal, "diffusion": diffusion}
