"""Edits of a picture, one thing each, with a record of what was done: modify, swap, delete, add (papers.md B.1.1).

Every edit works inside its `support`, the mask and a few pixels around it: outside not one pixel changes. Borders are
feathered within it. An edit that nobody could see is refused (`visible`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from visift.core.errors import DataError
from visift.core.types import Region, Scene
from visift.sources.tabletop import SHADE
from visift.synth.editors import Editor, grow, painted, window
from visift.synth.recolour import (
    BORDER,
    FEATHER,
    TEXTURES,
    inside,
    new_colour,
    outwards,
    repainted,
    textured,
    tinted,
)

SEEN_PX = 336  # longest side at which a model sees the picture, as in marks
SEEN_AREA = 64  # an edit must change so many pixels of that picture ...
SEEN_BY = 24  # ... by so much each (mean over the channels, of 255); COCO's JPEG noise is about 3
LARGEST = {"modify": 0.4, "swap": 0.15, "delete": 0.12, "add": 0.12}  # of the picture's area
SMALLEST, SMALLEST_TEXTURE = 0.006, 0.02
BUILT_IN = frozenset({"sink", "dining table", "bed", "toilet", "oven", "refrigerator"})  # look torn out elsewhere
FULL = 0.4  # of its own box: a thing that fills less is a fragment, or seen through others
LEVEL = 0.25  # of the picture's height: an added thing stands at most so much higher or lower than in its own picture
ALIKE = (0.6, 1.7)  # area of a swapped-in thing over that of the thing it replaces
HALF_TOUCHED = (0.12, 0.8)  # of the rim: a thing that others touch so much is not cut out; above, it lies on the other
TARGETS = ("random", "ignored", "salient")  # things to edit: any, or of the third that a model attends to least or most


@dataclass(frozen=True, slots=True)
class Thing:
    """A region with its mask, bool (H, W), and its pixels. `touched`: share of its rim that belongs to other regions;
    `whole`: it can be cut out and shown elsewhere."""

    region: Region
    mask: np.ndarray
    area: int
    touched: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """What was done. `before` and `after` stand on either picture (None: nothing is there); `adjective` is what a
    modified thing has become. Both pictures agree outside `support`, bool (H, W). `lender`: the scene whose pixels were pasted."""

    kind: str
    image: np.ndarray
    support: np.ndarray
    before: Region | None
    after: Region | None
    adjective: str = ""
    lender: Scene | None = None


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture uint8 (H, W, 3), the things on it, and which of them are edited."""

    scene: Scene
    image: np.ndarray
    things: tuple[Thing, ...]
    targets: str = TARGETS[0]

    @property
    def pixels(self) -> int:
        return self.scene.width * self.scene.height

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + sum(thing.mask.nbytes for thing in self.things)

    @property
    def taken(self) -> np.ndarray:
        """bool (H, W): where things stand, crowds and regions without a mask by their boxes."""
        found = np.zeros((self.scene.height, self.scene.width), bool)
        for thing in self.things:
            found |= thing.mask
        edited = {thing.region.id for thing in self.things}
        for region in self.scene.regions:
            if region.id not in edited and not region.stuff:
                x, y, w, h = (int(v) for v in region.box)
                found[max(y, 0) : y + h, max(x, 0) : x + w] = True
        return found


def canvas_of(scene: Scene, image: np.ndarray, targets: str = TARGETS[0]) -> Canvas:
    """Regions that are crowds, or whose mask is malformed or empty, are no things to edit."""
    masks = []
    for region in scene.regions:
        try:
            mask = region.mask(scene.height, scene.width)
        except DataError:
            continue
        if not region.crowd and mask.any():
            masks.append((region, mask))
    covered = np.zeros((scene.height, scene.width), np.int32)
    for _, mask in masks:
        covered += mask
    things = []
    for region, mask in masks:
        area = window(mask, 4)
        rim = ndimage.maximum_filter(mask[area], 7) & ~mask[area]
        touched = float((covered[area][rim] > 0).mean()) if rim.any() else 1.0
        pixels = int(mask[area].sum())
        things.append(
            Thing(region, mask, pixels, touched, touched < HALF_TOUCHED[0] and whole(scene, region, mask[area]))
        )
    return Canvas(scene, image, tuple(things), targets)


def fine(image: np.ndarray) -> int:
    """How far a cut reaches around a mask, in pixels: annotators' outlines are rough, drawn ones are not."""
    return max(2, round(max(image.shape[:2]) / 90))


def suits(kind: str, canvas: Canvas, thing: Thing) -> bool:
    """Whether the edit may touch the thing: its size, and for cuts that it is whole and stands free (or on one other)."""
    share = thing.area / canvas.pixels
    if not SMALLEST <= share <= LARGEST[kind]:
        return False
    return kind == "modify" or not HALF_TOUCHED[0] < thing.touched < HALF_TOUCHED[1]


