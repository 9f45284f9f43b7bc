"""Rounds that rules make from annotations. What the annotations do not know is not asked, nor what two readings answer differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from visift.core.lists import letter, with_options
from visift.synth.dialog.known import Known, Thing, at, before, larger, place_of
from visift.synth.dialog.wordings import WORDINGS
from visift.synth.dialog.words import PAIRS, a, best_captions, capital, companions, counted, join, many, stuff_words

RULES = "rules"
CAPTION, DESCRIPTION = frozenset({"caption"}), frozenset({"description"})
DIRECTIONS = (("to the left of", "to the right of"), ("above", "below"))
Gen = np.random.Generator


@dataclass(frozen=True, slots=True)
class Round:
    """A question without the wish for its form, and an answer that has the form. `facts` are what it tells; with a round that
    told something of `clash` it does not go into one dialogue. `request` is False where the question says how to answer."""

    source: str
    question: str
    answer: str
    form: str
    facts: frozenset[str] = frozenset()
    clash: frozenset[str] = frozenset()
    request: bool = True
    licence: str = ""
    group: str = ""  # rounds of one group refer to each other


def one(gen: Gen, options: Sequence[Any]) -> int:
    return int(gen.integers(len(options)))


def pick(gen: Gen, options: Sequence[Any]) -> Any:
    return options[one(gen, options)]


def say(gen: Gen, skill: str, **words: str) -> str:
    return str(pick(gen, WORDINGS[skill])).format(**words)


def is_(thing: Thing) -> str:
    return "are" if thing.name in PAIRS else "is"


def some_absent(gen: Gen, known: Known, number: int) -> list[str]:
    """Names that are surely absent, every second one likely beside what is present."""
    near = companions(frozenset(known.present))
    likely, other = [n for n in known.absent if n in near], [n for n in known.absent if n not in near]
    found: list[str] = []
    for _ in range(min(number, len(known.absent))):
        pool = likely if likely and (not other or gen.random() < 0.5) else other
        found.append(pool.pop(one(gen, pool)))
    return found


def _tell(kind: str, names: Sequence[str], question: str, answer: str, form: str) -> Round:
    """A round that tells `kind` of each of `names`, and with it that they are there. Not after that was the question itself."""
    facts = {f"{k} {n}" for n in names for k in (kind, "presence")}
    return Round(
        RULES, question, answer, form, frozenset(facts), frozenset(f"{k} {n}" for n in names for k in (kind, "asked"))
    )


def _compare(kind: str, things: Sequence[Thing], question: str, answer: str, form: str) -> Round:
    """A round about several things at once."""
    fact = f"{kind} {' '.join(sorted(t.name for t in things))}"
    return Round(
        RULES, question, answer, form, frozenset({fact, *(f"presence {t.name}" for t in things)}), frozenset({fact})
    )


def _whether(names: Sequence[str], question: str, answer: str, form: str, kind: str = "asked") -> Round:
    """A round that asks whether each of `names` is there: not where anything told it already."""
    facts = frozenset(f"{k} {n}" for n in names for k in ("asked", "presence", kind))
    return Round(RULES, question, answer, form, facts, facts)


# --- counting


def count(gen: Gen, known: Known) -> Round | None:
    """Of something absent, one time in eight; never instead of something present that was told already."""
    new = [(n, k) for n, k in sorted(known.counts.items()) if not {f"count {n}", f"asked {n}"} & known.told]
    if not new:
        return None
    name, number = pick(gen, new)
    if known.absent and gen.random() < 1 / 8:
        name, number = some_absent(gen, known, 1)[0], 0
        if name in PAIRS:
            return None
    question = say(gen, "count", names=many(name))
    return _tell("count", [name], question, str(number), "number")


def count_sentence(gen: Gen, known: Known) -> Round | None:
    if not known.counts:
        return None
    name, number = pick(gen, sorted(known.counts.items()))
    question = say(gen, "count_sentence", names=many(name))
    verb = "is" if number == 1 else "are"
    return _tell("count", [name], question, f"There {verb} {counted(name, number)} in the picture.", "sentence")


def count_list(gen: Gen, known: Known) -> Round | None:
    if len(known.counts) < 2:
        return None
    names = [sorted(known.counts)[int(k)] for k in gen.permutation(len(known.counts))[:4]]
    asked = join([many(n) for n in names])
    question = say(gen, "count_list", names=asked)
    answer = "\n".join(f"- {many(n)}: {known.counts[n]}" for n in names)
    return _tell("count", names, question, answer, "list")


def count_choice(gen: Gen, known: Known) -> Round | None:
    if not known.counts:
        return None
    name, number = pick(gen, sorted(known.counts.items()))
    others = [k for k in range(1, number + 5) if k != number]
    numbers = [number, *(others[int(k)] for k in gen.permutation(len(others))[:3])]
    options = [str(numbers[int(k)]) for k in gen.permutation(4)]
    question = say(gen, "count_choice", names=many(name))
    return _tell("count", [name], with_options(question, options), letter(options.index(str(number))), "letter")


# --- presence


def _presence(gen: Gen, known: Known) -> tuple[str, str, bool] | None:
    """What (with its article), its name, and whether it is there. Asked only where yes and no are both possible, so that
    half of the answers are yes."""
    stuff = [n for n in known.stuff if f"presence {n}" not in known.told]
    yes = bool(gen.random() < 0.5)
    if stuff and known.absent_stuff and gen.random() < 0.4:
        name = pick(gen, stuff if yes else known.absent_stuff)
        return stuff_words(name)[0], name, yes
    if not known.unmentioned or not known.absent:
        return None
    name = pick(gen, known.unmentioned) if yes else some_absent(gen, known, 1)[0]
    return a(name), name, yes


def presence(gen: Gen, known: Known) -> Round | None:
    found = _presence(gen, known)
    if found is None:
        return None
    what, name, yes = found
    be = "Are" if name in PAIRS or what.endswith(("trees", "tracks", "flowers", "stairs")) else "Is"
    question = say(gen, "presence", be=be, what=what)
    return _whether([name], question, "yes" if yes else "no", "yes/no")


def presence_sentence(gen: Gen, known: Known) -> Round | None:
    found = _presence(gen, known)
    if found is None:
        return None
    what, name, yes = found
    question = say(gen, "presence_sentence", what=what)
    if name in PAIRS or what.endswith(("trees", "tracks", "flowers", "stairs")):
        question = f"Can you find {what} in the picture?"
    answer = f"Yes, the picture shows {what}." if yes else f"No, I cannot see {what} in the picture."
    return _whether([name], question, answer, "sentence")


def which_choice(gen: Gen, known: Known) -> Round | None:
    """Which of four is in the picture."""
    found = _which(gen, known)
    return found and _whether([found[2]], found[0], letter(found[1]), "letter")


def which_reason(gen: Gen, known: Known) -> Round | None:
    """Where the number is known too, it is the reason."""
    found = _which(gen, known)
    if found is None or found[2] not in known.counts:
        return None
    number = known.counts[found[2]]
    why = f"The picture shows {counted(found[2], number)} and none of the others."
    return _whether([found[2]], found[0], f"{letter(found[1])}. {why}", "letter + reason", "count")


def _which(gen: Gen, known: Known) -> tuple[str, int, str] | None:
    if not known.present or len(known.absent) < 3:
        return None
    name = pick(gen, sorted(known.present))
    place = one(gen, range(4))
    names = some_absent(gen, known, 3)
    names.insert(place, name)
    question = say(gen, "which")
    return with_options(question, [a(n) for n in names]), place, name


def which_list(gen: Gen, known: Known) -> Round | None:
    """Which of some names are in the picture: two to four are, two or three are not."""
    if len(known.present) < 2 or len(known.absent) < 2:
        return None
    there = [sorted(known.present)[int(k)] for k in gen.permutation(len(known.present))[: int(gen.integers(2, 5))]]
    asked = [*there, *some_absent(gen, known, int(gen.integers(2, 4)))]
    asked = [asked[int(k)] for k in gen.permutation(len(asked))]
    names = join([a(n) for n in asked], "or")
    question = say(gen, "which_list", names=names)
    answer = "\n".join(f"- {a(n)}" for n in asked if n in known.present)
    return _whether(asked, question, answer, "list")


# --- place and direction


def _placed(gen: Gen, known: Known) -> tuple[Thing, str] | None:
    found = [(t, p) for t in known.objects if (p := place_of(t))]
    return pick(gen, found) if found else None


def place(gen: Gen, known: Known) -> Round | None:
    found = _placed(gen, known)
    if found is None:
        return None
    thing, where = found
    be = is_(thing)
    question = say(gen, "place", be=be, the=thing.the)
    return _tell("place", [thing.name], question, where, "phrase")


def place_sentence(gen: Gen, known: Known) -> Round | None:
    found = _placed(gen, known)
    if found is None:
        return None
    thing, where = found
    be = is_(thing)
    question = say(gen, "place_sentence", be=be, the=thing.the)
    return _tell("place", [thing.name], question, f"{capital(thing.the)} {be} {at(where)} of the picture.", "sentence")


def place_choice(gen: Gen, known: Known) -> Round | None:
    """Which of several things is at a place, where the others surely are not."""
    found = [(t, p) for t in known.objects if (p := place_of(t))]
    by_place = Counter(p for _, p in found)
    alone = [(t, p) for t, p in found if by_place[p] == 1]
    if len(found) < 2 or not alone:
        return None
    thing, where = pick(gen, alone)
    others = [t for t, _ in found if t is not thing]
    names = [others[int(k)] for k in gen.permutation(len(others))[:3]]
    at_ = one(gen, range(len(names) + 1))
    names.insert(at_, thing)
    question = say(gen, "place_choice", at=at(where))
    return _tell("place", [thing.name], with_options(question, [t.the for t in names]), letter(at_), "letter")


def box(gen: Gen, known: Known) -> Round | None:
    found = [t for t in known.objects if min(t.box[2] - t.box[0], t.box[3] - t.box[1]) >= 0.03]
    if not found:
        return None
    thing = pick(gen, found)
    be = is_(thing)
    question = say(gen, "box", be=be, the=thing.the)
    answer = f"[{', '.join(f'{v:.2f}' for v in thing.box)}]"
    return _tell("box", [thing.name], question, answer, "coordinates")


def _pair(gen: Gen, known: Known) -> tuple[Thing, Thing, int] | None:
    pairs = [(x, y, axis) for x, y in permutations(known.objects, 2) for axis in (0, 1) if before(x, y, axis)]
    return pick(gen, pairs) if pairs else None


def direction(gen: Gen, known: Known) -> Round | None:
    """Half yes, half no."""
    found = _pair(gen, known)
    if found is None:
        return None
    first, second, axis = found
    yes, turned = (bool(gen.random() < 0.5) for _ in range(2))
    word = DIRECTIONS[axis][turned]
    x, y = (first, second) if yes != turned else (second, first)
    question = say(gen, "direction", x=x.the, word=word, y=y.the)
    return _compare(f"direction {axis}", [x, y], question, "yes" if yes else "no", "yes/no")


def direction_sentence(gen: Gen, known: Known) -> Round | None:
    found = _pair(gen, known)
    if found is None:
        return None
    first, second, axis = found
    x, y, word = (first, second, DIRECTIONS[axis][0]) if gen.random() < 0.5 else (second, first, DIRECTIONS[axis][1])
    question = say(gen, ("beside", "above")[axis], x=x.the, y=y.the)
    answer = f"{capital(x.the)} {is_(x)} {word} {y.the}."
    return _compare(f"direction {axis}", [x, y], question, answer, "sentence")


def direction_reason(gen: Gen, known: Known) -> Round | None:
    """Which of two is further to one side; the reason says where both are."""
    pairs = [
        (x, y)
        for x, y in permutations(known.objects, 2)
        if before(x, y, 0) and place_of(x) and place_of(y) and place_of(x) != place_of(y)
    ]
    if not pairs:
        return None
    left, right = pick(gen, pairs)
    side = one(gen, range(2))
    right_one = (left, right)[side]
    names = [left, right] if gen.random() < 0.5 else [right, left]
    question = with_options(f"Which is further to the {('left', 'right')[side]}?", [t.the for t in names])
    where = [f"{t.the} {is_(t)} {at(place_of(t) or '')} of the picture" for t in names]
    answer = f"{letter(names.index(right_one))}. {capital(where[0])}, {where[1]}."
    return _compare("direction 0", names, question, answer, "letter + reason")


# --- size


def _sizes(gen: Gen, known: Known, number: int) -> tuple[list[Thing], Thing, bool] | None:
    """`number` things, the one that is clearly the largest or smallest of them, and which of the two it is."""
    if len(known.things) < number:
        return None
    things = [known.things[int(k)] for k in gen.permutation(len(known.things))[:number]]
    big = bool(gen.random() < 0.5)
    for thing in things:
        others = [t for t in things if t is not thing]
        if all(larger(thing, t) if big else larger(t, thing) for t in others):
            return things, thing, big
    return None


def size(gen: Gen, known: Known) -> Round | None:
    """The largest or smallest of two to four, as it is seen."""
    found = _sizes(gen, known, int(gen.integers(2, 5)))
    if found is None:
        return None
    things, thing, big = found
    names = join([t.the for t in things], "or" if len(things) == 2 else "and")
    two = len(things) == 2
    word = ("more" if big else "less") if two else ("most" if big else "least")
    question = say(gen, "size_of_two" if two else "size_of_several", names=names, word=word)
    return _compare("size", things, question, thing.the, "phrase")


def size_sentence(gen: Gen, known: Known) -> Round | None:
    found = _sizes(gen, known, 2)
    if found is None:
        return None
    things, thing, big = found
    other = next(t for t in things if t is not thing)
    word = "more" if big else "less"
    question = say(gen, "size_sentence", word=word, x=things[0].the, y=things[1].the)
    verb = "cover" if thing.name in PAIRS else "covers"
    return _compare(
        "size", things, question, f"{capital(thing.the)} {verb} {word} of the picture than {other.the}.", "sentence"
    )


def size_reason(gen: Gen, known: Known) -> Round | None:
    """The reason says how much of the picture each covers; only where masks say it."""
    found = _sizes(gen, known, int(gen.integers(2, 4)))
    if found is None or not all(t.outlined for t in found[0]):
        return None
    things, thing, big = found
    word = "most" if big else "least"
    question = (
        f"Which of these covers the {word} of the picture?"
        if len(things) > 2
        else f"Which of the two covers {'more' if big else 'less'} of the picture?"
    )
    shares = [f"{t.the} {share(t.area)}" for t in things]
    verb = "cover" if things[0].name in PAIRS else "covers"
    why = capital(f"{things[0].the} {verb} {share(things[0].area)}, {join(shares[1:])}.")
    return _compare(
        "size",
        things,
        with_options(question, [t.the for t in things]),
        f"{letter(things.index(thing))}. {why}",
        "letter + reason",
    )


def share(area: float) -> str:
    return f"about {round(100 * area)} %" if area >= 0.02 else f"about {100 * area:.1f} %"


# --- looks


def colour(gen: Gen, known: Known) -> Round | None:
    """Where regions carry a colour: of a thing that is alone in its category."""
    found = [r for r in known.scene.regions if "colour" in r.attributes and known.present.get(r.category) == 1]
    if not found:
        return None
    region = pick(gen, found)
    question = say(gen, "colour", name=region.category)
    return _tell("colour", [region.category], question, region.attributes["colour"], "phrase")


def colour_sentence(gen: Gen, known: Known) -> Round | None:
    found = colour(gen, known)
    if found is None:
        return None
    name = next(f for f in found.facts if f.startswith("colour ")).removeprefix("colour ")
    return replace(found, answer=f"The colour of the {name} is {found.answer}.", form="sentence")


def caption(gen: Gen, known: Known) -> Round | None:
    found = best_captions(known.scene.captions)
    if not found:
        return None
    question = say(gen, "caption")
    return Round(RULES, question, found[0], "sentence", CAPTION, CAPTION)


def description(gen: Gen, known: Known) -> Round | None:
    """A caption (not the best one, which may stand alone), then what can be counted, placed and compared."""
    captions = best_captions(known.scene.captions)
    said = [captions[1 % len(captions)]] if captions else []
    areas = Counter()  # type: ignore[var-annotated]
    for region in known.scene.regions:
        areas[region.category] += region.box[2] * region.box[3]
    names = [n for n, _ in areas.most_common() if n in known.counts][:4]
    if names:
        verb = "is" if known.counts[names[0]] == 1 else "are"
        said.append(f"There {verb} {join([counted(n, known.counts[n]) for n in names])}.")
    placed = [(t, p) for t in known.objects if (p := place_of(t))][:2]
    said += [f"{capital(t.the)} {is_(t)} {at(p)} of the picture." for t, p in placed]
    if found := direction_sentence(gen, known):
        said.append(found.answer)
    if len(said) < 3:
        return None
    question = say(gen, "description")
    return Round(RULES, question, " ".join(said), "paragraph", DESCRIPTION, DESCRIPTION)


Maker = Callable[[Gen, Known], Round | None]
MAKERS: dict[str, tuple[Maker, ...]] = {  # form -> what makes rounds of it
    "phrase": (place, size, colour),
    "number": (count,),
    "yes/no": (presence, direction),
    "letter": (count_choice, which_choice, place_choice),
    "letter + reason": (which_reason, direction_reason, size_reason),
    "sentence": (caption, count_sentence, presence_sentence, place_sentence, direction_sentence, size_sentence, colour_sentence),
    "paragraph": (description,),
    "list": (count_list, which_list),
    "coordinates": (box,),
}  # fmt: skip


def draw(gen: Gen, known: Known, per_form: int) -> list[Round]:
    """Up to `per_form` rounds of every form, no two of which tell the same. Forms and their makers take turns in random order."""
    rounds: list[Round] = []
    for _ in range(per_form):
        for form in gen.permutation(sorted(MAKERS)):
            makers = MAKERS[str(form)]
            for k in gen.permutation(len(makers)):
                found = next(
                    (r for _ in range(3) if (r := makers[int(k)](gen, known)) and not r.clash & known.told), None
                )
                if found:
                    known.told |= found.facts
                    rounds.append(found)
                    break
    return rounds
