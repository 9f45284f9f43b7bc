"""A round of a dialogue, and what every maker of rounds needs to put one into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visift.synth.dialog.known import Known, Thing
from visift.synth.dialog.wordings import WORDINGS
from visift.synth.dialog.words import PAIRS, companions

RULES = "rules"
Gen = np.random.Generator


@dataclass(frozen=True, slots=True)
class Round:
    """A question without the wish for its form, and an answer that has the form. `facts` are what it tells; with a round that
    told something of `clash` it does not go into one dialogue. `hints` are told in passing: what asks for them comes before it.
    `request` is False where the question says how to answer."""

    source: str
    question: str
    answer: str
    form: str
    facts: frozenset[str] = frozenset()
    clash: frozenset[str] = frozenset()
    hints: frozenset[str] = frozenset()
    request: bool = True
    licence: str = ""
    teacher: str = ""  # whose words the answer is in, where not the rules'
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


def tell(kind: str, names: Sequence[str], question: str, answer: str, form: str) -> Round:
    """A round that tells `kind` of each of `names`, and with it that they are there. Not after that was the question itself."""
    facts = {f"{k} {n}" for n in names for k in (kind, "presence")}
    return Round(
        RULES, question, answer, form, frozenset(facts), frozenset(f"{k} {n}" for n in names for k in (kind, "asked"))
    )


def compare(kind: str, things: Sequence[Thing], question: str, answer: str, form: str) -> Round:
    """A round about several things at once."""
    fact = f"{kind} {' '.join(sorted(t.name for t in things))}"
    return Round(
        RULES, question, answer, form, frozenset({fact, *(f"presence {t.name}" for t in things)}), frozenset({fact})
    )


def whether(names: Sequence[str], question: str, answer: str, form: str, kind: str = "asked") -> Round:
    """A round that asks whether each of `names` is there: not where anything told it already."""
    facts = frozenset(f"{k} {n}" for n in names for k in ("asked", "presence", kind))
    return Round(RULES, question, answer, form, facts, facts)
