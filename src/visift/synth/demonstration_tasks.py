"""Questions over several pictures with text between them, from annotations alone; a cousin for every category of DEMON.

A task draws from a pool of pictures and returns a Sample, or None where the pool offers none. What a picture shows, and what
it surely does not show, is what `synth dialog` would say of it too (`Known`); where all its things have a colour, `red circle`
and the like are kinds of their own. A kind of which that cannot be said is not asked about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from visift.core.types import Scene
from visift.synth.dialog.known import MOST as COUNTED
from visift.synth.dialog.known import SMALLEST, Known
from visift.synth.dialog.words import a, best_captions, capital, join, many, spoken

Gen = np.random.Generator
T = TypeVar("T")
MOST = 4  # pictures of a sample
CONTRASTED = 3  # kinds that the second picture shows beyond the first, at most


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture. `number`: kind -> how many it shows, None where they are not counted; `absent`: what it surely does not
    show. Of other kinds nothing is known."""

    scene: Scene
    number: Mapping[str, int | None]
    absent: frozenset[str]
    captions: tuple[str, ...]

    def has(self, kind: str) -> bool | None:
        return True if kind in self.number else False if kind in self.absent else None

    def count(self, kind: str) -> int | None:
        return 0 if kind in self.absent else self.number.get(kind)


@dataclass(frozen=True, slots=True)
class Sample:
    """`body`: text, and indices into `pictures`, in the order in which they are shown; `labels`: a number printed on each
    picture, or nothing. `options` hold the answer where it is one of few; `listed`: the question has to name them."""

    instruction: str
    body: tuple[str | int, ...]
    pictures: tuple[Shown, ...]
    answer: str
    form: str
    options: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    listed: bool = False


def shown(scenes: Sequence[Scene], categories: Sequence[str]) -> tuple[Shown, ...]:
    """What the pictures show. `categories` are names that are absent where no region has them."""
    coloured = {f"{r.attributes['colour']} {r.category}" for s in scenes for r in s.regions if "colour" in r.attributes}
    return tuple(_shown(scene, categories, coloured) for scene in scenes)


def _shown(scene: Scene, categories: Sequence[str], coloured: set[str]) -> Shown:
    known = Known(scene, categories)
    clear = {r.category for r in scene.regions if r.box[2] * r.box[3] >= SMALLEST * scene.width * scene.height}
    number = {kind: known.counts.get(kind) for kind in known.present if kind in clear}
    absent = frozenset(known.absent)
    if scene.regions and all("colour" in r.attributes for r in scene.regions):
        own = Counter(f"{r.attributes['colour']} {r.category}" for r in scene.regions)
        number |= {kind: n for kind, n in own.items() if n <= COUNTED}
        absent |= coloured - own.keys()
    return Shown(scene, number, absent, tuple(best_captions(scene.captions)[:2]))


def _pick(gen: Gen, options: Sequence[str]) -> str:
    return options[int(gen.integers(len(options)))]


def _some(gen: Gen, items: Sequence[T], number: int) -> list[T]:
    return [items[k] for k in gen.permutation(len(items))[:number]]


def _kinds(pool: Sequence[Shown]) -> list[str]:
    return sorted({kind for picture in pool for kind in picture.number})


def _in_a_row(number: int) -> tuple[str | int, ...]:
    """`Picture 1: <0> Picture 2: <1> …`."""
    parts: list[str | int] = []
    for k in range(number):
        parts += [f"{' ' if k else ''}Picture {k + 1}: ", k]
    return tuple(parts)


def _names(number: int) -> tuple[str, ...]:
    return tuple(f"Picture {k + 1}" for k in range(number))


def _split(gen: Gen, pool: Sequence[Shown], number: int, having: int) -> tuple[str, tuple[Shown, ...]] | None:
    """A kind, and `number` pictures of which exactly `having` show it, mixed."""
    for kind in _some(gen, kinds := _kinds(pool), len(kinds)):
        with_it = [p for p in pool if p.has(kind)]
        without = [p for p in pool if p.has(kind) is False]
        if len(with_it) >= having and len(without) >= number - having:
            chosen = _some(gen, with_it, having) + _some(gen, without, number - having)
            return kind, tuple(_some(gen, chosen, number))
    return None


