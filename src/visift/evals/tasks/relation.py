"""Spatial relation on our own questions: yes or no, with the yes rate beside the accuracy."""

from __future__ import annotations

from dataclasses import replace

from visift.evals import metrics, questions, yes_no
from visift.evals.tasks import pope

TASK = replace(
    pope.TASK,
    name="relation",
    readers={"visift": questions.own(yes_no.gold)},
    totals=(
        metrics.total_rate("accuracy", "right"),
        metrics.total_rate("yes_rate", "yes"),
        metrics.whole(metrics.YES_NO[0]),
    ),
    headline="accuracy",
    ask=None,
)
