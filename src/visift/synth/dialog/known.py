"""What is known of a scene, as far as it can be asked about without two readings giving two answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from visift.core.errors import DataError
from visift.core.types import Region, Scene
from visift.synth.dialog.words import PAIRS, PILES, STUFF, SURE, lookalikes, spoken, stuff_words

MOST = 9  # counted; annotators miss some of more, and nobody counts them at a glance
TINIEST = 0.0008  # of the picture's area: where one is so small, others were missed; its kind is not counted
SMALLEST = 0.004  # of the picture's area: smaller things are not asked about by place or size
WIDEST = 0.6  # of the picture's width and height: wider things are at no one place
INSIDE = 0.04  # of width or height: as far from a third's border, a centre lies in the third
APART = 0.05  # of width or height: as far must a thing's near edge be from the other's centre for a direction
LARGER = 1.5  # areas must differ by this factor
COLUMNS, ROWS = ("left", "", "right"), ("top", "", "bottom")


@dataclass(frozen=True, slots=True)
class Thing:
    """What is called by `the …` because there is one of it. Shares are of the picture: 0..1."""

    name: str  # category, or attributes and category
    noun: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 as shares of width and height
    centre: tuple[float, float]  # of the mask
    area: float
    outlined: bool  # has a mask, not only a box
    stuff: bool = False

    @property
    def the(self) -> str:
        return f"the {self.noun}"

    @property
    def extent(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def middle(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass
class Known:
    """What is known of a scene, as far as it can be asked about. `categories` are names that are absent where no region has them."""

    scene: Scene
    categories: Sequence[str] = ()
    faults: list[tuple[str, str]] = field(default_factory=list)
    told: set[str] = field(default_factory=set)  # facts of the rounds so far

    @property
    def unmentioned(self) -> list[str]:
        """Things that are present and that no round so far has told."""
        return [n for n in sorted(self.present) if f"presence {n}" not in self.told]

    @cached_property
    def present(self) -> dict[str, int]:
        """Category -> regions of it, crowds included; without stuff."""
        return dict(Counter(r.category for r in self.scene.regions if not r.stuff))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Category -> how many there are, where that is known: no crowd among them, all of them annotated, single things."""
        crowds = {r.category for r in self.scene.regions if r.crowd}
        size = self.scene.width * self.scene.height
        tiny = {r.category for r in self.scene.regions if r.box[2] * r.box[3] < TINIEST * size}
        unsure = crowds | tiny | set(self.scene.uncounted) | PAIRS | PILES
        return {n: k for n, k in self.present.items() if n not in unsure and k <= MOST}

    @cached_property
    def absent(self) -> list[str]:
        """Things that are surely not there, nor mentioned in a caption, nor easily taken for something that is."""
        there = frozenset(self.present)
        said = " ".join(self.scene.captions).lower()
        closed = [n for n in self.categories if n not in STUFF] if there else []
        alike = lookalikes(there)
        names = [n for n in dict.fromkeys([*self.scene.absent, *closed]) if n not in self.scene.uncounted]
        return [n for n in names if n not in there and n not in alike and spoken(n).lower() not in said]

    @cached_property
    def stuff(self) -> list[str]:
        return list(dict.fromkeys(r.category for r in self.scene.regions if r.stuff))

    @cached_property
    def absent_stuff(self) -> list[str]:
        if not self.stuff:  # nobody looked for stuff
            return []
        groups = {stuff_words(n)[2] for n in self.stuff}
        return [n for n in self.categories if n in SURE and stuff_words(n)[2] not in groups]

    @cached_property
    def things(self) -> list[Thing]:
        """What can be called by `the …`, in the order of the regions."""
        names = Counter(r.name if r.attributes else r.category for r in self.scene.regions)
        crowds = {r.category for r in self.scene.regions if r.crowd} | set(self.scene.uncounted)
        found = []
        for region in self.scene.regions:
            name = region.name if region.attributes else region.category
            if names[name] == 1 and region.category not in crowds:
                try:
                    found.append(self._thing(region, name))
                except DataError as e:
                    self.faults.append((region.id, e.what))
        return [t for t in found if t.area >= SMALLEST]

    def _thing(self, region: Region, name: str) -> Thing:
        height, width = self.scene.height, self.scene.width
        rows, columns = np.nonzero(region.mask(height, width))
        if not len(rows):
            raise DataError("its mask is empty")
        x, y, w, h = region.box
        box = (max(x, 0) / width, max(y, 0) / height, min((x + w) / width, 1), min((y + h) / height, 1))
        centre = ((columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height)
        noun = stuff_words(name)[1] if region.stuff else spoken(name)
        area = len(rows) / (height * width)
        return Thing(name, noun, box, centre, area, region.segmentation is not None, region.stuff)

    @property
    def objects(self) -> list[Thing]:
        return [t for t in self.things if not t.stuff]


def place_of(thing: Thing) -> str | None:
    """`top left`, `left`, `centre`: where both the mask's and the box's centre lie in one of nine parts, away from its borders."""
    if thing.box[2] - thing.box[0] > WIDEST or thing.box[3] - thing.box[1] > WIDEST:
        return None
    parts = []
    for axis in (0, 1):
        both = [p[axis] * 3 for p in (thing.centre, thing.middle)]
        third = {int(v) for v in both}
        if len(third) > 1 or any(0 < round(v) < 3 and abs(v - round(v)) < 3 * INSIDE for v in both):
            return None
        parts.append(min(third.pop(), 2))
    return " ".join(w for w in (ROWS[parts[1]], COLUMNS[parts[0]]) if w) or "centre"


def column(place: str) -> str:
    """`left`, `right`, or empty: the middle."""
    return next((c for c in ("left", "right") if place.endswith(c)), "")


def at(place: str) -> str:
    """`in the top left`, `on the left`, `at the bottom`, `in the centre`."""
    preposition = {"left": "on", "right": "on", "top": "at", "bottom": "at"}.get(place, "in")
    return f"{preposition} the {place}"


def before(first: Thing, second: Thing, axis: int) -> bool:
    """Whether `first` surely lies left of (axis 0) or above (axis 1) `second`: neither's box reaches the other's centre, and
    the masks' centres agree."""
    return (
        first.box[2 + axis] + APART <= second.middle[axis]
        and first.middle[axis] + APART <= second.box[axis]
        and first.centre[axis] + APART <= second.centre[axis]
    )


def larger(x: Thing, y: Thing) -> bool:
    return x.area >= LARGER * y.area and x.extent >= y.extent
