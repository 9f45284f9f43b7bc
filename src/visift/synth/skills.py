"""Untagged questions and captions about a scene whose regions carry size and colour: what a model can do without tags.

One round is a question, its answer, the answer's form and, for existence, POPE's split. The base model learns from these
rounds, the demo's control arm gets more of them, and held-out ones are the untagged skills that are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from visift.core.types import Region, Scene
from visift.sources.tabletop import COLOURS, FAVOURITE, SHAPES, SIDE

MARGIN = 10  # pixels between centres below which left/right and above/below are not asked
HORIZONTAL, VERTICAL = ("left", "middle", "right"), ("top", "centre", "bottom")


@dataclass(frozen=True, slots=True)
class Round:
    """A question and its answer. `form` names the response form; `split` is POPE's for existence, else empty; `targets` are
    the one or two regions that the question is about, where it is not about all."""

    skill: str
    question: str
    answer: str
    form: str
    split: str = ""
    targets: tuple[Region, ...] = ()


def centre(region: Region) -> tuple[float, float]:
    return region.box[0] + region.box[2] / 2, region.box[1] + region.box[3] / 2


def left_to_right(scene: Scene) -> list[Region]:
    return sorted(scene.regions, key=centre)


def short_name(region: Region, scene: Scene) -> str:
    """Colour and shape where they suffice, else with the size: `red star` or `small red star`."""
    short = _pair(region)
    return short if sum(_pair(r) == short for r in scene.regions) == 1 else region.name


def _pair(region: Region) -> str:
    return f"{region.attributes['colour']} {region.category}"


def place_name(region: Region) -> str:
    """One of nine places, such as `top left` or `centre middle`, by thirds of the picture."""
    x, y = centre(region)
    return f"{VERTICAL[min(2, int(3 * y / SIDE))]} {HORIZONTAL[min(2, int(3 * x / SIDE))]}"


def join(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _pick(gen: np.random.Generator, options: tuple[str, ...] | list[str]) -> str:
    return options[int(gen.integers(len(options)))]


def _one(gen: np.random.Generator, scene: Scene) -> Region:
    return scene.regions[int(gen.integers(len(scene.regions)))]


def _unique(gen: np.random.Generator, scene: Scene, key: Callable[[Region], str]) -> Region | None:
    """A region that is alone in having its `key`."""
    keys = [key(r) for r in scene.regions]
    alone = [r for r, k in zip(scene.regions, keys, strict=True) if keys.count(k) == 1]
    return alone[int(gen.integers(len(alone)))] if alone else None


def caption(gen: np.random.Generator, scene: Scene) -> Round:
    question = _pick(gen, ("Describe the picture.", "What is in the picture?"))
    return Round("caption", question, f"{join([f'a {r.name}' for r in left_to_right(scene)])}.", "sentence")


def colour(gen: np.random.Generator, scene: Scene) -> Round | None:
    region = _unique(gen, scene, lambda r: r.category)
    if region is None:
        return None
    question = _pick(gen, (f"What colour is the {region.category}?", f"Which colour does the {region.category} have?"))
    return Round("colour", question, region.attributes["colour"], "phrase", targets=(region,))


def shape(gen: np.random.Generator, scene: Scene) -> Round | None:
    region = _unique(gen, scene, lambda r: r.attributes["colour"])
    return region and Round(
        "shape", f"What is the {region.attributes['colour']} object?", region.category, "phrase", targets=(region,)
    )


def size(gen: np.random.Generator, scene: Scene) -> Round | None:
    region = _unique(gen, scene, _pair)
    return region and Round(
        "size", f"Is the {_pair(region)} large or small?", region.attributes["size"], "phrase", targets=(region,)
    )


def counting(gen: np.random.Generator, scene: Scene) -> Round:
    """Of all objects, of a colour, or of a shape; the last two also of what is absent, one time in five."""
    kind = int(gen.integers(3))
    if kind == 0:
        return Round("counting", "How many objects are there?", str(len(scene.regions)), "number")
    absent, region = gen.random() < 0.2, _one(gen, scene)
    if kind == 1:
        which = _pick(gen, tuple(COLOURS)) if absent else region.attributes["colour"]
        number = sum(r.attributes["colour"] == which for r in scene.regions)
        return Round("counting", f"How many {which} objects are there?", str(number), "number")
    which = _pick(gen, SHAPES) if absent else region.category
    number = sum(r.category == which for r in scene.regions)
    return Round("counting", f"How many {plural(which)} are there?", str(number), "number")


def plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def existence(gen: np.random.Generator, scene: Scene, split: str = "", present: bool | None = None) -> Round:
    """Half yes, half no. The no's are drawn as POPE draws them (random, popular, adversarial); see `absent_pair`."""
    split = split or _pick(gen, ("random", "popular", "adversarial"))
    present = bool(gen.random() < 0.5) if present is None else present
    region = _one(gen, scene) if present else None
    what = _pair(region) if region else absent_pair(gen, scene, split)
    question = _pick(gen, (f"Is there a {what}?", f"Is a {what} in the picture?")).replace(" a orange", " an orange")
    return Round("existence", question, "yes" if present else "no", "yes/no", split, (region,) if region else ())


