"""Tasks whose answer is a word or a number: right when reply and reference agree after plain normalisation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from visift.evals import metrics, parse, questions
from visift.evals.task import Question, Task, Verdict


def judge(question: Question, said: Any) -> Verdict:
    right = said is not None and said == parse.plain(question.gold)
    return Verdict(
        float(right),
        f"{str(said)[:80] or 'no answer'}, truth {question.gold}",
        {"n": 1.0, "right": float(right)},
        said is not None,
    )


def read(question: Question, text: str) -> str | None:
    return parse.plain(text) or None


def majority(asked: list[Question]) -> dict[str, float]:
    """What the best constant answer would score."""
    common = Counter(parse.plain(q.gold) for q in asked).most_common(1)
    return {"majority": common[0][1] / len(asked)} if common else {}


def task(name: str) -> Task:
    return Task(
        name=name, readers={"visift": questions.own()}, parsers={"default": read}, judge=judge, metrics=metrics.ACCURACY,
        totals=metrics.TOTAL_ACCURACY, headline="accuracy", baselines=majority,
    )  # fmt: skip