def whole(scene: Scene, region: Region, mask: np.ndarray) -> bool:
    """Whether a thing is in one piece and not cut by the picture's edge. `mask` bool (h, w) holds all of it."""
    x, y, w, h = region.box
    edge = 2 if scene.width < 200 else 0.015 * scene.width  # annotators stop short of the edge
    if min(x, y) <= edge or x + w >= scene.width - edge or y + h >= scene.height - edge or region.category in BUILT_IN:
        return False
    area = mask.sum()
    parts, _ = ndimage.label(mask)
    return bool(area >= FULL * w * h and np.bincount(parts.ravel())[1:].max() >= 0.95 * area)


def visible(before: np.ndarray, after: np.ndarray) -> str:
    """Why nobody could see the edit, or nothing where one can."""
    scale = min(1.0, SEEN_PX / max(before.shape[:2]))
    changed = np.abs(after.astype(np.int16) - before).mean(axis=2) >= SEEN_BY
    area = float(changed.sum()) * scale * scale
    if area < SEEN_AREA:
        return f"nobody could see the edit: {area:.0f} pixels at {SEEN_PX} px differ by {SEEN_BY} or more, {SEEN_AREA} are needed"
    return ""


def blend(image: np.ndarray, paint: np.ndarray, core: np.ndarray, feather: float) -> tuple[np.ndarray, np.ndarray]:
    """`paint` (float32, as large) over the image inside `core` (bool), with a soft border. Returns picture and support."""
    support = grow(core, BORDER)
    area = window(support, 4)
    alpha = ndimage.gaussian_filter(core[area].astype(np.float32), feather) * support[area]
    alpha = alpha[..., None]
    made = image.copy()
    made[area] = np.clip(image[area] * (1 - alpha) + paint[area] * alpha + 0.5, 0, 255).astype(np.uint8)
    return made, support


def delete(gen: np.random.Generator, canvas: Canvas, editor: Editor, donors: Donors) -> Edit | None:
    thing = _choose(gen, canvas, "delete")
    if thing is None:
        return None
    made, support = _erased(canvas, thing, editor)
    return Edit("delete", made, support, thing.region, None)


def _erased(canvas: Canvas, thing: Thing, editor: Editor) -> tuple[np.ndarray, np.ndarray]:
    core = grow(thing.mask, fine(canvas.image))
    return blend(canvas.image, painted(editor, canvas.image, grow(core, 2), "", canvas.taken), core, 1.0)


def modify(gen: np.random.Generator, canvas: Canvas, editor: Editor, donors: Donors) -> Edit | None:
    """Another colour, or one time in four (where colours are not known) a texture."""
    thing = _choose(gen, canvas, "modify")
    if thing is None:
        return None
    known = thing.region.attributes.get("colour")
    area = window(thing.mask, 4)
    crop, mask = canvas.image[area].astype(np.float32), thing.mask[area]
    if known is None and mask.sum() >= SMALLEST_TEXTURE * canvas.pixels and gen.random() < 0.3:
        texture = tuple(TEXTURES)[int(gen.integers(len(TEXTURES)))]
        paint, adjective, after = textured(crop, mask, texture), TEXTURES[texture], thing.region
    else:
        adjective = new_colour(gen, crop[mask], known)
        if adjective is None:
            return None
        shade = gen.uniform(-SHADE, SHADE, 3)
        paint, after = tinted(crop, mask, adjective, exact=known is not None, shade=shade), thing.region
        if known is not None:
            after = replace(after, attributes={**after.attributes, "colour": adjective})
    if editor.guided:
        full = painted(editor, canvas.image, grow(thing.mask, 2), f"{adjective} {thing.region.category}", canvas.taken)
        made, support = blend(canvas.image, full, thing.mask, FEATHER)
    else:
        made, support = canvas.image.copy(), grow(thing.mask, BORDER)
        made[area] = np.clip(repainted(crop, paint, mask) + 0.5, 0, 255).astype(np.uint8)
    return Edit("modify", made, support, thing.region, after, adjective)


