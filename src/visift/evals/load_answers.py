"""Answer files of others, read row by row: LLaVA's JSONL, lmms-eval's sample logs. Rows are joined by what they are about, never by position."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, read_jsonl, sha256_json
from visift.core.types import get
from visift.evals import questions as own_questions
from visift.evals.task import Files, Question, Reply, Rows

Ask = Callable[[Files], list[Question]]  # the benchmark's own files -> its questions
FORMAT_SENTENCE = re.compile(
    r"\s*(?:answer the question using a single word or phrase\.?|please answer yes or no\.?"
    r"|answer with the option['’]s letter from the given choices directly\.?)\s*$", re.IGNORECASE,
)  # fmt: skip


@lru_cache(maxsize=65536)  # benchmarks ask the same of many pictures
def bare(asked: str) -> str:
    """A question without its answer-format sentence, spaces collapsed: what rows of different files are joined by."""
    before = None
    while before != asked:
        before, asked = asked, FORMAT_SENTENCE.sub("", asked.replace("<image>", ""))
    return " ".join(asked.split())


def need(path: Path | None, option: str, what: str) -> Path:
    """The path, or a UsageError that says which option is missing."""
    if path is None:
        raise UsageError(f"{option} is missing", remedy=f"name {what}")
    return path


def source(files: Files, what: str) -> Path:
    """Where a benchmark's own file lies: --references, or --questions where one file holds both."""
    return need(files.references or files.questions, "--references", what)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, or of a JSON list. Raises DataError naming file and line."""
    if path.suffix == ".json" and not _is_jsonl(path):
        rows = read_json(path)
        rows = [rows] if isinstance(rows, dict) else rows  # a file of one line
        if not isinstance(rows, list):
            raise DataError("is no list of rows", where=path)
        numbered: Iterable[tuple[int, Any]] = enumerate(rows, 1)
    else:
        numbered = read_jsonl(path)
    out = []
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object, found {type(row).__name__}", where=f"{path}:{number}")
        out.append(row)
    return out


def _is_jsonl(path: Path) -> bool:
    """POPE's label files are JSON lines named .json."""
    try:
        with path.open(encoding="utf-8") as f:
            return f.readline().lstrip().startswith("{") and f.readline().lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        return False


def text_of(row: dict[str, Any], where: str) -> str:
    """The reply of a row: `text`, as answer files have it, or `prediction`, as submission files have it."""
    return str(get(row, "text" if "text" in row else "prediction", str, where))


def unique(questions: list[Question], where: object) -> list[Question]:
    """The questions without repetitions. Raises DataError when one key comes with two different truths."""
    known: dict[str, Question] = {}
    for q in questions:
        if known.setdefault(q.id, q).gold != q.gold:
            raise two_labels(known[q.id].gold, q.gold, f"{where}: {q.id}")
    return list(known.values())


def two_labels(first: Any, second: Any, where: str) -> DataError:
    return DataError(
        f"two labels for one question: {first!r} and {second!r}", where=where, remedy="remove the wrong row"
    )


def recipe_of(questions: list[Question], prompt: str) -> dict[str, Any]:
    content = [[q.id, q.cluster, list(q.groups), q.asked, q.gold] for q in questions]
    return {"data_sha256": sha256_json(content), "prompt": prompt}


def llava(ask: Ask, key: Callable[[dict[str, Any]], Hashable] | None = None,
          of: Callable[[Question], Hashable] | None = None, first: bool = False) -> Callable[[Files], Rows]:  # fmt: skip
    """A reader of LLaVA's answer files. A row belongs to the question whose key `of(question)` equals `key(row)`; unset, both are ids.
    `first`: where a key repeats with another text, the first row holds, as in the published conversion; else it is unscored."""

    def read(files: Files) -> Rows:
        questions = unique(ask(files), files.references or files.questions)
        keys = {(of(q) if of else q.id): q.id for q in questions}
        if len(keys) != len(questions):
            raise DataError("two questions cannot be told apart", where=files.references or files.questions)
        replies: dict[str, Reply] = {}
        rows, prompt = Rows(questions, replies), ""
        for number, row in enumerate(rows_of(files.answers), 1):
            where = f"{files.answers}: row {number}"
            reply = Reply(text_of(row, where))
            try:
                name = key(row) if key else str(row["question_id"])
            except (KeyError, TypeError, AttributeError) as e:
                raise DataError(f"field {e} is missing or malformed", where=where) from e
            prompt = prompt or _format_sentence(str(row.get("prompt", "")))
            if name not in keys:
                rows.extra.append(str(name))
            elif (known := replies.get(keys[name])) is None:
                replies[keys[name]] = reply
            else:
                rows.duplicate.append(keys[name])
                if known != reply and not first:
                    replies[keys[name]] = Reply("", "answered twice, differently")
        rows.recipe = recipe_of(questions, prompt)
        return rows

    return read


def replies_of(path: Path) -> dict[str, Reply]:
    """Replies by id, of an answer file of ours or of LLaVA's."""
    rows = rows_of(path)
    if rows and "question_id" not in rows[0]:
        return own_questions.read_answers(path)[0]
    return {
        str(get(r, "question_id", object, f"{path}: row {k}")): Reply(text_of(r, f"{path}: row {k}"))
        for k, r in enumerate(rows, 1)
    }


def _format_sentence(prompt: str) -> str:
    found = FORMAT_SENTENCE.search(prompt)
    return found.group().strip() if found else ""


def own_or(ask: Ask, dataset: Callable[[Files], Rows] | None = None) -> Callable[[Files], Rows]:
    """A reader of our answers: to a dataset folder of ours, or to the benchmark's own files."""
    of_dataset = dataset or own_questions.own()

    def read(files: Files) -> Rows:
        if files.of_ours:
            return of_dataset(files)
        questions = unique(ask(files), files.references or files.questions)
        replies, duplicate, recipe = own_questions.read_answers(files.answers)
        return own_questions.join(questions, replies, duplicate, recipe=recipe | recipe_of(questions, "as asked"))

    return read


@dataclass(frozen=True)
class LmmsEval:
    """A reader of lmms-eval's sample logs (a JSONL, or a folder of `*samples_*.jsonl`): each row carries its document.
    `of_doc(doc, id)` makes the question; the id is the row's doc_id, led by the file's name where there are several."""

    of_doc: Callable[[dict[str, Any], str], Question]

    def __call__(self, files: Files) -> Rows:
        logs = sorted(files.answers.glob("*samples*.jsonl")) if files.answers.is_dir() else [files.answers]
        if not logs:
            raise DataError(
                "holds no sample log (*samples*.jsonl)", where=files.answers, remedy="run lmms-eval with --log_samples"
            )
        rows = Rows([], {})
        for log in logs:
            for number, row in read_jsonl(log):
                self._add(rows, row, f"{log}:{number}", number, f"{log.stem}/" if len(logs) > 1 else "")
        rows.recipe = recipe_of(rows.questions, "as logged")
        return rows

    def _add(self, rows: Rows, row: Any, where: str, number: int, lead: str) -> None:
        name = lead + (str(row.get("doc_id", number)) if isinstance(row, dict) else "")
        try:
            question = self.of_doc(get(row, "doc", dict, where), name)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise DataError(f"its doc is not as lmms-eval writes it ({type(e).__name__}: {e})", where=where) from e
        if name in rows.replies:
            rows.duplicate.append(name)
            return
        rows.questions.append(question)
        said = own_questions.first_response(row)
        rows.replies[name] = Reply(said or "", "" if said is not None else "no response logged")
