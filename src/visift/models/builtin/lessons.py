"""What the built-in base model is taught: what a real VLM can do before it has seen a tag on an object or a difference task.

Captions and untagged questions in every response form, what is written in the picture (signs.py), rows with 2-4 pictures, multi-round rows, text-only sentences about differences. Never a number on
an object, never two pictures compared.
A lesson is rows of pictures and (question, answer) rounds, made from scenes and a generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from visift.core.types import Region, Scene
from visift.sources.tabletop import COLOURS, SHAPES, SIDE, SIZES, Thing, region_of
from visift.synth.skills import (
    Round,
    absent_pair,
    caption,
    centre,
    counting,
    draw_round,
    existence,
    join,
    left_to_right,
    place_name,
    plural,
    short_name,
)  # fmt: skip

PATCH = 16  # pixels
GRID = SIDE // PATCH

# Before which character of an answer to look, and at which patches, counted over all pictures of the row
Look = tuple[int, tuple[int, ...]]


class Asked(NamedTuple):
    """A round, and where to look while answering it."""

    question: str
    answer: str
    looks: tuple[Look, ...] = ()


@dataclass(slots=True)
class Row:
    """Pictures as uint8 (SIDE, SIDE, 3) with their per-patch labels, and the rounds asked about them."""

    pictures: list[np.ndarray] = field(default_factory=list)
    # each int64 (patches, 4): shape, colour, size, sign; 0 = none
    labels: list[np.ndarray] = field(default_factory=list)
    rounds: list[Asked] = field(default_factory=list)


def scene_of(things: list[Thing]) -> Scene:
    """A scene of the things' squares: enough to ask about, without the cost of masks."""
    return Scene("lesson", "", "", SIDE, SIDE, regions=tuple(region_of(t, str(k)) for k, t in enumerate(things)))


def cells_of(region: Region, picture: int = 0) -> tuple[int, ...]:
    """The patches whose middle lies in the region's box, or the one under its centre."""
    x, y = centre(region)
    half = max(region.box[2], region.box[3]) / 2
    middles = (np.arange(GRID) + 0.5) * PATCH
    rows, columns = (
        set(np.flatnonzero(np.abs(middles - v) < half).tolist()) | {min(GRID - 1, int(v / PATCH))} for v in (y, x)
    )
    return tuple(picture * GRID * GRID + r * GRID + c for r in sorted(rows) for c in sorted(columns))


def looks_at(regions: Iterable[Region], picture: int = 0) -> tuple[Look, ...]:
    """Before the answer begins, look at these."""
    return tuple((0, cells_of(region, picture)) for region in regions)


def told(question: str, parts: Iterable[tuple[str, Region | None]]) -> Asked:
    """An answer put together of parts; before each that names a region, look at it."""
    answer, looks = "", []
    for text, region in parts:
        if region is not None:
            looks.append((len(answer), cells_of(region)))
        answer += text
    return Asked(question, answer, tuple(looks))


def with_form(gen: np.random.Generator, scene: Scene, skill: str) -> Asked:
    """A round with the request for one response form written behind it; half the time the short form goes unasked."""
    found = draw_round(gen, scene, skill)
    q, a, looks = found.question, found.answer, looks_at(found.targets)
    if found.form == "sentence" or gen.random() < 0.5:
        return Asked(q, a, looks)
    if gen.random() < 0.4:
        ask = {
            "phrase": "Answer with a short phrase.",
            "number": "Answer with a number.",
            "yes/no": "Answer yes or no.",
        }
        return Asked(f"{q} {ask[found.form]}", a, looks)
    return Asked(f"{q} Answer in a sentence.", sentence(found), looks)


def sentence(found: Round) -> str:
    """The answer as a whole sentence, built from the question's own words."""
    q, a = found.question.rstrip("?"), found.answer
    if found.skill == "existence":
        what = q.replace("Is there a", "").replace("Is a", "").removeprefix("n").replace(" in the picture", "").strip()
        return f"Yes, there is a {what}." if a == "yes" else f"No, there is no {what}."
    if found.skill == "counting":
        what = q.removeprefix("How many ").removesuffix(" are there")
        return f"There are {a} {what}."
    if found.skill == "relation":
        word = next(w for w in (" left of ", " right of ", " above ", " below ") if w in q)
        fact = q.removeprefix("Is the ").replace(word, f" is{'' if a == 'yes' else ' not'}{word}", 1)
        return f"{'Yes' if a == 'yes' else 'No'}, the {fact}."
    if found.skill == "place":
        return f"The {q.removeprefix('Where is the ')} is at the {a}."
    return f"It is a {a}." if found.skill == "at_place" else f"It is {a}."


