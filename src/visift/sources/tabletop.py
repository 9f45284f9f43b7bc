"""The built-in world: nameable things on a table, drawn fast, known exactly, endless by seed.

A scene holds 3-8 objects, each one of 8 shapes x 8 colours x 2 sizes, on a plain, noisy or cloudy ground. Difficulty
`level` 0 is what the built-in model can learn in minutes; 1 adds textures and up to 7 objects; 2 adds overlap, clutter,
pixel noise and up to 8 objects. Each shape has a usual colour that it
wears more often, which gives a reader's prior something to be wrong about. Seeds of the `train` and `held-out` splits never meet: the split is part of every key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from visift.core.errors import UsageError
from visift.core.rle import encode_rle
from visift.core.seeds import rng
from visift.core.types import Region, Scene

SIDE = 112  # pixels; the built-in model's input, so that tags need no resize
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "moon")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40), "green": (48, 160, 62), "blue": (42, 86, 212), "yellow": (242, 212, 40),
    "purple": (130, 52, 160), "orange": (240, 134, 30), "cyan": (60, 200, 214), "pink": (246, 140, 190),
}  # fmt: skip
SIZES: dict[str, tuple[int, int]] = {"small": (25, 28), "large": (36, 40)}  # diameter in pixels, both ends included
OBJECTS = {0: (3, 6), 1: (3, 7), 2: (4, 8)}  # how many objects, by level
SHADE = 12  # of 255: how far a thing is off its colour, each channel
FAVOURITE = dict(zip(SHAPES, COLOURS, strict=True))  # circle -> red, …: things have usual colours, so guessing tempts
FAVOURED = 0.25  # chance that a thing has its shape's usual colour, beyond the even share
GAP = 2  # free pixels between objects where they may not overlap
Split = Literal["train", "held-out"]


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. `x`, `y` are the centre in pixels, `diameter` in pixels; `texture` is plain, stripes or dots."""

    shape: str
    colour: str
    size: str
    x: int
    y: int
    diameter: int
    texture: str = "plain"

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"


@lru_cache(maxsize=1024)
def shape_alpha(shape: str, diameter: int) -> np.ndarray:
    """The shape's coverage as float32 (diameter, diameter) in 0..1, anti-aliased by drawing it four times larger."""
    n = diameter * 4
    image = Image.new("L", (n, n), 0)
    draw = ImageDraw.Draw(image)
    c, r = (n - 1) / 2, n / 2 - 1

    def polygon(angles: np.ndarray, radii: np.ndarray, drop: float = 0.0) -> None:
        xs, ys = c + r * radii * np.sin(angles), c + drop - r * radii * np.cos(angles)
        draw.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=255)

    if shape == "circle":
        draw.ellipse((0, 0, n - 1, n - 1), fill=255)
    elif shape == "square":
        edge = n * 0.08
        draw.rectangle((edge, edge, n - 1 - edge, n - 1 - edge), fill=255)
    elif shape == "triangle":
        draw.polygon([(c, 0), (n - 1, n - 1 - n * 0.06), (0, n - 1 - n * 0.06)], fill=255)
    elif shape == "diamond":
        draw.polygon([(c, 0), (n - 1 - n * 0.1, c), (c, n - 1), (n * 0.1, c)], fill=255)
    elif shape == "star":
        polygon(np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2 == 0, 1.0, 0.46), drop=n * 0.04)
    elif shape == "cross":
        low, high = n * 0.32, n * 0.68
        draw.rectangle((low, 0, high, n - 1), fill=255)
        draw.rectangle((0, low, n - 1, high), fill=255)
    elif shape == "ring":
        draw.ellipse((0, 0, n - 1, n - 1), fill=255)
        draw.ellipse((n * 0.3, n * 0.3, n * 0.7, n * 0.7), fill=0)
    elif shape == "moon":
        draw.ellipse((0, 0, n - 1, n - 1), fill=255)
        draw.ellipse((n * 0.42, -n * 0.02, n * 1.3, n * 0.86), fill=0)
    alpha = np.asarray(image.resize((diameter, diameter), Image.Resampling.BOX), dtype=np.float32) / 255
    alpha.setflags(write=False)
    return alpha


