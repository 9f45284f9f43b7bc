"""Questions of our own: a dataset folder whose conversations end in the reference, and a JSONL of answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import read_jsonl
from visift.core.types import Answer, Conversation, get
from visift.evals.task import Files, Question, Reply, Rows

FAILED = "failed request"


def read_answers(path: Path) -> tuple[dict[str, Reply], list[str], dict[str, Any]]:
    """(replies by id, ids that came more than once, the recipe they share). Raises DataError naming file and line.

    Rows with one id and one text count once, and a row that answers takes the place of one that failed; where the texts differ
    nobody can say which holds: the question is unscored.
    """
    replies: dict[str, Reply] = {}
    duplicate: list[str] = []
    decodings: list[dict[str, Any]] = []
    for number, row in read_jsonl(path):
        try:
            answer = Answer.from_json(_of_log(row) if isinstance(row, dict) and "doc" in row else row)
        except DataError as e:
            raise DataError(e.what, where=f"{path}:{number}: {e.where}", remedy=e.remedy) from e
        reply = Reply(answer.text, FAILED if answer.finish == "error" else "")
        known = replies.get(answer.id)
        if known is not None:
            duplicate.append(answer.id)
            if reply.failed:
                reply = known
            elif known.failed != FAILED and known != reply:
                reply = Reply("", "answered twice, differently")
        replies[answer.id] = reply
        if answer.decoding and (not decodings or answer.decoding != decodings[-1]) and answer.decoding not in decodings:
            decodings.append(dict(answer.decoding))
    return replies, duplicate, {"decoding": decodings[0] if len(decodings) == 1 else decodings}


def _of_log(row: dict[str, Any]) -> dict[str, Any]:
    """A row of lmms-eval's sample log of an exported task (evals/export.py), as an answer."""
    said = first_response(row)
    return {
        "id": get(row, "doc", dict, "lmms-eval row").get("id"),
        "task": "",
        "text": said or "",
        "finish": "error" if said is None else "stop",
    }


def first_response(row: dict[str, Any]) -> str | None:
    """The reply in a row of lmms-eval's; None where there is none."""
    found = row.get("filtered_resps") or row.get("resps")
    while isinstance(found, list):
        found = found[0] if found else None
    return found if isinstance(found, str) else None


def join(questions: list[Question], replies: dict[str, Reply], duplicate: list[str], **more: Any) -> Rows:
    """Rows by id; answers to no question are named as extra. Raises DataError when two questions share an id."""
    known = {q.id for q in questions}
    if len(known) != len(questions):
        seen: set[str] = set()
        twice = next(q.id for q in questions if q.id in seen or seen.add(q.id))  # type: ignore[func-returns-value]
        raise DataError("two questions share this id", where=twice, remedy="ids must be unique in a question set")
    return Rows(questions, replies, duplicate, [key for key in replies if key not in known], **more)


def question_text(conversation: Conversation) -> str:
    """What the last user turn asks."""
    return conversation.prompt[-1].text if conversation.prompt else ""


def cluster_of(conversation: Conversation) -> str:
    """The scene, so that two drawings of one scene stay together; else the picture's path; else the question itself."""
    if conversation.provenance.scenes:
        return conversation.provenance.scenes[0]
    return conversation.images[0].path if conversation.images else conversation.id


def open_questions(files: Files) -> Dataset:
    if files.questions is None:
        raise UsageError("--questions is missing", remedy="name the dataset folder whose questions were answered")
    return Dataset(files.questions)


def own(gold: Callable[[Conversation], Any] | None = None) -> Callable[[Files], Rows]:
    """A reader of our own datasets. `gold` makes what the verdict needs of a conversation; the default is its reference text."""

    def read(files: Files) -> Rows:
        dataset = open_questions(files)
        questions, templates = [], set()
        for c in dataset:
            if c.reference is None:
                raise DataError(
                    "has no reference (a last assistant turn)", where=f"conversation {c.id} in {files.questions}"
                )
            templates.add(c.provenance.template)
            questions.append(question_of(c, gold))
        replies, duplicate, recipe = read_answers(files.answers)
        recipe |= {"prompt": prompt_id(templates), "data_sha256": dataset.card["content_sha256"]}
        return join(questions, replies, duplicate, recipe=recipe)

    return read


def question_of(c: Conversation, gold: Callable[[Conversation], Any] | None) -> Question:
    """A benchmark's question as it was written, or one of our own: its reference is the truth, `meta.split` its group."""
    if "gold" in c.meta:
        return Question.of_conversation(c)
    split = str(c.meta.get("split", ""))
    truth = gold(c) if gold else c.reference
    return Question(
        c.id, cluster_of(c), truth, (split,) if split else (), question_text(c), tuple(p.path for p in c.images)
    )


def prompt_id(templates: set[str]) -> str:
    named = sorted(t for t in templates if t)
    return named[0] if len(named) == 1 else f"{len(named)} templates" if named else "as in the questions"
