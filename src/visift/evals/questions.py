"""Questions of our own: a dataset folder whose conversations end in the reference, and a JSONL of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import read_jsonl
from visift.core.types import Conversation, get
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
        name, text, finish, decoding = _answer(row, f"{path}:{number}")
        reply = Reply(text, FAILED if finish == "error" else "")
        known = replies.get(name)
        if known is not None:
            duplicate.append(name)
            if reply.failed:
                reply = known
            elif known.failed != FAILED and known != reply:
                reply = Reply("", "answered twice, differently")
        replies[name] = reply
        if decoding and (not decodings or decoding != decodings[-1]) and decoding not in decodings:
            decodings.append(decoding)
    return replies, duplicate, {"decoding": decodings[0] if len(decodings) == 1 else decodings}


def _answer(row: Any, where: str) -> tuple[str, str, str, dict[str, Any]]:
    """(id, text, finish, decoding) of an Answer, or of a row of lmms-eval's log of an exported task (evals/export.py)."""
    try:  # the usual case: a row of ours, whole
        name, text, finish, decoding = row["id"], row["text"], row["finish"], row["decoding"]
        if type(name) is type(text) is type(finish) is type(row["task"]) is str and type(decoding) is dict:
            return name, text, finish, decoding
    except (KeyError, TypeError):
        pass
    if isinstance(row, dict) and "doc" in row:
        said = first_response(row)
        name = get(get(row, "doc", dict, where), "id", str, f"{where}: doc")
        return name, said or "", "error" if said is None else "stop", {}
    name = get(row, "id", str, f"{where}: answer")
    get(row, "task", str, f"{where}: answer {name}")
    text, finish = (
        get(row, key, str, f"{where}: answer {name}", *other) for key, *other in (("text",), ("finish", "stop"))
    )
    return name, text, finish, get(row, "decoding", dict, where, {})


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


Gold = Callable[[str, Mapping[str, Any], str], Any]  # (reference, meta, where it stands) -> what the verdict needs


def own(gold: Gold | None = None) -> Callable[[Files], Rows]:
    """A reader of our own datasets. `gold` makes what the verdict needs of the reference; the default is its text."""

    def read(files: Files) -> Rows:
        dataset = open_questions(files)
        questions, templates = [], set()
        for where, row in dataset.rows():
            question, template = _plain(row, gold) or _in_full(dataset.conversation(where, row), gold, where)
            templates.add(template)
            questions.append(question)
        replies, duplicate, recipe = read_answers(files.answers)
        recipe |= {"prompt": prompt_id(templates), "data_sha256": dataset.card["content_sha256"]}
        return join(questions, replies, duplicate, recipe=recipe)

    return read


def _in_full(c: Conversation, gold: Gold | None, where: str) -> tuple[Question, str]:
    if c.reference is None:
        raise DataError("has no reference (a last assistant turn)", where=f"{where}: conversation {c.id}")
    return question_of(c, gold), c.provenance.template


def _plain(row: Any, gold: Gold | None) -> tuple[Question, str] | None:
    """(question, template) of one round whose answer is one text, straight from its JSON: a third of the time of scoring 100,000.
    None for any other row, which is then read in full, or refused."""
    try:
        asked, answer = row["turns"]
        [said] = answer["parts"]
        made, meta, pictures = row["provenance"], row.get("meta", {}), tuple([p["path"] for p in row["images"]])
        if asked["role"] != "user" or answer["role"] != "assistant" or "gold" in meta:
            return None
        name, truth, split = row["id"], said["text"], meta.get("split", "")
        cluster = next(iter((*made["scenes"], *pictures)), name)
        text = "".join([p["text"] for p in asked["parts"] if p["type"] == "text"])
        template = made.get("template", "")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not all(type(x) is str for x in (name, truth, split, cluster, template, *pictures)):
        return None
    truth = gold(truth, meta, f"conversation {name}") if gold else truth
    return Question(name, cluster, truth, (split,) if split else (), text, pictures), template


def question_of(c: Conversation, gold: Gold | None) -> Question:
    """A benchmark's question as it was written, or one of our own: its reference is the truth, `meta.split` its group."""
    if "gold" in c.meta:
        return Question.of_conversation(c)
    split = str(c.meta.get("split", ""))
    truth = gold(c.reference or "", c.meta, f"conversation {c.id}") if gold else c.reference
    return Question(
        c.id, cluster_of(c), truth, (split,) if split else (), question_text(c), tuple(p.path for p in c.images)
    )


def prompt_id(templates: set[str]) -> str:
    named = sorted(t for t in templates if t)
    return named[0] if len(named) == 1 else f"{len(named)} templates" if named else "as in the questions"
