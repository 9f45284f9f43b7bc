"""ScienceQA: multiple choice, with and without a picture. The figure that papers print is the accuracy on questions with a picture
(`image_accuracy`); over all questions it is `accuracy`. References: the folder with problems.json and pid_splits.json."""

from __future__ import annotations

from typing import Any

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import choices, metrics
from visift.evals.load_answers import LmmsEval, llava, own_or, source
from visift.evals.task import Files, Question, Task


def question(row: dict[str, Any], key: str, where: str) -> Question:
    options = tuple(str(c) for c in get(row, "choices", list, where))
    answer = get(row, "answer", int, where)
    if not 0 <= answer < len(options):
        raise DataError(f"answer {answer} is not among the {len(options)} choices", where=where)
    group, picture = ("image", (f"{key}/image.png",)) if row.get("image") else ("text", ())
    text = choices.asked(get(row, "question", str, where), options, str(row.get("hint") or ""))
    return Question(key, key, choices.LETTERS[answer], (group,), text, picture, options)


def ask(files: Files) -> list[Question]:
    """The test split, or every problem marked `test` where only problems.json is given."""
    path = source(files, "ScienceQA's folder with problems.json and pid_splits.json")
    problems = read_json(path / "problems.json" if path.is_dir() else path)
    if not isinstance(problems, dict):
        raise DataError("is no problems.json (an object keyed by problem id)", where=path)
    if path.is_dir() and (path / "pid_splits.json").exists():
        names = [str(k) for k in get(read_json(path / "pid_splits.json"), "test", list, str(path / "pid_splits.json"))]
    else:
        names = [k for k, row in problems.items() if get(row, "split", str, f"{path}: problem {k}", "test") == "test"]
    if absent := [k for k in names if k not in problems]:
        raise DataError(f"{len(absent)} problems of the test split are missing, e.g. {absent[0]}", where=path)
    return [question(problems[k], k, f"{path}: problem {k}") for k in names]


def letter_of_options(asked: Question, text: str) -> str | None:
    """LLaVA's rule; a letter beyond the problem's choices is no answer."""
    said = choices.llava(asked, text)
    return said if said and said in choices.LETTERS[: len(asked.options)] else None


TASK = Task(
    name="scienceqa",
    readers={"visift": own_or(ask), "llava": llava(ask), "lmms-eval": LmmsEval(lambda doc, key: question(doc, key, key))},
    parsers=choices.PARSERS | {"llava": letter_of_options}, published={"llava": "llava", "lmms-eval": "lmms-eval"},
    judge=choices.judge, metrics=metrics.ACCURACY,
    totals=(*metrics.TOTAL_ACCURACY, metrics.total_rate("image_accuracy", "right", group="image")), headline="accuracy", ask=ask,
)  # fmt: skip
