"""Rounds about where things are and how large they look."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

from visift.core.lists import letter, with_options
from visift.synth.dialog.known import Known, Thing, at, before, column, larger, place_of
from visift.synth.dialog.rounds import Gen, Round, compare, is_, one, pick, say, tell
from visift.synth.dialog.words import PAIRS, capital, join

DIRECTIONS = (("to the left of", "to the right of"), ("above", "below"))


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
    return tell("place", [thing.name], question, where, "phrase")


def place_sentence(gen: Gen, known: Known) -> Round | None:
    found = _placed(gen, known)
    if found is None:
        return None
    thing, where = found
    be = is_(thing)
    question = say(gen, "place_sentence", be=be, the=thing.the)
    return tell("place", [thing.name], question, f"{capital(thing.the)} {be} {at(where)} of the picture.", "sentence")


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
    return tell("place", [thing.name], with_options(question, [t.the for t in names]), letter(at_), "letter")


def box(gen: Gen, known: Known) -> Round | None:
    found = [t for t in known.objects if min(t.box[2] - t.box[0], t.box[3] - t.box[1]) >= 0.03]
    if not found:
        return None
    thing = pick(gen, found)
    be = is_(thing)
    question = say(gen, "box", be=be, the=thing.the)
    answer = f"[{', '.join(f'{v:.2f}' for v in thing.box)}]"
    return tell("box", [thing.name], question, answer, "coordinates")


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
    return compare(f"direction {axis}", [x, y], question, "yes" if yes else "no", "yes/no")


def direction_sentence(gen: Gen, known: Known) -> Round | None:
    found = _pair(gen, known)
    if found is None:
        return None
    first, second, axis = found
    x, y, word = (first, second, DIRECTIONS[axis][0]) if gen.random() < 0.5 else (second, first, DIRECTIONS[axis][1])
    question = say(gen, ("beside", "above")[axis], x=x.the, y=y.the)
    answer = f"{capital(x.the)} {is_(x)} {word} {y.the}."
    return compare(f"direction {axis}", [x, y], question, answer, "sentence")


def direction_reason(gen: Gen, known: Known) -> Round | None:
    """Which of two is further to one side; the reason says where both are."""
    pairs = [
        (x, y)
        for x, y in permutations(known.objects, 2)
        if before(x, y, 0) and (p := place_of(x)) and (q := place_of(y)) and column(p) != column(q)
    ]
    if not pairs:
        return None
    left, right = pick(gen, pairs)
    side = one(gen, range(2))
    right_one = (left, right)[side]
    names = [left, right] if gen.random() < 0.5 else [right, left]
    question = with_options(say(gen, "further", side=("left", "right")[side]), [t.the for t in names])
    where = [f"{t.the} {is_(t)} {at(place_of(t) or '')}" for t in names]
    answer = f"{letter(names.index(right_one))}. {capital(where[0])}, {where[1]}."
    return compare("direction 0", names, question, answer, "letter + reason")


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


def _size_words(number: int, big: bool) -> tuple[str, str]:
    """How `number` things are compared: the skill's name and `more`, `less`, `most` or `least`."""
    if number == 2:
        return "size_of_two", "more" if big else "less"
    return "size_of_several", "most" if big else "least"


def size(gen: Gen, known: Known) -> Round | None:
    """The largest or smallest of two to four, as it is seen."""
    found = _sizes(gen, known, int(gen.integers(2, 5)))
    if found is None:
        return None
    things, thing, big = found
    names = join([t.the for t in things], "or" if len(things) == 2 else "and")
    skill, word = _size_words(len(things), big)
    question = say(gen, skill, names=names, word=word)
    return compare("size", things, question, thing.the, "phrase")


def size_sentence(gen: Gen, known: Known) -> Round | None:
    found = _sizes(gen, known, 2)
    if found is None:
        return None
    things, thing, big = found
    other = next(t for t in things if t is not thing)
    word = "more" if big else "less"
    question = say(gen, "size_sentence", word=word, x=things[0].the, y=things[1].the)
    verb = "cover" if thing.name in PAIRS else "covers"
    return compare(
        "size", things, question, f"{capital(thing.the)} {verb} {word} of the picture than {other.the}.", "sentence"
    )


def size_reason(gen: Gen, known: Known) -> Round | None:
    """The reason says how much of the picture each covers; only where masks say it."""
    found = _sizes(gen, known, int(gen.integers(2, 4)))
    if found is None or not all(t.outlined for t in found[0]):
        return None
    things, thing, big = found
    skill, word = _size_words(len(things), big)
    question = say(gen, f"{skill}_options", word=word)
    shares = [f"{t.the} {share(t.area)}" for t in things]
    verb = "cover" if things[0].name in PAIRS else "covers"
    why = capital(f"{things[0].the} {verb} {share(things[0].area)}, {join(shares[1:])}.")
    return compare(
        "size",
        things,
        with_options(question, [t.the for t in things]),
        f"{letter(things.index(thing))}. {why}",
        "letter + reason",
    )


def share(area: float) -> str:
    return f"about {round(100 * area)} %" if area >= 0.02 else f"about {100 * area:.1f} %"
