"""VQAv2: soft accuracy against ten human answers, by the official scorer's rule (it cleans the human answers' punctuation only where
they disagree, and never their articles). References: the annotations JSON; questions: the questions JSON (only to ask)."""

from __future__ import annotations

from typing import Any

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import metrics, parse, vqa, yes_no
from visift.evals.load_answers import LmmsEval, llava, need, own_or
from visift.evals.task import Files, Question, Task


def truths(answers: list[Any], where: str) -> list[str]:
    """The human answers as the official scorer compares them."""
    given = [get(a, "answer", str, where) for a in answers]
    if not given:
        raise DataError("has no human answers", where=where)
    return [parse.vqa_punctuation(a) for a in given] if len(set(given)) > 1 else given


def ask(files: Files) -> list[Question]:
    path = need(files.references, "--references", "VQA's annotations JSON")
    text = {}
    if files.questions is not None:
        rows = get(read_json(files.questions), "questions", list, str(files.questions))
        text = {row["question_id"]: row["question"] for row in rows}
    found = []
    for k, row in enumerate(get(read_json(path), "annotations", list, str(path))):
        where = f"{path}: annotation {k}"
        name, image = get(row, "question_id", int, where), str(get(row, "image_id", int, where))
        groups = (str(row.get("answer_type", "other")),)
        gold = truths(get(row, "answers", list, where), where)
        found.append(Question(str(name), image, gold, groups, text.get(name, "") + yes_no.FORMAT, (f"{image}.jpg",)))
    return found


def of_doc(doc: dict[str, Any], key: str) -> Question:
    return Question(
        key,
        str(doc["image_id"]),
        truths(doc["answers"], key),
        (str(doc.get("answer_type", "other")),),
        doc["question"] + yes_no.FORMAT,
    )


OFFICIAL = parse.of_text(vqa.official)
TASK = Task(
    name="vqav2", readers={"visift": own_or(ask), "llava": llava(ask), "lmms-eval": LmmsEval(of_doc)},
    parsers={"default": OFFICIAL, "llava": OFFICIAL}, judge=vqa.judge, metrics=metrics.ACCURACY,
    totals=metrics.TOTAL_ACCURACY, headline="accuracy", ask=ask,
)  # fmt: skip
