"""What is written in the base model's pictures: single digits on the ground, letters on the ground and on things.

A real VLM has read shirts, shop signs and house numbers before it sees a tag on an object. So the base may read a letter on a
thing and say which thing has the R; it never sees a number on a thing, nor is it asked for a list of things by their signs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visift.core.types import Region, Scene
from visift.models.builtin.lessons import Asked, joined, looks_at, numbered, told
from visift.sources.tabletop import COLOURS, SHADE, SHAPES, SIDE, SIZES, Thing, region_of
from visift.synth.skills import place_name, short_name

MAX_DIGIT = 9
WHAT_HAS = (
    "What has the letter {} on it?", "What is {} written on?", "Which object has a {}?", "On what is the letter {}?",
    "What is under the letter {}?", "What is at the letter {}?",
)  # fmt: skip
LETTERS = "CEFHJKLMNPRTUVWXY"  # those that look like digits are left out
SIGNS = ("", *"123456789", *LETTERS)  # what a patch may show, by its label
FONT_SIZES = tuple(range(11, 19))
_FONTS = {size: ImageFont.load_default(size) for size in FONT_SIZES}


DIGIT_LISTS = (
    "List where each number is.", "Every number has a place. List them.", "Count up through the numbers and say where each is.",
    "Go through the numbers and tell the place of each.", "Where is each number? Answer with a list.", "List the numbers and their places.",
    "Name the place of every number, in order.", "For each number, say where it is.", "Say one by one where the numbers are.",
    "Read the numbers in order and write down where each one is.",
)  # fmt: skip


class Lettered(NamedTuple):
    """A letter (its place in SIGNS) stuck on the `thing`-th thing of a scene; by the centre of its box in pixels."""

    sign: int
    thing: int
    x: int
    y: int


def paste_digits(
    gen: np.random.Generator, picture: np.ndarray, taken: list[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Write 1-6 different digits onto free ground, in place, and now and then letters among them; returns (sign, x, y) by
    centre, signs as in `patch_labels`.

    `taken` holds (x, y, half side) of squares to keep clear of. Boxed or bare, dark or light, in several sizes, half of
    them on a cloth of chance colours: a digit must be read on any ground. Half of the time they count from 1.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    found: list[tuple[int, int, int]] = []
    number = int(gen.integers(1, 7))
    digits = gen.permutation(number) + 1 if gen.random() < 0.5 else gen.permutation(MAX_DIGIT)[:number] + 1
    letters = 1 + MAX_DIGIT + gen.permutation(len(LETTERS))[: int(gen.integers(1, 4))] if gen.random() < 0.35 else []
    for sign in (*digits, *letters):
        on_cloth = gen.random() < 0.5
        half = int(gen.integers(9, 19)) if on_cloth and gen.random() < 0.6 else 9
        for _ in range(12):
            x, y = (int(v) for v in gen.integers(half, SIDE - half, size=2))
            if all(max(abs(x - a), abs(y - b)) >= half + c for a, b, c in taken):
                break
        else:
            continue
        if on_cloth:
            _lay_cloth(gen, image, draw, x, y, half)
        boxed = on_cloth or gen.random() < 0.7
        _write(gen, image, draw, SIGNS[sign], x, y, boxed)
        taken.append((x, y, half))
        found.append((int(sign), x, y))
    picture[:] = np.asarray(image)
    return found


def _lay_cloth(
    gen: np.random.Generator, image: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int, half: int
) -> None:
    """A patchwork of chance colours, or a shred of one colour with some corners: something that has no name."""
    if gen.random() < 0.5:
        cloth = gen.integers(0, 256, (*gen.integers(1, 5, size=2), 3), dtype=np.uint8)
        image.paste(Image.fromarray(cloth).resize((2 * half, 2 * half), Image.Resampling.NEAREST), (x - half, y - half))
        return
    corners = int(gen.integers(5, 9))
    turns = np.sort(gen.uniform(0, 2 * np.pi, corners))
    reach = half * gen.uniform(0.5, 1.0, corners)
    colour = np.array(list(COLOURS.values())[int(gen.integers(len(COLOURS)))]) + gen.integers(-SHADE, SHADE + 1, 3)
    edge = np.stack([x + reach * np.sin(turns), y - reach * np.cos(turns)], 1)  # (corners, 2)
    draw.polygon([tuple(p) for p in edge.tolist()], fill=tuple(np.clip(colour, 0, 255).tolist()))


def _write(
    gen: np.random.Generator, image: Image.Image, draw: ImageDraw.ImageDraw, text: str, x: int, y: int, boxed: bool
) -> None:
    """One sign about (x, y), in one of several sizes, black on white or the other way round."""
    font = _FONTS[FONT_SIZES[int(gen.integers(len(FONT_SIZES)))]]
    ink, paper = ("black", "white") if gen.random() < 0.5 else ("white", "black")
    x0, y0, x1, y1 = draw.textbbox((x, y), text, font=font, anchor="mm")
    if boxed:
        draw.rectangle((x0 - 2, y0 - 2, x1 + 1, y1 + 1), fill=paper)
    else:
        ink = "black" if np.asarray(image)[max(0, y - 9) : y + 9, max(0, x - 9) : x + 9].mean() > 128 else "white"
    draw.text((x - (x0 + x1) / 2 + x, y - (y0 + y1) / 2 + y), text, font=font, fill=ink, anchor="mm")


def paste_stickers(gen: np.random.Generator, picture: np.ndarray, things: list[Thing]) -> list[Lettered]:
    """Half of the things or more get a small box on them, in place: blank, or with a letter; returns the lettered.

    What lies beneath stays the answer and the label of its patches, so the tower learns to see through what covers the
    middle of a thing and to read what is written there, as a real one does. Never a number.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    letters, share = (1 + MAX_DIGIT + gen.permutation(len(LETTERS))).tolist(), gen.uniform(0.4, 1.0)
    found = []
    for k, t in enumerate(things):
        if gen.random() > share:
            continue
        x, y = (int(v) + int(gen.integers(-4, 5)) for v in (t.x, t.y))
        if gen.random() < 0.15:
            w, h = (int(v) for v in gen.integers((9, 12), (15, 17)))
            fill = (
                tuple(gen.integers(0, 256, 3).tolist()) if gen.random() < 0.3 else ("white", "black")[gen.integers(2)]
            )
            draw.rectangle((x - w // 2, y - h // 2, x + w // 2, y + h // 2), fill=fill)
            continue
        _write(gen, image, draw, SIGNS[letters[k]], x, y, boxed=True)
        found.append(Lettered(letters[k], k, x, y))
    picture[:] = np.asarray(image)
    return found


def letter_rounds(gen: np.random.Generator, scene: Scene, found: list[Lettered]) -> list[Asked]:
    """Read what is written on things, one at a time: what stands on which, which has what, where it is."""
    made = []
    for sign, number, x, y in found:
        letter, region, spot = SIGNS[sign], scene.regions[number], [_spot(x, y)]
        kind = gen.random()
        if kind < 0.65:
            asks = WHAT_HAS[int(gen.integers(len(WHAT_HAS)))]
            made.append(Asked(asks.format(letter), region.name, looks_at(spot)))
        elif kind < 0.85:
            made.append(Asked(f"What is written on the {short_name(region, scene)}?", letter, looks_at([region])))
        else:
            made.append(Asked(f"Where is the letter {letter}?", place_name(spot[0]), looks_at(spot)))
    return [made[k] for k in gen.permutation(len(made))]


def _spot(x: int, y: int) -> Region:
    """Where one sign stands, as a region to look at."""
    return region_of(Thing(SHAPES[0], "red", "small", x, y, 8), "")


def digit_rounds(gen: np.random.Generator, signs: list[tuple[int, int, int]]) -> list[Asked]:
    """Read the numbers left to right; say where each stands, which stands somewhere, whether one is there."""
    digits = [sign for sign in signs if sign[0] <= MAX_DIGIT]
    if not digits:
        return []
    spots = {d: _spot(x, y) for d, x, y in digits}
    ordered = sorted(digits, key=lambda d: d[1:])
    made = [told("Which numbers are in the picture?", joined([(str(d), spots[d]) for d, *_ in ordered]))]
    places = {d: place_name(spot) for d, spot in spots.items()}
    if sorted(spots) == list(range(1, len(spots) + 1)):
        listed = numbered([(places[d], spots[d]) for d in sorted(spots)])
        made.append(told(DIGIT_LISTS[int(gen.integers(len(DIGIT_LISTS)))], listed))
    for digit in gen.permutation(list(spots))[:4]:
        looks = looks_at([spots[digit]])
        if list(places.values()).count(places[digit]) == 1 and gen.random() < 0.4:
            made.append(Asked(f"Which number is at the {places[digit]}?", str(digit), looks))
        else:
            made.append(Asked(f"Where is number {digit}?", places[digit], looks))
    asked = int(gen.integers(1, MAX_DIGIT + 1))
    found = looks_at([spots[asked]] if asked in spots else [])
    made.append(Asked(f"Is there a number {asked}?", "yes" if asked in spots else "no", found))
    return [made[k] for k in gen.permutation(len(made))]


def patch_labels(things: list[Thing], signs: list[tuple[int, int, int]], patch: int = 16) -> np.ndarray:
    """What each patch mostly shows, int64 (patches, 4): 1 + index of shape, colour, size; place in SIGNS; 0 = none.

    -1: of patches with a digit nothing but the digit is taught, or they would teach that a thing is never beneath one.
    """
    n = SIDE // patch
    labels = np.zeros((n, n, 4), np.int64)
    middles = (np.arange(n) + 0.5) * patch
    shapes, colours, sizes = list(SHAPES), list(COLOURS), list(SIZES)
    for t in things:
        reach = t.diameter / 2 + patch * 0.15
        rows, columns = np.abs(middles - t.y) < reach, np.abs(middles - t.x) < reach
        rows[min(n - 1, t.y // patch)] = columns[min(n - 1, t.x // patch)] = True
        labels[np.ix_(rows, columns)] = [
            1 + shapes.index(t.shape), 1 + colours.index(t.colour), 1 + sizes.index(t.size), 0,
        ]  # fmt: skip
    for sign, x, y in signs:
        here = labels[min(n - 1, y // patch), min(n - 1, x // patch)]
        here[3] = sign
        if sign <= MAX_DIGIT:
            here[:3] = -1
    return labels.reshape(-1, 4)
