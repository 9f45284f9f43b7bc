"""LLaVA-Bench (in the wild, COCO): a judge gives points to a reference answer and to the candidate; the figure is the candidate's mean over the
reference's, both rounded to three decimals first, as published. Failed verdicts ([-1, -1]) are unscored, never averaged in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from visift.core.errors import DataError
from visift.core.types import get
from visift.evals import judge as judging
from visift.evals import rubrics
from visift.evals.load_answers import llava, need, own_or, recipe_of, replies_of, rows_of
from visift.evals.metrics import ratio, whole
from visift.evals.task import Files, Metric, Question, Reply, Rows, Sums, Task, Verdict


def ask(files: Files) -> list[Question]:
    """Questions of LLaVA-Bench's questions.jsonl. The references are GPT-4's answers, or the folder that holds them and the context."""
    if files.questions is None:
        return []
    folder = files.references
    context, said = contexts(folder), replies_of(answers_in(folder)) if folder else {}
    found = []
    for number, row in enumerate(rows_of(files.questions), 1):
        where = f"{files.questions}:{number}"
        image, text = (get(row, k, str, where) for k in ("image", "text"))
        name, group = str(get(row, "question_id", int, where)), (str(row["category"]),) if row.get("category") else ()
        gold = {"reference": said[name].text if name in said else "", "context": context.get(image, "")}
        found.append(Question(name, image, gold, group, text, (image,)))
    return found


def answers_in(path: Path) -> Path:
    found = sorted(path.glob("*gpt4*.jsonl")) if path.is_dir() else [path]
    if not found:
        raise DataError("holds no reference answers (*gpt4*.jsonl)", where=path)
    return found[0]


def contexts(path: Path | None) -> dict[str, str]:
    """What is known of each picture: its caption, or its captions and boxes."""
    found = {}
    for file in (
        sorted([*path.glob("context*.jsonl"), *path.glob("caps_boxes*.jsonl")]) if path and path.is_dir() else []
    ):
        for row in rows_of(file):
            boxes = [f"{i['category']}: {i['bbox']}" for i in row.get("instances", [])]
            found[str(row.get("image"))] = "\n".join(
                [str(row.get("caption") or ""), *row.get("captions", []), *boxes]
            ).strip()
    return found


def references(files: Files, questions: list[Question]) -> dict[str, Reply]:
    return {q.id: Reply(q.gold["reference"], "" if q.gold["reference"] else "no reference answer") for q in questions}


def read_llava(files: Files) -> Rows:
    need(files.questions, "--questions", "LLaVA-Bench's questions.jsonl")
    return llava(ask)(files)


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
    """An item's own score is the candidate's points of ten. An empty answer has none, beside a reference with all ten."""
    reference, candidate = points or (10.0, 0.0)
    parts = {"n": 1.0, "reference": reference, "candidate": candidate}
    return Verdict(candidate / 10, f"{candidate:g} against {reference:g}", parts, points is not None)


def relative(s: Sums) -> np.ndarray:
    reference, candidate = (np.round(ratio(s[part], s["n"]), 3) for part in ("reference", "candidate"))
    return ratio(candidate, reference)


RELATIVE = Metric("relative", relative)
TASK = Task(
    name="llava-bench-wild", readers={"visift": own_or(ask), "llava": read_llava, "llava-reviews": read_reviews},
    parsers={"default": judging.numbers}, judge=judge, metrics=(RELATIVE,), totals=(whole(RELATIVE),), headline="relative", ask=ask,
    rubric=rubrics.COMPARED, against=references,
)  # fmt: skip