def _slices(thing: Thing) -> tuple[slice, slice]:
    """Rows and columns of the picture that the thing's square covers."""
    top, left = thing.y - thing.diameter // 2, thing.x - thing.diameter // 2
    return slice(top, top + thing.diameter), slice(left, left + thing.diameter)


def place_things(gen: np.random.Generator, level: int) -> list[Thing]:
    """Objects of one scene; no two share all of size, colour and shape, so that every object can be named."""
    low, high = OBJECTS[level]
    while True:
        count = int(gen.integers(low, high + 1))
        things: list[Thing] = []
        names: set[str] = set()
        tries = 0
        while len(things) < count and tries < 60:
            tries += 1
            size = "large" if gen.random() < 0.5 else "small"
            diameter = int(gen.integers(SIZES[size][0], SIZES[size][1] + 1))
            half = diameter // 2 + 1
            x, y = (int(v) for v in gen.integers(half, SIDE - half, size=2))
            if any(_too_near(x, y, diameter, other, level) for other in things):
                continue
            shape = SHAPES[gen.integers(len(SHAPES))]
            colour = FAVOURITE[shape] if gen.random() < FAVOURED else tuple(COLOURS)[gen.integers(len(COLOURS))]
            texture = ("plain", "plain", "stripes", "dots")[gen.integers(4)] if level else "plain"
            thing = Thing(shape, colour, size, x, y, diameter, texture)
            if thing.name not in names:
                names.add(thing.name)
                things.append(thing)
        if len(things) == count:
            return things


def _too_near(x: int, y: int, diameter: int, other: Thing, level: int) -> bool:
    reach = (diameter + other.diameter) / 2
    if level == 2:  # up to about a fifth of the smaller one may be hidden
        return bool(np.hypot(x - other.x, y - other.y) < reach * 0.75)
    return max(abs(x - other.x), abs(y - other.y)) < reach + GAP


def ground(gen: np.random.Generator) -> np.ndarray:
    """A muted background, float32 (SIDE, SIDE, 3) in 0..255: plain, noisy or cloudy."""
    base = gen.uniform(70, 205) + gen.uniform(-14, 14, size=3)
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = base
    kind = gen.integers(3)
    if kind == 1:
        picture += gen.normal(0, 9, size=(SIDE, SIDE, 1)).astype(np.float32)
    elif kind == 2:
        coarse = Image.fromarray(gen.uniform(0, 255, size=(7, 7)).astype(np.uint8))
        cloud = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
        picture += (cloud[..., None] - 128) * 0.22
    return picture