def listing(gen: np.random.Generator, scene: Scene) -> Asked:
    """A numbered list, left to right: the form, not the tags."""
    return told("List the objects from left to right.", numbered([(r.name, r) for r in left_to_right(scene)]))


def numbered(items: list[tuple[str, Region]]) -> Iterator[tuple[str, Region | None]]:
    """The parts of a list `1. ...` on lines of their own."""
    for k, (text, region) in enumerate(items, 1):
        yield f"{chr(10) if k > 1 else ''}{k}. ", None
        yield text, region


def joined(items: list[tuple[str, Region]]) -> Iterator[tuple[str, Region | None]]:
    """The parts of `a, b and c`."""
    for k, (text, region) in enumerate(items):
        yield "" if k == 0 else " and " if k == len(items) - 1 else ", ", None
        yield text, region


def described(gen: np.random.Generator, scene: Scene) -> Asked:
    """The caption, looking at each thing before it is named."""
    return told(
        caption(gen, scene).question, [*joined([(f"a {r.name}", r) for r in left_to_right(scene)]), (".", None)]
    )


def paragraph(gen: np.random.Generator, scene: Scene) -> Asked:
    parts: list[tuple[str, Region | None]] = [(f"There are {len(scene.regions)} objects.", None)]
    for region in left_to_right(scene):
        parts += [(" The ", None), (f"{region.name} is at the {place_name(region)}.", region)]
    return told("Describe the picture in a paragraph.", parts)


def letter(gen: np.random.Generator, scene: Scene) -> Asked:
    """Multiple choice, with or without the reason."""
    region = scene.regions[int(gen.integers(len(scene.regions)))]
    right = f"{region.attributes['colour']} {region.category}"
    options = [right]
    while len(options) < 4:
        wrong = absent_pair(gen, scene, ("random", "popular", "adversarial")[int(gen.integers(3))])
        if wrong not in options:
            options.append(wrong)
    gen.shuffle(options)
    letters = "ABCD"
    shown = " ".join(f"{k}. {o}" for k, o in zip(letters, options, strict=True))
    found = letters[options.index(right)]
    if gen.random() < 0.5:
        return Asked(f"Which is in the picture? {shown} Answer with a letter.", found, looks_at([region]))
    reason = f"{found}, because there is a {right} at the {place_name(region)}."
    return Asked(f"Which is in the picture? {shown} Answer with a letter and a reason.", reason, looks_at([region]))


def coordinates(gen: np.random.Generator, scene: Scene) -> Asked:
    """The centre in hundredths of the picture's width and height."""
    region = scene.regions[int(gen.integers(len(scene.regions)))]
    x, y = (int(100 * v / SIDE) for v in centre(region))
    return Asked(f"Point at the {short_name(region, scene)}.", f"({x:02d}, {y:02d})", looks_at([region]))


FORMED = (listing, paragraph, letter, coordinates)
# how often each skill is asked: what is slow to learn (looking up by shape, saying where) is asked more
ASKED = (
    *("existence", "colour", "place") * 3,
    *("relation", "counting") * 2,
    *("shape", "size", "at_place"),
)


def one_picture(gen: np.random.Generator, scene: Scene, rounds: int) -> list[Asked]:
    """Rounds about one picture in mixed forms; the caption is among them one time in three, anywhere."""
    made = []
    for _ in range(rounds):
        if gen.random() < 0.12:
            made.append(FORMED[int(gen.integers(len(FORMED)))](gen, scene))
        else:
            made.append(with_form(gen, scene, ASKED[int(gen.integers(len(ASKED)))]))
    if gen.random() < 0.35:
        made.insert(int(gen.integers(len(made) + 1)), described(gen, scene))
    return made


