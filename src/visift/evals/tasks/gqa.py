"""GQA: exact match on the balanced questions. LLaVA's conversion drops trailing full stops and lower-cases; the official scorer compares."""

from __future__ import annotations

from typing import Any

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import metrics, parse, yes_no
from visift.evals.load_answers import LmmsEval, llava, own_or, source
from visift.evals.task import Files, Question, Task, Verdict


def ask(files: Files) -> list[Question]:
    """Questions of a GQA JSON (`testdev_balanced_questions.json`), without those marked as not balanced."""
    path = source(files, "GQA's questions JSON")
    rows = read_json(path)
    if not isinstance(rows, dict):
        raise DataError("is no GQA question file (an object keyed by question id)", where=path)
    found = []
    for name, row in rows.items():
        where = f"{path}: question {name}"
        image, answer = str(get(row, "imageId", str, where)), get(row, "answer", str, where)
        if row.get("isBalanced", True):
            text = get(row, "question", str, where) + yes_no.FORMAT
            found.append(Question(str(name), image, answer, kinds(row), text, (f"{image}.jpg",)))
    return found


def kinds(row: dict[str, Any]) -> tuple[str, ...]:
    structural = get(row, "types", dict, "question", {}).get("structural")
    return (("open" if structural == "query" else "binary"), str(structural)) if structural else ()


def of_doc(doc: dict[str, Any], key: str) -> Question:
    return Question(key, str(doc["imageId"]), doc["answer"], kinds(doc), doc["question"] + yes_no.FORMAT)


def as_converted(question: Question, text: str) -> str | None:
    return text.rstrip(".").lower() or None


def plain(question: Question, text: str) -> str | None:
    """Ours: case, punctuation, articles and number words do not matter."""
    said = parse.plain(text)
    return question.gold if said == parse.plain(question.gold) else said or None


def judge(question: Question, said: Any) -> Verdict:
    right = said is not None and said == question.gold
    return Verdict(
        float(right), f"{str(said)[:80]}, truth {question.gold}", {"n": 1.0, "right": float(right)}, said is not None
    )


TASK = Task(
    name="gqa", readers={"visift": own_or(ask), "llava": llava(ask), "lmms-eval": LmmsEval(of_doc)},
    parsers={"default": plain, "llava": as_converted},
    published={"llava": "llava"}, judge=judge, metrics=metrics.ACCURACY, totals=metrics.TOTAL_ACCURACY, headline="accuracy", ask=ask,
)  # fmt: skip
