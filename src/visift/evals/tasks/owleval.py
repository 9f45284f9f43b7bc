"""OwlEval: people rank the answers of several models to open questions, 5 best, ties allowed, without knowing whose they are.

`sheets` writes one CSV a rater with the answers shuffled, and key.json; the raters fill in the rank columns; `visift score owleval --answers
FOLDER` reads them back: one group a model with its mean rank, resampled by question. papers.md B.4.8.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, write_atomic, write_json
from visift.core.seeds import rng
from visift.core.types import get
from visift.evals import choices, metrics
from visift.evals.load_answers import recipe_of, rows_of, source
from visift.evals.questions import read_answers
from visift.evals.task import Files, Metric, Question, Reply, Rows, Task, Verdict


def ask(files: Files) -> list[Question]:
    """Questions of OwlEval's questions.jsonl: question_id, image, question."""
    path = source(files, "OwlEval's questions.jsonl")
    found = []
    for number, row in enumerate(rows_of(path), 1):
        image, text = (get(row, k, str, f"{path}:{number}") for k in ("image", "question"))
        found.append(Question(str(row.get("question_id", number)), image, "", (), text, (image,)))
    return found


def safe(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def sheets(answers: Mapping[str, Path], asked: list[Question], out: Path, *, raters: int, seed: int = 0) -> None:
    """Write rater-1.csv … and key.json to `out`. Every rater sees another order, drawn anew for every question.
    Raises UsageError for fewer than two models or more than ten; DataError when a model left a question unanswered."""
    if not 2 <= len(answers) <= len(choices.LETTERS):
        raise UsageError(f"{len(answers)} models: between 2 and {len(choices.LETTERS)} can be ranked")
    said = {model: read_answers(path)[0] for model, path in answers.items()}
    for model, replies in said.items():
        if lacking := [q.id for q in asked if q.id not in replies]:
            raise DataError(
                f"{model} left {len(lacking)} questions unanswered, e.g. {lacking[0]}", where=answers[model]
            )
    letters, key = choices.LETTERS[: len(said)], {}
    for rater in range(1, raters + 1):
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(
            ["question", "picture", "asked", *(f"answer {c}" for c in letters), *(f"rank {c}" for c in letters)]
        )
        for q in asked:
            order = [sorted(said)[k] for k in rng("owleval", seed, rater, q.id).permutation(len(said))]
            key[f"{rater}/{q.id}"] = order
            table.writerow(
                map(safe, [q.id, q.images[0], q.asked, *(said[m][q.id].text for m in order), *([""] * len(order))])
            )
        write_atomic(out / f"rater-{rater}.csv", text.getvalue())
    write_json(out / "key.json", key)


def read_sheets(files: Files) -> Rows:
    """Filled sheets and their key. An empty rank is unscored; one outside 1...5 is an error."""
    if not files.answers.is_dir():
        raise DataError("is no folder of rating sheets", where=files.answers)
    key, rows = read_json(files.answers / "key.json"), Rows([], {})
    for path in sorted(files.answers.glob("rater-*.csv")):
        rater = path.stem.removeprefix("rater-")
        with path.open(encoding="utf-8", newline="") as f:
            for number, row in enumerate(csv.DictReader(f), 2):
                order = get(key, f"{rater}/{row.get('question')}", list, f"{path}:{number}")
                for letter, model in zip(choices.LETTERS, order, strict=False):
                    rank = (row.get(f"rank {letter}") or "").strip()
                    if rank not in ("", "1", "2", "3", "4", "5"):
                        raise DataError(f"rank {rank!r} is none of 1 to 5", where=f"{path}:{number}")
                    q = Question(f"{rater}/{row['question']}/{model}", str(row["question"]), "", (model,))
                    rows.questions.append(q)
                    rows.replies[q.id] = Reply(rank, "" if rank else "not ranked")
    if not rows.questions:
        raise DataError("holds no rating sheet (rater-1.csv, …)", where=files.answers)
    rows.recipe = recipe_of(rows.questions, "rating sheets")
    return rows


def judge(question: Question, rank: int) -> Verdict:
    return Verdict((rank - 1) / 4, f"rank {rank}", {"n": 1.0, "rank": float(rank)})


RANK = Metric("rank", lambda s: metrics.ratio(s["rank"], s["n"]))
TASK = Task(
    name="owleval", readers={"visift": read_sheets}, parsers={"default": lambda question, text: int(text)}, judge=judge,
    metrics=(RANK,), totals=(metrics.whole(RANK),), headline="rank", ask=ask,
)  # fmt: skip