def several_pictures(gen: np.random.Generator, scenes: list[Scene]) -> list[Asked]:
    """Rounds about one of several pictures, named by its place: looking things up, never comparing."""
    made = []
    for _ in range(int(gen.integers(2, 5))):
        k = int(gen.integers(len(scenes)))
        kind = int(gen.integers(4))
        if kind == 0:
            made.append(Asked(f"Describe picture {k + 1}.", caption(gen, scenes[k]).answer))
        elif kind == 1:
            found = counting(gen, scenes[k])
            made.append(Asked(f"{found.question.rstrip('?')} in picture {k + 1}?", found.answer))
        elif kind == 2:
            found = existence(gen, scenes[k])
            question = found.question.replace(" in the picture", "").rstrip("?")
            made.append(Asked(f"{question} in picture {k + 1}?", found.answer, looks_at(found.targets, k)))
        else:
            pairs = [{f"{r.attributes['colour']} {r.category}" for r in s.regions} for s in scenes]
            alone = sorted(p for p in pairs[k] if sum(p in other for other in pairs) == 1)
            if alone:
                pair = alone[int(gen.integers(len(alone)))]
                region = next(r for r in scenes[k].regions if pair == f"{r.attributes['colour']} {r.category}")
                made.append(Asked(f"Which picture has a {pair}?", f"picture {k + 1}", looks_at([region], k)))
    return made or [Asked("Describe picture 1.", caption(gen, scenes[0]).answer)]


def difference_sentences(gen: np.random.Generator) -> Asked:
    """Text only: two descriptions and what changed between them."""

    def name() -> str:
        sizes, colours = tuple(SIZES), tuple(COLOURS)
        return f"{sizes[gen.integers(2)]} {colours[gen.integers(8)]} {SHAPES[gen.integers(8)]}"

    names = list(dict.fromkeys(name() for _ in range(int(gen.integers(3, 6)))))
    other, k = list(names), int(gen.integers(len(names)))
    kind = int(gen.integers(4))
    if kind == 0:
        answer = f"The {other.pop(k)} is gone."
    elif kind == 1:
        new = name()
        while new in names:
            new = name()
        other.append(new)
        answer = f"A {new} was added."
    elif kind == 2:
        new = name()
        while new in names:
            new = name()
        other[k] = new
        answer = f"The {names[k]} has become a {new}."
    else:
        answer = "Nothing changed."
    before, after = (join([f"a {n}" for n in ns]) for ns in (names, other))
    return Asked(f"First there was {before}. Now there is {after}. What changed?", answer)


def vocabulary() -> list[str]:
    """Words of the templates of the other rooms and of COCO, so that the tokenizer knows them whole."""
    return [
        "number numbers numbered mark marks marked tag tags tagged label labels item items object objects thing things",
        "list name names each every one by order in of the what is are which how many there and or not with under at on",
        "left right above below nearest closest larger smaller bigger than between it left of right of to as a an for",
        "picture pictures image photo first second third fourth difference differences changed added removed replaced gone",
        "answer yes no word phrase sentence paragraph letter reason because reply say tell give describe show point read go",
        "through please short single count colour color size shape place where who when why this that these those you see",
        "seen from all its own here their them they has have had was were be been being do does did can could will would",
        "into out up down over again only same other another some any more most less few two three four five six seven",
        "eight nine ten man woman child people boy girl hand head face hair wall floor table door window street road grass",
        "tree sky water building sign light black white brown grey gray dark bright wearing holding standing sitting",
        "looking playing riding eating walking near next front behind inside around top bottom middle side corner part",
        "person bicycle car motorcycle airplane bus train truck boat traffic light fire hydrant stop sign parking meter",
        "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis",
        "snowboard sports ball kite baseball bat glove skateboard surfboard tennis racket bottle wine glass cup fork knife",
        "spoon bowl banana apple sandwich orange broccoli carrot hot dog pizza donut cake chair couch potted plant bed",
        "dining table toilet tv laptop mouse remote keyboard cell phone microwave oven toaster sink refrigerator book clock",
        "vase scissors teddy bear hair drier toothbrush",
        "Name List Give What Which Where How Is Are There The Each Every Number Describe Write Look Say Tell Answer Read",
        *(plural(s) for s in SHAPES),
    ]
