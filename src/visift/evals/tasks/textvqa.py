"""TextVQA: soft accuracy against ten human answers, by the rule of EvalAI's scorer that LLaVA uses: all answers are cleaned the same way.
LLaVA's rows carry the picture as question_id, so they are joined by picture and question."""

from __future__ import annotations

import re
from typing import Any

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import metrics, parse, vqa, yes_no
from visift.evals.load_answers import LmmsEval, bare, llava, own_or, source
from visift.evals.task import Files, Question, Task


def key(image: object, asked: str) -> str:
    return f"{image}/{bare(asked).lower()}"


def truths(answers: list[Any], where: str) -> list[str]:
    if not answers:
        raise DataError("has no human answers", where=where)
    return [vqa.evalai(str(a)) for a in answers]


def ask(files: Files) -> list[Question]:
    """Pictures are named by their id; a question that is asked twice of one picture is joined once, the last truth holding, as published."""
    path = source(files, "TextVQA_0.5.1_val.json")
    found = {}
    for k, row in enumerate(get(read_json(path), "data", list, str(path))):
        where = f"{path}: row {k}"
        image, text = get(row, "image_id", str, where), get(row, "question", str, where)
        gold = truths(get(row, "answers", list, where), where)
        found[key(image, text)] = Question(key(image, text), image, gold, (), text + yes_no.FORMAT, (f"{image}.jpg",))
    return list(found.values())


def key_of_llava(row: dict[str, Any]) -> str:
    """The question stands in the prompt: first line, or after a leading or before a trailing line of OCR tokens."""
    prompt = str(row["prompt"])
    if found := re.match(r"OCR tokens: .*?Question: (.*?) Short answer:", prompt, re.DOTALL):
        return key(row["question_id"], found[1])
    lines = [line for line in prompt.split("\n") if not line.startswith("Reference OCR token:")]
    return key(row["question_id"], lines[0] if lines else "")


def of_doc(doc: dict[str, Any], name: str) -> Question:
    return Question(name, str(doc["image_id"]), truths(doc["answers"], name), (), doc["question"] + yes_no.FORMAT)


EVALAI = parse.of_text(vqa.evalai)
TASK = Task(
    name="textvqa", readers={"visift": own_or(ask), "llava": llava(ask, key_of_llava), "lmms-eval": LmmsEval(of_doc)},
    parsers={"default": EVALAI, "llava": EVALAI}, judge=vqa.judge, metrics=metrics.ACCURACY,
    totals=metrics.TOTAL_ACCURACY, headline="accuracy", ask=ask,
)  # fmt: skip
