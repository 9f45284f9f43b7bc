"""What judges are asked: a grade of one answer against the truth (MM-Vet), and points for two answers to one question (LLaVA-Bench, pairwise)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from visift.evals.judge import Rubric, likeness
from visift.evals.task import Question


def alternatives(truth: str) -> list[list[str]]:
    """MM-Vet's truths: `<OR>` parts alternatives, `<AND>` what one of them must all hold."""
    return [[part.strip() for part in choice.split("<AND>")] for choice in truth.split("<OR>")]


def _one(question: Question, answer: str, _: str) -> Mapping[str, Any]:
    return {"question": question.asked, "truth": alternatives(question.gold), "answer": answer}


def _grade(question: Question, answer: str) -> float:
    """The best alternative's mean likeness, cut to tenths as the published grades are."""
    found = [[likeness(part, answer) for part in choice] for choice in alternatives(question.gold)]
    return math.floor(max(sum(c) / len(c) for c in found) * 10 + 1e-9) / 10


GRADED = Rubric(
    name="graded/1", keys=("score",), low=0.0, high=1.0, shown=_one, rule=_grade,
    system="""You grade an answer to a question about a picture that you cannot see. `truth` lists alternatives, each a list of elements: the
answer is totally right (1.0) when all elements of any one alternative are in it, totally wrong (0.0) when none is, and in between it gets
the share that is right, in steps of 0.1. Wording does not matter, meaning does.""",
)  # fmt: skip


def truth_of(question: Question) -> str:
    """The reference answer: the truth itself, or what stands beside the context."""
    gold = question.gold
    return str(gold.get("reference") or "") if isinstance(gold, Mapping) else str(gold or "")


def _two(question: Question, first: str, second: str) -> Mapping[str, Any]:
    context = question.gold.get("context") if isinstance(question.gold, Mapping) else ""
    return {"question": question.asked, "first": first, "second": second} | ({"context": context} if context else {})


def _points(question: Question, answer: str) -> float | None:
    return 10 * likeness(truth, answer) if (truth := truth_of(question)) else None


COMPARED = Rubric(
    name="compared/1", keys=("first", "second"), low=0.0, high=10.0, shown=_two, rule=_points,
    system="""You compare two answers, `first` and `second`, to a question about a picture that you cannot see; what is known of it stands in
`context`, where there is one. Give each answer 1 to 10 points for helpfulness, relevance, accuracy and detail. The order in which they
stand says nothing about them, nor does their length.""",
)  # fmt: skip
