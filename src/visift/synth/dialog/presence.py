"""Rounds about what is there and how many of it."""

from __future__ import annotations

from visift.core.lists import letter, with_options
from visift.synth.dialog.known import Known
from visift.synth.dialog.rounds import Gen, Round, one, pick, say, some_absent, tell, whether
from visift.synth.dialog.words import PAIRS, a, counted, join, many, stuff_words

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
    return tell("count", [name], question, str(number), "number")


def count_sentence(gen: Gen, known: Known) -> Round | None:
    if not known.counts:
        return None
    name, number = pick(gen, sorted(known.counts.items()))
    question = say(gen, "count_sentence", names=many(name))
    verb = "is" if number == 1 else "are"
    return tell("count", [name], question, f"There {verb} {counted(name, number)} in the picture.", "sentence")


def count_list(gen: Gen, known: Known) -> Round | None:
    if len(known.counts) < 2:
        return None
    names = [sorted(known.counts)[int(k)] for k in gen.permutation(len(known.counts))[:4]]
    asked = join([many(n) for n in names])
    question = say(gen, "count_list", names=asked)
    answer = "\n".join(f"- {many(n)}: {known.counts[n]}" for n in names)
    return tell("count", names, question, answer, "list")


def count_choice(gen: Gen, known: Known) -> Round | None:
    if not known.counts:
        return None
    name, number = pick(gen, sorted(known.counts.items()))
    others = [k for k in range(1, number + 5) if k != number]
    numbers = [number, *(others[int(k)] for k in gen.permutation(len(others))[:3])]
    options = [str(numbers[int(k)]) for k in gen.permutation(4)]
    question = say(gen, "count_choice", names=many(name))
    return tell("count", [name], with_options(question, options), letter(options.index(str(number))), "letter")


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
    return whether([name], question, "yes" if yes else "no", "yes/no")


def presence_sentence(gen: Gen, known: Known) -> Round | None:
    found = _presence(gen, known)
    if found is None:
        return None
    what, name, yes = found
    question = say(gen, "presence_sentence", what=what)
    if name in PAIRS or what.endswith(("trees", "tracks", "flowers", "stairs")):
        question = f"Can you find {what} in the picture?"
    answer = f"Yes, the picture shows {what}." if yes else f"No, I cannot see {what} in the picture."
    return whether([name], question, answer, "sentence")


def which_choice(gen: Gen, known: Known) -> Round | None:
    """Which of four is in the picture."""
    found = _which(gen, known)
    return found and whether([found[2]], found[0], letter(found[1]), "letter")


def which_reason(gen: Gen, known: Known) -> Round | None:
    """Where the number is known too, it is the reason."""
    found = _which(gen, known)
    if found is None or found[2] not in known.counts:
        return None
    number = known.counts[found[2]]
    why = f"The picture shows {counted(found[2], number)} and none of the others."
    return whether([found[2]], found[0], f"{letter(found[1])}. {why}", "letter + reason", "count")


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
    return whether(asked, question, answer, "list")