def swap(gen: np.random.Generator, canvas: Canvas, editor: Editor, donors: Donors) -> Edit | None:
    """Another scene's thing of like size and another name in place of one."""
    thing = _choose(gen, canvas, "swap")
    if thing is None:
        return None
    found = donors(
        lambda c, t: (
            t.region.name != thing.region.name
            and (bool(t.region.attributes) or t.region.category != thing.region.category)
            and ALIKE[0] <= t.area / thing.area <= ALIKE[1]
            and 0.6 < _aspect(t) / _aspect(thing) < 1.7
        )
    )
    if found is None:
        return None
    theirs, new = found
    if editor.guided:
        core = grow(thing.mask, fine(canvas.image))
        full = painted(editor, canvas.image, grow(core, 2), new.region.name, canvas.taken)
        made, support = blend(canvas.image, full, core, 1.0)
        return Edit("swap", made, support, thing.region, replace(new.region, box=thing.region.box))
    rows, columns = np.nonzero(thing.mask)
    foot = (int(rows.max()), int(columns.min() + columns.max()) // 2)
    empty, hole = _erased(canvas, thing, editor)
    made, pasted, box = _paste(empty, theirs, new, foot)
    return Edit("swap", made, hole | pasted, thing.region, replace(new.region, box=box), lender=theirs.scene)


def add(gen: np.random.Generator, canvas: Canvas, editor: Editor, donors: Donors) -> Edit | None:
    """Another scene's thing on the background: no annotated thing is hidden. Of the free places, the one whose foot is as
    high in the picture as in its own."""
    found = donors(lambda c, t: SMALLEST * canvas.pixels <= t.area <= LARGEST["add"] * canvas.pixels)
    if found is None:
        return None
    theirs, thing = found
    rows, columns = np.nonzero(thing.mask)
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    high, wide = canvas.scene.height, canvas.scene.width
    taken = canvas.taken
    taken = grow(taken, 3) if taken.any() else taken
    total = np.pad(taken, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    margin = fine(canvas.image)
    if high <= height + 2 * margin or wide <= width + 2 * margin:
        return None
    tops = gen.integers(margin, high - height - margin, size=200)
    lefts = gen.integers(margin, wide - width - margin, size=200)
    over = (
        total[tops + height, lefts + width]
        - total[tops, lefts + width]
        - total[tops + height, lefts]
        + total[tops, lefts]
    )
    away = np.abs((tops + height) / high - rows.max() / theirs.scene.height)
    free = np.flatnonzero((over == 0) & (away < LEVEL))
    if not len(free):
        return None
    best = free[np.argmin(away[free])]
    foot = (int(tops[best]) + height - 1, int(lefts[best]) + width // 2)
    if editor.guided:
        core = np.zeros((high, wide), bool)
        core[tops[best] : tops[best] + height, lefts[best] : lefts[best] + width] = True
        full = painted(editor, canvas.image, grow(core, 2), thing.region.name, canvas.taken)
        made, support = blend(canvas.image, full, core, 1.0)
        box = (float(lefts[best]), float(tops[best]), float(width), float(height))
        return Edit("add", made, support, None, replace(thing.region, box=box))
    made, support, box = _paste(canvas.image, theirs, thing, foot)
    return Edit("add", made, support, None, replace(thing.region, box=box), lender=theirs.scene)


def _aspect(thing: Thing) -> float:
    return (thing.region.box[2] + 1) / (thing.region.box[3] + 1)


def _choose(gen: np.random.Generator, canvas: Canvas, kind: str) -> Thing | None:
    fit = [t for t in canvas.things if suits(kind, canvas, t)]
    if canvas.targets != "random":
        known = [(t.region.significance, k) for k, t in enumerate(fit) if t.region.significance is not None]
        third = max(1, len(known) // 3)
        fit = [fit[k] for _, k in sorted(known, reverse=canvas.targets == "salient")[:third]]
    return fit[int(gen.integers(len(fit)))] if fit else None


def _paste(
    image: np.ndarray, theirs: Canvas, thing: Thing, foot: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]:
    """The thing in its own size with its lowest row and its middle column at `foot`; what lies outside is cut off.

    Returns the picture, its support, and the thing's box (x, y, width, height) in it.
    """
    rows, columns = np.nonzero(thing.mask)
    dy, dx = foot[0] - int(rows.max()), foot[1] - int(columns.min() + columns.max()) // 2
    fits = (rows + dy >= 0) & (rows + dy < image.shape[0]) & (columns + dx >= 0) & (columns + dx < image.shape[1])
    core = np.zeros(image.shape[:2], bool)
    core[rows[fits] + dy, columns[fits] + dx] = True
    if min(image.shape[:2]) > 200:  # annotators' outlines keep a line of background
        core = ndimage.binary_erosion(core)
    if not core.any():
        raise DataError("a thing of one pixel's width cannot be pasted")
    at = window(core, 0)
    box = (float(at[1].start), float(at[0].start), float(at[1].stop - at[1].start), float(at[0].stop - at[0].start))
    area = window(core, 4)
    y, x = np.indices(image.shape[:2])[:, area[0], area[1]]
    paint = image.astype(np.float32)
    there = np.clip(y - dy, 0, theirs.image.shape[0] - 1), np.clip(x - dx, 0, theirs.image.shape[1] - 1)
    paint[area] = outwards(theirs.image[there].astype(np.float32), inside(core[area]))
    return *blend(image, paint, core, FEATHER), box


Donors = Callable[[Callable[[Canvas, Thing], bool]], "tuple[Canvas, Thing] | None"]
EDITS: dict[str, Callable[[np.random.Generator, Canvas, Editor, Donors], Edit | None]] = {
    "modify": modify, "swap": swap, "delete": delete, "add": add,
}  # fmt: skip


def donors_of(gen: np.random.Generator, scenes: Sequence[Scene], canvas: Callable[[Scene], Canvas]) -> Donors:
    """Things of other scenes that are whole, in a random order."""

    def find(fits: Callable[[Canvas, Thing], bool]) -> tuple[Canvas, Thing] | None:
        for k in gen.permutation(len(scenes)):
            theirs = canvas(scenes[k])
            for j in gen.permutation(len(theirs.things)):
                thing = theirs.things[j]
                if thing.whole and fits(theirs, thing):
                    return theirs, thing
        return None

    return find
