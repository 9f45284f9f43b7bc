"""Dialogue that refers to things by their number: short questions whose answers follow from the marks (papers.md A.1.3).

Nothing ambiguous is asked: directions, distances and sizes need a margin, and both the deepest point and the box of a
thing must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import dist

import numpy as np

from visift.core.dataset import Made
from visift.core.errors import DataError
from visift.core.seeds import rng
from visift.core.types import Conversation, Mark, Region, Scene, Turn, assistant, user
from visift.synth.frame import TAG_OPTIONS, Kind, Task, draw_tagged, provenance, row_id
from visift.synth.rules import plural, with_article

ROUNDS = (3, 6)  # rounds of a dialogue, both ends included
MARGIN = 0.1  # of the picture's longer side: less apart, no direction is asked
NEARER = 1.4  # the second nearest must be this many times farther away than the nearest
LARGER = 1.5  # areas must differ by this factor
# Few, short wordings, so that a small model spends nothing on them.
WORDINGS: dict[str, tuple[str, ...]] = {
    "identity": ("What is number {a}?", "What does number {a} mark?", "Name number {a}."),
    "which": ("Which number is the {name}?", "Which number marks the {name}?"),
    "count": ("How many numbered {names} are there?", "Count the numbered {names}."),
    "left": ("Is number {a} left of number {b}?", "Is number {b} right of number {a}?"),
    "right": ("Is number {a} right of number {b}?", "Is number {b} left of number {a}?"),
    "above": ("Is number {a} above number {b}?", "Is number {b} below number {a}?"),
    "below": ("Is number {a} below number {b}?", "Is number {b} above number {a}?"),
    "nearest": ("Which number is nearest to number {a}?", "Which number is closest to number {a}?"),
    "larger": ("Which is larger, number {a} or number {b}?", "Which one is larger: {a} or {b}?"),
    "smaller": ("Which is smaller, number {a} or number {b}?", "Which one is smaller: {a} or {b}?"),
    "existence": ("Is there a numbered {name}?", "Does any number mark {a_name}?"),
}


@dataclass(frozen=True, slots=True)
class Round:
    """A question and its answer; `form` is phrase, number or yes/no."""

    skill: str
    question: str
    answer: str
    form: str


@dataclass(frozen=True, slots=True)
class View:
    """What is asked about: the marks of one picture, and the regions behind them."""

    marks: Sequence[Mark]
    regions: Sequence[Region]  # of the marks, in their order
    absent: Sequence[str]  # names of what is surely not marked
    side: int  # the picture's longer side in pixels


Gen = np.random.Generator


def make(task: Task, scene: Scene) -> Made:
    """One conversation of 3-6 rounds. Raises DataError when fewer can be asked without ambiguity."""
    tagged, picture, rejected = draw_tagged(task, scene)
    gen = rng(task.seed, "tag-qa", scene.id)
    rounds = draw_rounds(gen, view_of(scene, tagged.marks, task.categories))
    turns: list[Turn] = []
    for number, round_ in enumerate(rounds):
        turns.append(user(0, round_.question) if number == 0 else user(round_.question))
        turns.append(assistant(round_.answer, round_.form))
    template = "tag-qa/" + "+".join(r.skill for r in rounds)
    row = Conversation(row_id("tag-qa", scene), (picture,), tuple(turns), provenance(task, scene, template=template))
    return Made([row], [tagged], rejected)


def view_of(scene: Scene, marks: Sequence[Mark], categories: Sequence[str] = ()) -> View:
    """`categories` are names that are surely absent from scenes whose regions lack them."""
    by_id = {region.id: region for region in scene.regions}
    regions = [by_id[mark.region] for mark in marks]
    return View(marks, regions, absent_names(scene, categories), max(scene.width, scene.height))


def absent_names(scene: Scene, categories: Sequence[str]) -> list[str]:
    """Names that no region of the scene has. Where things have attributes: attributes of one thing with the category
    of another, so that colour and shape both occur but not together. Else: categories that do not occur."""
    present = {region.name for region in scene.regions} | {region.category for region in scene.regions}
    if any(region.attributes for region in scene.regions):
        crossed = [" ".join([*a.attributes.values(), b.category]) for a in scene.regions for b in scene.regions]
        return [name for name in dict.fromkeys(crossed) if name not in present]
    return [name for name in categories if name not in present and name not in scene.uncounted]


def draw_rounds(gen: Gen, view: View) -> list[Round]:
    """Different questions, of different skills as far as there are enough. Raises DataError when fewer than 3 exist."""
    wanted = int(gen.integers(ROUNDS[0], ROUNDS[1] + 1))
    rounds: list[Round] = []
    for _ in range(3):  # a second and third pass through the skills only where the first leaves too few
        for skill in gen.permutation(sorted(SKILLS)):
            found = SKILLS[str(skill)](gen, view)
            if found and all(found.question != other.question for other in rounds):
                rounds.append(found)
            if len(rounds) == wanted:
                return rounds
    if len(rounds) < ROUNDS[0]:
        raise DataError(f"only {len(rounds)} unambiguous questions can be asked, {ROUNDS[0]} are needed")
    return rounds


def _ask(gen: Gen, skill: str, answer: str, form: str, **words: object) -> Round:
    wordings = WORDINGS[skill]
    return Round(skill, wordings[int(gen.integers(len(wordings)))].format(**words), answer, form)


def _one(gen: Gen, count: int) -> int:
    return int(gen.integers(count))


def identity(gen: Gen, view: View) -> Round:
    mark = view.marks[_one(gen, len(view.marks))]
    return _ask(gen, "identity", with_article(mark.name), "phrase", a=mark.number)


def which(gen: Gen, view: View) -> Round | None:
    """Only for a name that one mark has."""
    names = [mark.name for mark in view.marks]
    unique = [mark for mark in view.marks if names.count(mark.name) == 1]
    if not unique:
        return None
    mark = unique[_one(gen, len(unique))]
    return _ask(gen, "which", str(mark.number), "number", name=mark.name)


def count(gen: Gen, view: View) -> Round:
    """Of a category, or of an attribute such as a colour."""
    region = view.regions[_one(gen, len(view.regions))]
    kinds = [(None, region.category), *region.attributes.items()]
    key, value = kinds[_one(gen, len(kinds))]
    if key is None:
        total = sum(r.category == value for r in view.regions)
        return _ask(gen, "count", str(total), "number", names=plural(value))
    total = sum(r.attributes.get(key) == value for r in view.regions)
    return _ask(gen, "count", str(total), "number", names=f"{value} objects")


def direction(gen: Gen, view: View) -> Round | None:
    """Left, right, above or below; half of the answers are no."""
    axis = _one(gen, 2)
    margin = MARGIN * view.side
    pairs = [(a, b) for a, b in permutations(view.marks, 2) if _before(a, b, axis, margin)]
    if not pairs:
        return None
    a, b = pairs[_one(gen, len(pairs))]
    yes, no = (("left", "right"), ("above", "below"))[axis]
    true = bool(gen.random() < 0.5)
    return _ask(gen, yes if true else no, "yes" if true else "no", "yes/no", a=a.number, b=b.number)


def _before(a: Mark, b: Mark, axis: int, margin: float) -> bool:
    """Whether `a` lies left of (axis 0) or above (axis 1) `b`, by deepest points and by boxes."""
    return a.center[axis] + margin <= b.center[axis] and _middle(a)[axis] + margin <= _middle(b)[axis]


def _middle(mark: Mark) -> tuple[float, float]:
    x, y, w, h = mark.box
    return x + w / 2, y + h / 2


def nearest(gen: Gen, view: View) -> Round | None:
    """Only where deepest points and boxes agree on one that is clearly nearest, of at least two others."""
    if len(view.marks) < 3:
        return None
    mark = view.marks[_one(gen, len(view.marks))]
    others = [other for other in view.marks if other is not mark]
    by_point = _clearly_nearest([dist(mark.center, other.center) for other in others])
    by_box = _clearly_nearest([dist(_middle(mark), _middle(other)) for other in others])
    if by_point is None or by_point != by_box:
        return None
    return _ask(gen, "nearest", str(others[by_point].number), "number", a=mark.number)


def _clearly_nearest(distances: Sequence[float]) -> int | None:
    first, second = sorted(range(len(distances)), key=lambda k: distances[k])[:2]
    return first if distances[first] * NEARER <= distances[second] else None


def comparison(gen: Gen, view: View) -> Round | None:
    """Which of two is larger or smaller, by visible area; their boxes must agree."""
    pairs = [(a, b) for a, b in permutations(view.marks, 2) if a.area >= LARGER * b.area and _extent(a) > _extent(b)]
    if not pairs:
        return None
    large, small = pairs[_one(gen, len(pairs))]
    skill = ("larger", "smaller")[_one(gen, 2)]
    answer = large if skill == "larger" else small
    first, second = (large, small) if gen.random() < 0.5 else (small, large)
    return _ask(gen, skill, str(answer.number), "number", a=first.number, b=second.number)


def _extent(mark: Mark) -> int:
    return mark.box[2] * mark.box[3]


def existence(gen: Gen, view: View) -> Round:
    """Half yes, half no where something absent can be named."""
    if view.absent and gen.random() < 0.5:
        name, answer = view.absent[_one(gen, len(view.absent))], "no"
    else:
        name, answer = view.marks[_one(gen, len(view.marks))].name, "yes"
    return _ask(gen, "existence", answer, "yes/no", name=name, a_name=with_article(name))


SKILLS: dict[str, Callable[[Gen, View], Round | None]] = {
    "identity": identity, "which": which, "count": count, "direction": direction, "nearest": nearest,
    "comparison": comparison, "existence": existence,
}  # fmt: skip
KIND = Kind(make, TAG_OPTIONS)
