"""Tag QA by a teacher: a dialogue as JSON in which every figure is a number of the picture (papers.md A.1.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from visift.core.dataset import Made
from visift.core.types import Conversation, Mark, Picture, Scene, TaggedPicture, Turn, assistant, user
from visift.synth.agreement import agrees
from visift.synth.frame import Task, provenance, row_id
from visift.synth.teacher import Teacher, absent_figures, teach

ROUNDS = (3, 8)  # both ends included
SYSTEM = (
    "You write dialogues about pictures. Numbers in small boxes have been drawn onto the picture; each sits on the thing "
    "that it stands for. Invent a conversation of four to six rounds between a curious person and an assistant who both "
    "see the picture. They refer to things by their numbers, always as `number 3` with a figure; every round refers to at "
    "least one number. Any other figure, such as a count or a time, is written as a word. Ask about what things are, what "
    "they look like, where they are to each other, what is going on, and now and then about what can be concluded. Ask "
    "only what the picture answers, and answer truthfully, in one to three sentences. Reply with JSON and nothing else: "
    '{"rounds": [{"question": "...", "answer": "..."}]}'
)
_IDENTITY = re.compile(r"what (?:is|does) number (\d+)(?: mark| show| stand for)?\s*\?", re.IGNORECASE)
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL)


def make(teacher: Teacher, task: Task, scene: Scene) -> Made:
    return teach(teacher, write, task, scene)


def write(
    teacher: Teacher, task: Task, scene: Scene, tagged: TaggedPicture, picture: Picture, sent: bytes
) -> Conversation:
    """One dialogue of 3-8 rounds, the teacher's. Raises DataError when its dialogues do not fit."""
    turns = [Turn("system", user(SYSTEM).parts), user(0, question(tagged.marks))]
    reply = teacher.ask(
        turns, (sent,), task.seed, readable=unreadable, fits=lambda text: fault(text, tagged.marks),
        response_format={"type": "json_object"},
    )  # fmt: skip
    rounds = read(reply.text) or []
    said: list[Turn] = []
    for k, (asked, answer) in enumerate(rounds):
        said += [user(0, asked) if k == 0 else user(asked), assistant(answer)]
    origin = provenance(task, scene, template="tag-qa/teacher", teacher=teacher.model)
    return Conversation(
        row_id("tag-qa", scene), (picture,), tuple(said), replace(origin, request_sha256=reply.request_sha256)
    )


def question(marks: Sequence[Mark]) -> str:
    """How many numbers there are, and what is known to be at them."""
    known = "; ".join(f"number {m.number} is {m.name or m.category}" for m in marks if m.category)
    return f"The numbers run from 1 to {len(marks)}.{f' Known: {known}.' if known else ''} Write the conversation."


def read(text: str) -> list[tuple[str, str]] | None:
    """Questions and answers of a reply, a JSON object or a fenced one; None when it is not of that form."""
    fenced = _FENCE.fullmatch(text)
    try:
        value: Any = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None
    rows = value.get("rounds") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    rounds = [(row.get("question"), row.get("answer")) for row in rows]
    if not all(isinstance(text, str) for pair in rounds for text in pair):
        return None
    return [(" ".join(asked.split()), " ".join(answer.split())) for asked, answer in rounds]


def unreadable(text: str) -> str | None:
    return None if read(text) is not None else "it is not JSON of the form asked for"


def fault(text: str, marks: Sequence[Mark]) -> str | None:
    """What is wrong with a dialogue: too few or many rounds, empty or repeated ones, numbers that do not exist, a wrong name."""
    rounds = read(text) or []
    if not ROUNDS[0] <= len(rounds) <= ROUNDS[1]:
        return f"it has {len(rounds)} rounds, {ROUNDS[0]} to {ROUNDS[1]} are wanted"
    by_number = {str(mark.number): mark for mark in marks}
    for k, (asked, answer) in enumerate(rounds, 1):
        both = f"{asked} {answer}"
        if not asked or not answer:
            return f"round {k} is empty"
        if wrong := absent_figures(both, marks):
            return f"in round {k}, {wrong}"
        if not re.search(r"\d", both):
            return f"round {k} refers to no number"
        identity = _IDENTITY.fullmatch(asked)
        if identity and not agrees(answer, by_number[str(int(identity[1]))].category):
            return f"in round {k}, number {identity[1]} is said to be: {answer[:80]}"
    if len({asked.lower() for asked, _ in rounds}) < len(rounds):
        return "a question is asked twice"
    return None