def odd_one_out(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Three of four pictures share a kind. Where it may be another kind, the question says which."""
    found = _split(gen, pool, MOST, MOST - 1)
    if found is None:
        return None
    kind, pictures = found
    odd = next(k for k, p in enumerate(pictures) if not p.has(kind))
    says = {x: [p.has(x) for p in pictures] for x in _kinds(pictures)}
    rivals = [x for x, has in says.items() if has.count(True) < MOST and has.count(False) <= 1]
    if len(rivals) > 1 or gen.random() < 0.5:
        instruction = _pick(gen, (f"All pictures but one show {a(kind)}. Which one does not?",
                                  f"Which of the pictures does not show {a(kind)}, as the others do?"))  # fmt: skip
        return Sample(instruction, _in_a_row(MOST), pictures, _names(MOST)[odd], "phrase", _names(MOST))
    instruction = _pick(gen, ("Which picture is the odd one out?", "One picture does not fit the others. Which, and why?"))  # fmt: skip
    answer = f"{_names(MOST)[odd]}: only the others show {a(kind)}."
    return Sample(instruction, _in_a_row(MOST), pictures, answer, "sentence")


def same_or_different(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Whether both pictures show a kind, or as many of it."""
    same, by_number = (bool(v) for v in gen.random(2) < 0.5)
    if by_number:
        return _same_number(gen, pool, same)
    found = _split(gen, pool, 2, 2 if same else 1)
    if found is None:
        return None
    kind, pictures = found
    instruction = _pick(gen, (f"Do both pictures show {a(kind)}?", f"Can {a(kind)} be seen in each picture?"))
    return Sample(instruction, _in_a_row(2), pictures, "yes" if same else "no", "yes/no", ("yes", "no"))


def _same_number(gen: Gen, pool: Sequence[Shown], same: bool) -> Sample | None:
    for kind in _some(gen, kinds := _kinds(pool), len(kinds)):
        by_count = _by(pool, (p.count(kind) or None for p in pool))
        if same:
            fit = [pictures for pictures in by_count.values() if len(pictures) > 1]
            pair = _some(gen, _some(gen, fit, 1)[0], 2) if fit else []
        else:
            pair = [_some(gen, by_count[n], 1)[0] for n in _some(gen, list(by_count), 2)] if len(by_count) > 1 else []
        if pair:
            instruction = _pick(gen, (f"Do the two pictures show the same number of {many(kind)}?",
                                      f"Are there as many {many(kind)} in one picture as in the other?"))  # fmt: skip
            return Sample(instruction, _in_a_row(2), tuple(pair), "yes" if same else "no", "yes/no", ("yes", "no"))
    return None


def _by(pool: Sequence[Shown], values: Iterable[T | None]) -> dict[T, list[Shown]]:
    """The pictures by their values, without those that have none."""
    found: dict[T, list[Shown]] = {}
    for picture, value in zip(pool, values, strict=True):
        if value is not None:
            found.setdefault(value, []).append(picture)
    return found


def which_picture(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    number = int(gen.integers(2, MOST + 1))
    found = _split(gen, pool, number, 1)
    if found is None:
        return None
    kind, pictures = found
    instruction = _pick(gen, (f"Which picture shows {a(kind)}?", f"In which picture can {a(kind)} be seen?",
                              f"Find the picture with {a(kind)}."))  # fmt: skip
    return Sample(instruction, _in_a_row(number), pictures, _right(pictures, kind), "phrase", _names(number))


def _right(pictures: Sequence[Shown], kind: str) -> str:
    return _names(len(pictures))[next(k for k, p in enumerate(pictures) if p.has(kind))]


def order_by_count(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Three pictures with different numbers of one kind."""
    for kind in _some(gen, kinds := _kinds(pool), len(kinds)):
        by_count = _by(pool, (p.count(kind) for p in pool))
        if len(by_count) < 3:
            continue
        numbers = _some(gen, sorted(by_count), 3)
        pictures = tuple(_some(gen, by_count[n], 1)[0] for n in numbers)
        up = bool(gen.random() < 0.5)
        first = "fewest" if up else "most"
        instruction = _pick(gen, (f"Put the pictures in order by how many {many(kind)} they show, {first} first.",
                                  f"Sort the pictures by their number of {many(kind)}, the {first} first."))  # fmt: skip
        ranked = [_names(3)[numbers.index(n)] for n in sorted(numbers, reverse=not up)]
        return Sample(instruction, _in_a_row(3), pictures, ", ".join(ranked), "phrase")
    return None


def contrast(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """What the second of two pictures shows beyond the first, with which it shares something; all of it: a thing that may be
    new and cannot be named (too small) leaves the pair out."""
    for first in _some(gen, pool, len(pool)):
        for second in _some(gen, pool, len(pool)):
            kinds = dict.fromkeys(r.category for r in second.scene.regions if not r.stuff)
            new = [x for x in kinds if not first.has(x)]
            sure = all(x in second.number and first.has(x) is False for x in new)
            if first is not second and sure and 1 <= len(new) <= CONTRASTED and first.number.keys() & second.number:
                instruction = _pick(gen, ("What things does the second picture show that the first does not?",
                                          "Name the things that only the second picture shows."))  # fmt: skip
                names = [many(x) if (second.number[x] or 2) > 1 else a(x) for x in new]
                return Sample(instruction, _in_a_row(2), (first, second), capital(join(names)), "phrase")
    return None


def story(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Pictures that have something in common, with their captions; the last one's is to be told."""
    told = [p for p in pool if p.captions]
    for kind in _some(gen, kinds := _kinds(told), len(kinds)):
        fit = [p for p in told if p.has(kind)]
        if len(fit) < 3:
            continue
        pictures = tuple(_some(gen, fit, int(gen.integers(3, MOST + 2))))
        captions = [_pick(gen, p.captions) for p in pictures]
        body: list[str | int] = []
        for k, text in enumerate(captions):
            body += [k, f" Caption {k + 1}: {text} " if k + 1 < len(captions) else f" Caption {k + 1}:"]
        instruction = _pick(gen, (f"A story of {many(kind)} in pictures. Finish it with the last caption.",
                                  "Each picture has its caption. Write the last one in the same manner.",
                                  "The pictures and their captions belong together. How does it go on?"))  # fmt: skip
        return Sample(instruction, tuple(body), pictures, captions[-1], "sentence")
    return None


def pattern(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Two shots with different answers, then a third picture: how many of a kind, or whether there is one."""
    by_number = bool(gen.random() < 0.5)
    for kind in _some(gen, kinds := _kinds(pool), len(kinds)):
        says = [_said(p.count(kind) if by_number else p.has(kind)) for p in pool]
        by = _by(pool, says)
        answers = _some(gen, sorted(by), 2)
        if len(answers) < 2:
            continue
        shots = [_some(gen, by[v], 1)[0] for v in answers]
        left = {v: rest for v, found in sorted(by.items()) if (rest := [p for p in found if p not in shots])}
        if not left:
            continue
        answers.append(_pick(gen, list(left)))
        pictures = (*shots, _some(gen, left[answers[2]], 1)[0])
        asked = many(kind) if by_number else f"{spoken(kind)}?"
        body = (0, f" {asked} {answers[0]}. ", 1, f" {asked} {answers[1]}. ", 2, f" {asked}")
        instruction = _pick(gen, ("Go on in the same way.", "Complete the pattern.", "Follow the examples."))
        options = tuple(str(n) for n in range(COUNTED + 1)) if by_number else ("yes", "no")
        return Sample(instruction, body, pictures, answers[2], "number" if by_number else "yes/no", options)
    return None


def _said(value: int | bool | None) -> str | None:
    return None if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def history(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Questions and answers so far, a picture each; the last question goes back to one of them."""
    pictures = tuple(_some(gen, [p for p in pool if any(p.number.values())], 3))
    if len(pictures) < 3:
        return None
    body: list[str | int] = []
    for k, picture in enumerate(pictures):
        there = [x for x in _kinds(pool) if picture.has(x)]
        gone = [x for x in _kinds(pool) if picture.has(x) is False]
        yes = not gone or gen.random() < 0.5
        asked = f" Question: Does picture {k + 1} show {a(_pick(gen, there if yes else gone))}?"
        body += [f"{' ' if k else ''}Picture {k + 1}: ", k, f"{asked} Answer: {'yes' if yes else 'no'}."]
    back = int(gen.integers(3))
    kind = _pick(gen, sorted(x for x, n in pictures[back].number.items() if n))
    body.append(f" Question: How many {many(kind)} are there in picture {back + 1}? Answer:")
    instruction = "You see pictures, and what was asked of them so far. Answer the last question."
    return Sample(instruction, tuple(body), pictures, str(pictures[back].number[kind]), "number")


def match(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Two pictures with their captions, one of them missing: which of three does it replace?"""
    told = [p for p in pool if p.captions]
    for hidden in _some(gen, told, len(told)):
        others = [p for p in told if any(hidden.has(x) is False for x in p.number)]  # they would not fit it
        if len(others) >= 3:
            beside, *wrong = _some(gen, others, 3)
            first = bool(gen.random() < 0.5)
            right, *rest = (_pick(gen, p.captions).rstrip(".") for p in (hidden, *wrong))
            captions = ["UNKNOWN", f"{_pick(gen, beside.captions)}"]
            captions = captions if first else captions[::-1]
            body = (0, f" Caption 1: {captions[0]} ", 1, f" Caption 2: {captions[1]}")
            return Sample(
                "One caption is missing. Which of the choices stands in place of UNKNOWN?", body,
                (hidden, beside) if first else (beside, hidden), right, "phrase", tuple(_some(gen, [right, *rest], 3)), listed=True,
            )  # fmt: skip
    return None


def facts(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """Prices in the text, things in the pictures: both are needed."""
    found = _split(gen, pool, 2, 1)
    if found is None:
        return None
    kind, pictures = found
    right = next(k for k, p in enumerate(pictures) if p.has(kind))
    others = [x for x in _kinds(pool) if pictures[right].has(x) is False]
    if len(others) < 2:
        return None
    listed = [kind, *_some(gen, others, 2)]
    prices = _two_digits(gen, 3)
    table = "; ".join(f"{spoken(listed[k])}: {prices[k]} coins" for k in gen.permutation(3))
    question = f" Question: One thing of the list is in picture {right + 1}. How many coins does it cost? Answer:"
    instruction = "Use the price list and the pictures to answer."
    body = (f"Price list: {table}. ", *_in_a_row(2), question)
    return Sample(instruction, body, pictures, prices[0], "number", tuple(_some(gen, prices, 3)))


def _two_digits(gen: Gen, number: int) -> tuple[str, ...]:
    return tuple(str(int(v)) for v in gen.permutation(np.arange(10, 100))[:number])


def read(gen: Gen, pool: Sequence[Shown]) -> Sample | None:
    """A number is printed on each picture: which stands on the one that shows something?"""
    found = _split(gen, pool, 2, 1)
    if found is None:
        return None
    kind, pictures = found
    labels = _two_digits(gen, 2)
    right = labels[next(k for k, p in enumerate(pictures) if p.has(kind))]
    instruction = f"Which number is printed on the picture with {a(kind)}?"
    return Sample(instruction, _in_a_row(2), pictures, right, "number", tuple(_some(gen, labels, 2)), labels)


TASKS: dict[str, Callable[[Gen, Sequence[Shown]], Sample | None]] = {
    "odd-one-out": odd_one_out, "same-or-different": same_or_different, "which-picture": which_picture,
    "order-by-count": order_by_count, "contrast": contrast, "story": story, "pattern": pattern, "history": history,
    "match": match, "facts": facts, "read": read,
}  # fmt: skip
# DEMON's categories and what trains for them; `synth difference` is a cousin of relation too
COUSINS = {
    "dialogue": ("history",), "storytelling": ("story",), "relation": ("contrast",), "cloze": ("match", "pattern"),
    "knowledge": ("facts",), "text_rich": ("read",),
    "multi_image": ("odd-one-out", "same-or-different", "which-picture", "order-by-count"),
}  # fmt: skip
