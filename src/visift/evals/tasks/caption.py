"""Captions that list things ("a large red circle, a small blue star and ..."): which of the things named in the truth are named in the reply."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from visift.evals import metrics, parse, questions
from visift.evals.task import Question, Task, Verdict


def items(text: str) -> Counter[str]:
    """The things of a list, split at commas, `and` and full stops."""
    names = (parse.plain(piece) for piece in re.split(r",|\.|;|\n|\band\b", text[: 50 * parse.HEAD]))
    return Counter(name for name in names if name)


def judge(question: Question, said: Any) -> Verdict:
    truth, named = items(question.gold), said or Counter()
    hit = sum((truth & named).values())
    parts = {"n": 1.0, "recall": hit / max(truth.total(), 1), "hit": float(hit), "named": float(named.total())}
    return Verdict(parts["recall"], f"{hit} of {truth.total()} named, {named.total()} said", parts, said is not None)


TASK = Task(
    name="caption",
    readers={"visift": questions.own()},
    parsers={"default": lambda q, text: items(text) or None},
    judge=judge,
    metrics=(metrics.rate("recall", "recall"), metrics.rate("precision", "hit", "named")),
    totals=(metrics.total_rate("recall", "recall"), metrics.total_rate("precision", "hit", "named")),
    headline="recall",
)