def draw_things(gen: np.random.Generator, things: list[Thing], level: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The picture as uint8 (SIDE, SIDE, 3) and each thing's visible mask as bool (SIDE, SIDE). Later things hide earlier ones."""
    picture = ground(gen)
    if level == 2:
        _clutter(gen, picture)
    masks: list[np.ndarray] = []
    for thing in things:
        alpha = shape_alpha(thing.shape, thing.diameter)
        rows, columns = _slices(thing)
        colour = np.clip(np.array(COLOURS[thing.colour], np.float32) + gen.uniform(-SHADE, SHADE, size=3), 0, 255)
        fill = np.broadcast_to(colour.astype(np.float32), (*alpha.shape, 3))
        if thing.texture != "plain":
            fill = fill * _texture(thing.texture, thing.diameter)[..., None]
        patch = picture[rows, columns]
        patch += alpha[..., None] * (fill - patch)
        solid = np.zeros((SIDE, SIDE), bool)
        solid[rows, columns] = alpha > 0.5
        for mask in masks:
            mask &= ~solid
        masks.append(solid)
    if level == 2:
        picture += gen.normal(0, 6, size=picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8), masks


def _texture(kind: str, diameter: int) -> np.ndarray:
    """Brightness factor, float32 (diameter, diameter)."""
    rows, columns = np.mgrid[:diameter, :diameter]
    dark = (rows + columns) % 8 < 3 if kind == "stripes" else (rows % 7 < 3) & (columns % 7 < 3)
    return np.where(dark, 0.72, 1.0).astype(np.float32)


def _clutter(gen: np.random.Generator, picture: np.ndarray) -> None:
    """Short grey dashes that are nothing."""
    for _ in range(int(gen.integers(6, 14))):
        y, x = (int(v) for v in gen.integers(0, SIDE - 8, size=2))
        height, width = ((2, 7), (7, 2))[gen.integers(2)]
        picture[y : y + height, x : x + width] = gen.uniform(30, 230)


@dataclass(frozen=True)
class Tabletop:
    """A source of `count` scenes. The picture of a scene is drawn again whenever it is opened: nothing lies on disk."""

    count: int
    seed: int = 0
    split: Split = "train"
    level: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"--tabletop {self.count}: at least one scene is needed")
        if self.level not in OBJECTS:
            raise UsageError(f"tabletop level {self.level} is not one of {', '.join(map(str, OBJECTS))}")
        if self.split not in ("train", "held-out"):
            raise UsageError(f"tabletop split {self.split!r} is neither train nor held-out")

    @property
    def roots(self) -> dict[str, str]:
        return {}

    @property
    def categories(self) -> tuple[str, ...]:
        """All shapes: one that no region has is not on the table."""
        return SHAPES

    def describe(self) -> dict[str, Any]:
        return {
            "source": "tabletop", "count": self.count, "seed": self.seed, "split": self.split, "level": self.level,
            "start": self.start,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Scene]:
        return (self.scene(index) for index in range(self.start, self.start + self.count))

    def things(self, index: int) -> list[Thing]:
        """What stands on the table of scene `index`."""
        return place_things(rng("tabletop", self.split, self.seed, self.level, index), self.level)

    def render(self, index: int) -> tuple[list[Thing], np.ndarray, list[np.ndarray]]:
        """Things, picture uint8 (SIDE, SIDE, 3), visible masks bool (SIDE, SIDE) of scene `index`; read-only."""
        return _rendered(self.split, self.seed, self.level, index)

    def scene(self, index: int) -> Scene:
        things, _, masks = self.render(index)
        name = f"{self.split}-{self.level}-{self.seed}-{index:07d}"
        regions = tuple(
            region_of(thing, f"{name}/{k}", mask) for k, (thing, mask) in enumerate(zip(things, masks, strict=True))
        )
        return Scene(f"tabletop:{name}", "", f"{name}.png", SIDE, SIDE, "CC0-1.0", regions, (caption(things),))

    def open(self, scene: Scene) -> Image.Image:
        """The picture as RGB."""
        return Image.fromarray(self.render(int(scene.path.removesuffix(".png").rpartition("-")[2]))[1])


@lru_cache(maxsize=64)  # a scene is asked for first, its picture soon after
def _rendered(split: Split, seed: int, level: int, index: int) -> tuple[list[Thing], np.ndarray, list[np.ndarray]]:
    gen = rng("tabletop", split, seed, level, index)
    things = place_things(gen, level)
    picture, masks = draw_things(gen, things, level)
    for array in (picture, *masks):
        array.setflags(write=False)
    return things, picture, masks


def region_of(thing: Thing, name: str, mask: np.ndarray | None = None) -> Region:
    """The thing as a region; without a mask (drawing is skipped) its square stands for it."""
    if mask is None:
        corner = (thing.x - thing.diameter / 2, thing.y - thing.diameter / 2)
        return Region(name, thing.shape, (*corner, thing.diameter, thing.diameter), None, _attributes(thing))
    return Region(name, thing.shape, _box(mask), encode_rle(mask), _attributes(thing))


def _attributes(thing: Thing) -> dict[str, str]:
    return {"size": thing.size, "colour": thing.colour}


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1))


def in_order(things: list[Thing]) -> list[Thing]:
    """Left to right by centre: the order in which captions name things."""
    return sorted(things, key=lambda t: (t.x, t.y))


def caption(things: list[Thing]) -> str:
    """`a large red circle, a small blue star and a small pink ring`, left to right."""
    names = [f"a {t.name}" for t in in_order(things)]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
