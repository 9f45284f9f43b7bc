"""LLaVA-Bench (in the wild, COCO): a judge gives points to a reference answer and to the candidate; the figure is the candidate's mean over the
reference's, both rounded to three decimals first, as published. Failed verdicts ([-1, -1]) are unscored, never averaged in."""

from __future__ import annotations

from typing import Any

import numpy as np

from visift.core.errors import DataError
from visift.core.types import get
from visift.evals.load_answers import recipe_of, rows_of
from visift.evals.metrics import ratio, whole
from visift.evals.task import Files, Metric, Question, Reply, Rows, Sums, Task, Verdict


def ask(files: Files) -> list[Question]:
    """Questions of LLaVA-Bench's questions.jsonl."""
    if files.questions is None:
        return []
    found = []
    for number, row in enumerate(rows_of(files.questions), 1):
        where = f"{files.questions}:{number}"
        image, text = (get(row, k, str, where) for k in ("image", "text"))
        group = (str(row["category"]),) if row.get("category") else ()
        found.append(Question(str(get(row, "question_id", int, where)), image, "", group, text, (image,)))
    return found


def read_reviews(files: Files) -> Rows:
    """Every review counts, also several of one question. The question file, where given, says which questions share a picture."""
    asked = {q.id: q for q in ask(files)}
    rows = Rows([], {})
    for number, row in enumerate(rows_of(files.answers), 1):
        where = f"{files.answers}:{number}"
        name = str(get(row, "question_id", int, where))
        pair = row.get("tuple", row.get("score"))
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, int | float) for p in pair):
            raise DataError("has no pair of points (field 'tuple')", where=where)
        key = name if name not in rows.replies else f"{name} #{number}"
        group = (str(row["category"]),) if row.get("category") else ()
        rows.questions.append(Question(key, asked[name].cluster if name in asked else name, "", group))
        rows.replies[key] = Reply(f"{pair[0]!r} {pair[1]!r}", "" if min(pair) >= 0 else "failed verdict")
    reviewed = {q.id.split(" #")[0] for q in rows.questions}
    rows.questions += [q for q in asked.values() if q.id not in reviewed]
    rows.recipe = recipe_of(rows.questions, "as reviewed")
    return rows


def judge(question: Question, points: Any) -> Verdict:
    """An item's own score is the candidate's points of ten."""
    parts = {"n": 1.0, "reference": points[0], "candidate": points[1]}
    return Verdict(points[1] / 10, f"{points[1]:g} against {points[0]:g}", parts)


def relative(s: Sums) -> np.ndarray:
    reference, candidate = (np.round(ratio(s[part], s["n"]), 3) for part in ("reference", "candidate"))
    return ratio(candidate, reference)


RELATIVE = Metric("relative", relative)
TASK = Task(
    name="llava-bench-wild", readers={"llava-reviews": read_reviews},
    parsers={"default": lambda question, text: [float(s) for s in text.split()]},
    judge=judge, metrics=(RELATIVE,), totals=(whole(RELATIVE),), headline="relative", ask=ask,
)  # fmt: skip
