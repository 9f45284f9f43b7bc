"""POPE: is there a ... in the picture? Three splits (random, popular, adversarial); the published figure is the mean of their F1.

Our own existence questions are POPE too: a dataset with `meta.split`. papers.md A.4.1, A.6; pain 10.
"""

from __future__ import annotations

from typing import Any

from visift.core.errors import DataError
from visift.core.types import Conversation
from visift.evals import metrics, parse, questions
from visift.evals.task import Question, Task, Verdict


def gold(conversation: Conversation) -> str:
    label = parse.yes_no_default(conversation.reference or "")
    if label is None:
        raise DataError(
            f"reference {conversation.reference!r} is neither yes nor no", where=f"conversation {conversation.id}"
        )
    return label


def judge(question: Question, said: Any) -> Verdict:
    """A reply that says neither is wrong: a miss where yes was right, and no false alarm where no was right."""
    positive, right = question.gold == "yes", said == question.gold
    parts = {"n": 1.0, "right": float(right), "yes": float(said == "yes"), "positive": float(positive)}
    parts |= {
        "tp": float(positive and right),
        "fn": float(positive and not right),
        "fp": float(not positive and said == "yes"),
    }
    return Verdict(float(right), f"{said or 'no answer'}, truth {question.gold}", parts, said is not None)


TASK = Task(
    name="pope",
    readers={"visift": questions.own(gold)},
    parsers={name: parse.of_text(rule) for name, rule in parse.YES_NO.items()},
    judge=judge,
    metrics=metrics.YES_NO,
    totals=(
        metrics.mean_over_groups(metrics.YES_NO[0]),
        metrics.total_rate("accuracy", "right"),
        metrics.total_rate("yes_rate", "yes"),
    ),
    headline="f1",
)
