"""MM-Vet: the mean grade of a judge, 0...1 a question, over runs and questions; capabilities are groups. Published grade files are read:
{id: {"model": […], "content": […], "score": […]}}; answers are graded by a judge of ours. A question without a grade, or with one
outside 0...1, is unscored, never 0."""

from __future__ import annotations

from typing import Any

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import judge as judging
from visift.evals import metrics, rubrics
from visift.evals.load_answers import llava, own_or, recipe_of, source
from visift.evals.task import Files, Question, Reply, Rows, Task, Verdict


def ask(files: Files) -> list[Question]:
    """Questions of mm-vet.json."""
    path = source(files, "mm-vet.json")
    rows = read_json(path)
    if not isinstance(rows, dict):
        raise DataError("is no mm-vet.json (an object keyed by question id)", where=path)
    found = []
    for name, row in rows.items():
        where = f"{path}: {name}"
        image, text = (get(row, k, str, where) for k in ("imagename", "question"))
        found.append(
            Question(
                name,
                image,
                get(row, "answer", str, where),
                tuple(map(str, get(row, "capability", list, where))),
                text,
                (image,),
            )
        )
    return found


def read_grades(files: Files) -> Rows:
    """Without mm-vet.json the questions are those that were graded, each its own picture, without capabilities."""
    grades = read_json(files.answers)
    if not isinstance(grades, dict):
        raise DataError("is no grade file (an object keyed by question id)", where=files.answers)
    known = ask(files) if files.references or files.questions else [Question(str(k), str(k), "") for k in grades]
    rows, judges = Rows(known, {}), set()
    for name, row in grades.items():
        scores = get(row, "score", list, f"{files.answers}: {name}")
        usable = scores and all(isinstance(s, int | float) and not isinstance(s, bool) and 0 <= s <= 1 for s in scores)
        rows.replies[name] = Reply(" ".join(map(repr, scores)), "" if usable else "no usable grade")
        judges |= {str(m) for m in get(row, "model", list, f"{files.answers}: {name}", [])}
    names = {q.id for q in known}
    rows.extra = [k for k in rows.replies if k not in names]
    rows.recipe = recipe_of(known, "as graded") | {"judge": sorted(judges)}
    return rows


def key_of_llava(row: dict[str, Any]) -> str:
    """LLaVA's question file numbers the questions: 0 is v1_0."""
    return f"v1_{row['question_id']}" if isinstance(row["question_id"], int) else str(row["question_id"])


def judge(question: Question, grades: Any) -> Verdict:
    if grades is None:
        return Verdict(0.0, "no answer", {"n": 1.0, "score": 0.0}, False)
    value = sum(grades) / len(grades)
    return Verdict(value, f"graded {' '.join(map(str, grades))}", {"n": 1.0, "score": value})


TASK = Task(
    name="mm-vet", readers={"visift": own_or(ask), "llava": llava(ask, key_of_llava), "mm-vet-grades": read_grades},
    parsers={"default": judging.numbers}, judge=judge, metrics=(metrics.rate("score", "score"),),
    totals=(metrics.total_rate("score", "score"),), headline="score", ask=ask, rubric=rubrics.GRADED,
)  # fmt: skip
