"""SEED-Bench: multiple choice on pictures and videos. The headline is over all questions that were asked; the parts `image` and `video` and
the question types are groups. A data type of which nothing was answered was not asked, and is counted as left out."""

from __future__ import annotations

from typing import Any

from visift.core.files import read_json
from visift.core.types import get
from visift.evals import choices, metrics
from visift.evals.load_answers import LmmsEval, llava, own_or, source
from visift.evals.task import Files, Question, Rows, Task


def question(row: dict[str, Any], key: str, kinds: dict[str, str], where: str) -> Question:
    options = tuple(str(row[f"choice_{c}"]) for c in "abcd" if row.get(f"choice_{c}") is not None)
    picture, kind = str(row.get("data_id", key)), str(row.get("question_type_id", ""))
    groups = (str(row.get("data_type", "image")), kinds.get(kind, f"type {kind}"))
    return Question(key, picture, get(row, "answer", str, where).strip(), groups,
                    choices.asked(str(row["question"]), options), (picture,), options)  # fmt: skip


def ask(files: Files) -> list[Question]:
    path = source(files, "SEED-Bench.json")
    data = read_json(path)
    types = get(data, "question_type", dict, str(path), {})
    kinds = {str(types[name]): name for name in types}
    found = []
    for k, row in enumerate(get(data, "questions", list, str(path))):
        where = f"{path}: question {k}"
        get(row, "question", str, where)
        found.append(question(row, str(row.get("question_id", k)), kinds, where))
    return found


def only_asked(read: Any) -> Any:
    def reader(files: Files) -> Rows:
        rows: Rows = read(files)
        answered = {q.groups[0] for q in rows.questions if q.id in rows.replies}
        kept = [q for q in rows.questions if q.groups[0] in answered]
        if kept and len(kept) < len(rows.questions):
            rows.left_out["a data type of which nothing was answered"] = len(rows.questions) - len(kept)
            rows.questions = kept
        return rows

    return reader


TASK = Task(
    name="seed",
    readers={"visift": only_asked(own_or(ask)), "llava": only_asked(llava(ask)),
             "lmms-eval": LmmsEval(lambda doc, key: question(doc, key, {}, key))},
    parsers=choices.PARSERS | {"llava": choices.exact}, published={"llava": "llava", "lmms-eval": "lmms-eval"},
    judge=choices.judge, metrics=metrics.ACCURACY,
    totals=(*metrics.TOTAL_ACCURACY, metrics.total_rate("image_accuracy", "right", group="image"),
            metrics.total_rate("video_accuracy", "right", group="video")),
    headline="accuracy", ask=ask,
)  # fmt: skip
