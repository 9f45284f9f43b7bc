"""Another colour or texture for a thing, its light and shade kept, and its border mixed anew."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from visift.sources.tabletop import COLOURS

SWATCHES = {**COLOURS, "brown": (120, 72, 32)}
PALE, DARK = ("yellow", "orange", "pink", "cyan"), ("brown",)  # names that hold only for light, or dark, things
TEXTURES = {"stripes": "striped", "dots": "dotted"}
SIMILAR = 20  # of 255 a channel: from colours so alike no mixture can be read
WORN = 0.15  # of a thing's pixels: a colour that so many have already is no new one
BORDER = 2  # pixels outside a mask up to which colours are mixed with the thing's
FEATHER = 0.6  # pixels: the soft border of what is pasted or painted


def outwards(pixels: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """The colours of the `sure` pixels (bool (h, w)), each other pixel taking those of the nearest: what a border would
    look like without what lies behind it. float32 (h, w, 3)."""
    if sure.all() or not sure.any():
        return pixels
    nearest = ndimage.distance_transform_edt(~sure, return_distances=False, return_indices=True)
    return pixels[nearest[0], nearest[1]]


def inside(mask: np.ndarray) -> np.ndarray:
    """The mask without its border, where colours are mixed; all of it where it is that thin."""
    inner = ndimage.binary_erosion(mask)
    return inner if inner.any() else mask


def coverage(crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much of each pixel is the thing's, float32 (h, w) in 0..1: 1 inside its mask, 0 more than BORDER pixels outside, and
    on its border where the pixel's colour lies between those of the thing and of what is behind. `crop` float32 (h, w, 3)."""
    inner, outer = inside(mask), ~ndimage.maximum_filter(mask, 2 * BORDER + 1)
    thing, behind = outwards(crop, inner), outwards(crop, outer)
    apart = thing - behind
    length = np.square(apart).sum(-1)
    shares = ((crop - behind) * apart).sum(-1) / np.maximum(length, 1.0)
    beside = np.square(crop - behind - shares.clip(0, 1)[..., None] * apart).sum(-1) > 3 * SIMILAR**2  # a third thing's
    shares = np.where(
        beside | (length < 3 * SIMILAR**2), ndimage.gaussian_filter(mask.astype(np.float32), FEATHER), shares
    )
    shares[inner], shares[outer] = 1.0, 0.0
    return shares.clip(0.0, 1.0).astype(np.float32)


def repainted(crop: np.ndarray, paint: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The crop with the thing of `mask` in the colours of `paint`, its border mixed as it was; all float32 (h, w, 3)."""
    inner = inside(mask)
    return crop + coverage(crop, mask)[..., None] * (outwards(paint, inner) - outwards(crop, inner))


def _luminance(pixels: np.ndarray) -> np.ndarray:
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def new_colour(gen: np.random.Generator, pixels: np.ndarray, known: str | None) -> str | None:
    """A colour that little of the thing has already and that a thing of that brightness can have. `pixels` float32 (N, 3)."""
    light = float(np.median(_luminance(pixels)))
    own = np.median(pixels, axis=0)
    if known is not None:
        names = [n for n in COLOURS if n != known and np.abs(own - SWATCHES[n]).mean() > 40]
    else:
        names = [
            name for name, rgb in SWATCHES.items()
            if not (light < 90 and name in PALE) and not (light > 150 and name in DARK)
            and np.abs(own - rgb).mean() > 40 and _share_of_hue(pixels, rgb) < WORN
        ]  # fmt: skip
    return names[int(gen.integers(len(names)))] if names else None


def _share_of_hue(pixels: np.ndarray, rgb: tuple[int, int, int]) -> float:
    """How many of the pixels, float32 (N, 3), are coloured, not almost black, and near that colour's hue: a share."""
    hsv = _hsv(pixels)
    away = np.abs((hsv[:, 0] - _hsv(np.array([rgb]))[0, 0] + 128) % 256 - 128)
    return float(((away < 18) & (hsv[:, 1] > 64) & (hsv[:, 2] > 32)).mean())  # 18 of 256 are 25 degrees


def _hsv(pixels: np.ndarray) -> np.ndarray:
    """int (N, 3) of 0..255, as PIL has it."""
    rgb = np.clip(pixels, 0, 255).astype(np.uint8)[None]  # (1, N, 3)
    return np.asarray(Image.fromarray(rgb).convert("HSV"))[0].astype(int)


def tinted(crop: np.ndarray, mask: np.ndarray, colour: str, exact: bool, shade: np.ndarray) -> np.ndarray:
    """The thing in `colour`: its light and shade stay, and unless `exact` a third of its own colours and of its brightness;
    a dark thing that turns bright gets the contrast of a bright one. An exact colour is off by `shade` (3,), as drawn ones are."""
    light = _luminance(crop)[..., None]
    middle = float(np.median(light[mask]))
    rgb = np.array(SWATCHES[colour], np.float32)
    if not exact:
        target = _luminance(rgb)
        rgb = rgb * float(np.clip((0.65 * target + 0.35 * middle) / target, 0.6, 1.5))
    own = crop - light
    if exact:
        return rgb + shade + (light - middle)
    return rgb * np.clip(light / max(middle, 1.0), 0.35, 1.7) + 0.3 * (own - np.median(own[mask], axis=0))


def textured(crop: np.ndarray, mask: np.ndarray, texture: str) -> np.ndarray:
    """Stripes or dots across the thing, dark on light things and light on dark ones."""
    rows, columns = np.indices(mask.shape)
    period = max(6, int(np.sqrt(mask.sum()) / 5))
    if texture == "stripes":
        inked = (rows + columns) % period < period / 2
    else:
        inked = np.hypot(rows % period - period / 2, columns % period - period / 2) < period * 0.34
    inked = ndimage.gaussian_filter(inked.astype(np.float32), 0.7)[..., None]
    light = float(np.median(_luminance(crop[mask])))
    ink = crop * 0.3 if light > 110 else 255 - (255 - crop) * 0.35
    return crop * (1 - inked) + ink * inked
