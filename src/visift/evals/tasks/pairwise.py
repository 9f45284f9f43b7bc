"""Two models' answers to the same open questions, judged side by side: the share that the candidate wins, a tie being half a win.

`--answers` are the candidate's, `--references` the other model's, `--questions` a dataset of ours or a JSON lines file of question_id,
image, text. A judge is asked in both orders; what it prefers only in one is decided by the sum of its points."""

from __future__ import annotations

from typing import Any

from visift.core.types import get
from visift.evals import judge as judging
from visift.evals import metrics, rubrics
from visift.evals.load_answers import llava, need, own_or, replies_of, rows_of
from visift.evals.task import Files, Question, Reply, Task, Verdict


def ask(files: Files) -> list[Question]:
    path, found = need(files.questions, "--questions", "the questions that both models answered"), []
    for number, row in enumerate(rows_of(path), 1):
        image, text = (get(row, k, str, f"{path}:{number}") for k in ("image", "text"))
        found.append(
            Question(str(row.get("question_id", number)), image, str(row.get("answer", "")), (), text, (image,))
        )
    return found


def other(files: Files, questions: list[Question]) -> dict[str, Reply]:
    return replies_of(need(files.references, "--references", "the answers to compare with"))


def judge(question: Question, points: Any) -> Verdict:
    """An empty answer loses."""
    theirs, ours = points or (1.0, 0.0)
    score = 0.5 if ours == theirs else float(ours > theirs)
    parts = {"n": 1.0, "won": score, "tied": float(score == 0.5)}
    return Verdict(score, f"{ours:g} against {theirs:g}", parts, points is not None)


TASK = Task(
    name="pairwise", readers={"visift": own_or(ask), "llava": llava(ask)}, parsers={"default": judging.numbers}, judge=judge,
    metrics=(metrics.rate("win_rate", "won"),), totals=(metrics.total_rate("win_rate", "won"), metrics.total_rate("tie_rate", "tied")),
    headline="win_rate", ask=ask, rubric=rubrics.COMPARED, against=other,
)  # fmt: skip
