"""MMBench with circular evaluation: a question counts as right only when it is right under every rotation of its options. Rotations are
rows of the TSV whose index is equal modulo 1,000,000, or LLaVA's rounds (round k shows the options rotated k places to the left)."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from visift.core.errors import DataError
from visift.core.types import get
from visift.evals import choices, metrics
from visift.evals.load_answers import LmmsEval, llava, own_or, rows_of, source
from visift.evals.task import Files, Item, Question, Rows, Task

TURN = 1_000_000


def question(row: dict[str, Any], round: int, where: str, key: str = "") -> Question:
    given = [str(row.get(c) if row.get(c) is not None else "") for c in "ABCD"]
    options = tuple(o for o in given if o.lower() not in ("", "nan", "none"))
    answer = str(row.get("answer", "")).strip()
    if not answer or answer not in choices.LETTERS[: len(options)]:
        raise DataError(
            f"answer {answer!r} is no letter of an option", where=where, remedy="the test split has no public answers"
        )
    index, turned = int(row["index"]), options[round:] + options[:round]
    gold = choices.LETTERS[(choices.LETTERS.index(answer) - round) % len(options)]
    hint = str(row.get("hint") or "")
    text = choices.asked(str(row["question"]), turned, "" if hint.lower() in ("nan", "none") else hint)
    base = str(index % TURN)
    return Question(
        key or f"{index}/{round}", base, gold, (str(row.get("category") or "other"),), text, (f"{base}.jpg",), turned
    )


def read_tsv(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)  # the picture stands in a column, as base64
    try:
        with path.open(encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"cannot be read as a TSV ({e})", where=path, remedy="check the path") from e
    for number, row in enumerate(rows, 2):
        if not str(row.get("index") or "").isdecimal() or row.get("question") is None:
            raise DataError(
                "is no row of MMBench's TSV (a header with index, question, A, B, …)", where=f"{path}:{number}"
            )
    return rows


def ask(files: Files) -> list[Question]:
    path = source(files, "MMBench's TSV")
    return [question(row, 0, f"{path}: index {row['index']}") for row in read_tsv(path)]


def read_llava(files: Files) -> Rows:
    """LLaVA's answers: joined by question and round. Where any round but the first was asked, all rounds are expected."""
    answers = rows_of(files.answers)
    all_rounds = any(row.get("round_id", 0) for row in answers)

    def rounds(files: Files) -> list[Question]:
        path, found = source(files, "MMBench's TSV"), []
        for row in read_tsv(path):
            first = question(row, 0, f"{path}: index {row['index']}")
            found += [question(row, k, "") for k in range(len(first.options) if all_rounds else 1)]
        return found

    return llava(rounds, lambda row: f"{get(row, 'question_id', int, str(files.answers))}/{row.get('round_id', 0)}")(
        files
    )


def circular(items: list[Item]) -> None:
    """One circular verdict per question, on its last row; none where a rotation is unscored."""
    turns: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        turns[item.question.cluster].append(item)
        item.parts |= {"circular": 0.0, "questions": 0.0}
    for rows in turns.values():
        if all(item.score is not None for item in rows):
            rows[-1].parts |= {"circular": float(all(item.score for item in rows)), "questions": 1.0}


TASK = Task(
    name="mmbench",
    readers={"visift": own_or(ask), "llava": read_llava, "lmms-eval": LmmsEval(lambda doc, key: question(doc, 0, key, key))},
    parsers=choices.PARSERS, published={"llava": "llava"}, judge=choices.judge,
    metrics=(metrics.rate("accuracy", "circular", "questions"), metrics.rate("vanilla", "right")),
    totals=(metrics.total_rate("accuracy", "circular", "questions"), metrics.total_rate("vanilla", "right")),
    headline="accuracy", finish=circular, ask=ask,
)  # fmt: skip