def absent_pair(gen: np.random.Generator, scene: Scene, split: str) -> str:
    """A colour and shape that do not stand together. random: any; popular: a usual pair of this world; adversarial:
    colour and shape both occur in the scene, on different things. Falls back to random where a split has no pair."""
    present = {_pair(r) for r in scene.regions}
    if split == "adversarial":
        pool = [f"{a.attributes['colour']} {b.category}" for a in scene.regions for b in scene.regions]
    elif split == "popular":
        pool = [f"{c} {s}" for s, c in FAVOURITE.items()]
    else:
        pool = [f"{c} {s}" for s in SHAPES for c in COLOURS]
    pool = [p for p in dict.fromkeys(pool) if p not in present]
    return _pick(gen, pool) if pool else absent_pair(gen, scene, "random")


def relation(gen: np.random.Generator, scene: Scene) -> Round | None:
    """Left of, right of, above, below; half yes, half no."""
    a, b = (scene.regions[i] for i in gen.choice(len(scene.regions), 2, replace=False))
    (ax, ay), (bx, by) = centre(a), centre(b)
    across = bool(gen.random() < 0.5)
    gap = ax - bx if across else ay - by
    if abs(gap) < MARGIN:
        return None
    true, false = ("right of", "left of") if across else ("below", "above")
    if gap < 0:
        true, false = false, true
    yes = bool(gen.random() < 0.5)
    question = f"Is the {short_name(a, scene)} {true if yes else false} the {short_name(b, scene)}?"
    return Round("relation", question, "yes" if yes else "no", "yes/no", targets=(a, b))


def place(gen: np.random.Generator, scene: Scene) -> Round:
    region = _one(gen, scene)
    return Round("place", f"Where is the {short_name(region, scene)}?", place_name(region), "phrase", targets=(region,))


def at_place(gen: np.random.Generator, scene: Scene) -> Round | None:
    """What stands in one of the nine places; asked where exactly one thing does."""
    region = _unique(gen, scene, place_name)
    return region and Round(
        "at_place", f"What is at the {place_name(region)}?", region.name, "phrase", targets=(region,)
    )


SKILLS: dict[str, Callable[[np.random.Generator, Scene], Round | None]] = {
    "caption": caption, "colour": colour, "shape": shape, "size": size, "counting": counting, "existence": existence,
    "relation": relation, "place": place, "at_place": at_place,
}  # fmt: skip


def draw_round(gen: np.random.Generator, scene: Scene, skill: str) -> Round:
    """A round of `skill`, or a caption where the scene offers none (no unique colour, say)."""
    for _ in range(8):
        if found := SKILLS[skill](gen, scene):
            return found
    return caption(gen, scene)
