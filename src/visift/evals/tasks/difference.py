"""What changed between two pictures, on our own difference pairs: which words that name the changed thing a reply says.

The truth is the words of the edit record that the reference says (`the large red star is gone`: large, red, star); of a reply,
the words are read that name anything in the question set. `accuracy`: both are the same, and an unchanged pair is called
unchanged. `f1` is over all words. What happened to the thing is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from visift.core.types import get
from visift.evals import metrics, parse, questions
from visift.evals.task import Files, Metric, Question, Rows, Task, Verdict

NOTHING = re.compile(r"\b(nothing|no|same)\b")
NAMES = ("before", "after", "adjective")


def gold(reference: str, meta: Mapping[str, Any], where: str) -> tuple[set[str], set[str]]:
    """Words of the records' names that the reference says, and all words of their names."""
    edits = get(meta, "edits", list, where)
    names = set(parse.plain(" ".join(str(e[k]) for e in edits for k in NAMES if k in e)).split())
    return names & set(parse.plain(reference).split()), names


def read(files: Files) -> Rows:
    rows = questions.own(gold)(files)
    vocabulary = set().union(*(q.gold[1] for q in rows.questions))
    rows.questions = [replace(q, gold=(q.gold[0], vocabulary)) for q in rows.questions]
    return rows


def judge(question: Question, said: Any) -> Verdict:
    truth, vocabulary = question.gold
    named = set((said or "").split()) & vocabulary
    right = named == truth and bool(truth or NOTHING.search(said or ""))
    parts = {"n": 1.0, "right": float(right), "hit": len(named & truth), "named": len(named), "truth": len(truth)}
    wanted = " ".join(sorted(truth)) or "no change"
    return Verdict(
        float(right), f"{' '.join(sorted(named)) or 'names nothing'}, truth {wanted}", parts, said is not None
    )


F1 = Metric("f1", lambda s: metrics.ratio(2 * s["hit"], s["named"] + s["truth"]))
TASK = Task(
    name="difference", readers={"visift": read}, parsers={"default": lambda q, text: parse.plain(text) or None}, judge=judge,
    metrics=(*metrics.ACCURACY, F1), totals=(*metrics.TOTAL_ACCURACY, metrics.whole(F1)), headline="f1",
)  # fmt: skip
