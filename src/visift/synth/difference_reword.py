"""Difference answers in a teacher's words (`--teacher`): things, places and colours, and which picture has what, must survive.

Pairs in which one thing was deleted, added or modified; of two that changed places no reader of ours can tell which is which. What
fails stays as the rules wrote it, and is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError
from visift.core.types import Conversation, Scene, Turn, assistant, user
from visift.synth.dialog.forms import FORMS
from visift.synth.dialog.reword import fact_words, facts
from visift.synth.difference import make as make_differences
from visift.synth.frame import Task
from visift.synth.recolour import SWATCHES, TEXTURES
from visift.synth.teacher import Teacher

SYSTEM = (
    "You put a sentence that says how a second picture differs from a first one into other words. Keep every thing that is named, "
    "every place and every colour, and what is gone, new or changed; add nothing. Reply with one sentence and nothing else."
)
_ABSENT = r"(?:gone|missing|removed|deleted|disappeared|vanished|absent)"
_GONE = re.compile(rf"\b(?:{_ABSENT}|taken away|no|no longer|any ?more|only the first|first picture only)\b")
_NEW = re.compile(r"\b(?:appeared|appears|added|new|also|now|only the second|second picture only)\b")
_TURNED = re.compile(
    rf"(?:\bnot|\bnever|\bno longer|n't)\s+(?:been\s+)?{_ABSENT}\b|\b(?:not|never|n't)\s+(?:been\s+)?(?:new|added)\b"
)
_FORMER = re.compile(r"\b(?:no|not|never|stopped|ceased|first|was|were|used to)\b|n't\b")
_DENIALS = ("yes", "no", "not")  # how it is put, not what


def make(teacher: Teacher, task: Task, item: tuple[Scene, ...]) -> Made:
    """The rows that rules make of the first scene, told in the teacher's words."""
    made = make_differences(task, item)
    words = change_words(task, item)
    rows, rejected = [], list(made.rejected)
    for row in made.conversations:
        try:
            rows.append(_reworded(teacher, task, row, words))
        except DataError as e:
            rows.append(row)
            rejected.append(Rejection(row.id, "difference reword", f"stays in the rules' words: {e.what}"))
    return replace(made, conversations=rows, rejected=rejected)


def change_words(task: Task, item: tuple[Scene, ...]) -> dict[str, str]:
    """Phrase -> the fact that it tells: what dialogues know, of all scenes that lend things, and colours and textures."""
    words = {phrase: fact for scene in item for phrase, fact in fact_words(task, scene).items()}
    words |= {name: name for name in (*SWATCHES, *TEXTURES.values(), "middle")}
    return {phrase: fact for phrase, fact in words.items() if phrase != "more"}  # `not red any more`


def _reworded(teacher: Teacher, task: Task, row: Conversation, words: Mapping[str, str]) -> Conversation:
    edits = row.meta["edits"]
    if len(row.images) > 2 or not edits or edits[0]["edit"] == "swap":
        return row
    told = row.turns[-1].text
    kind = "modify" if edits[0]["edit"] == "modify" else direction(told)
    reply = teacher.ask(
        [Turn("system", user(SYSTEM).parts), user(told)], (), task.seed,
        readable=lambda text: None if text.strip() else "it is empty",
        fits=partial(fault, told, kind=kind, words=words),
    )  # fmt: skip
    turns = (*row.turns[:-1], assistant(" ".join(reply.text.split()), row.turns[-1].form))
    origin = replace(row.provenance, teacher=teacher.model, request_sha256=reply.request_sha256)
    return replace(row, turns=turns, provenance=origin)


def direction(text: str) -> str:
    """`gone` or `new`, by its words; nothing where it says both or neither, or may say the contrary."""
    text = text.lower()
    gone, new = bool(_GONE.search(text)), bool(_NEW.search(text))
    if gone == new or _TURNED.search(text) or ("first" in text and "only" not in text):
        return ""
    return "gone" if gone else "new"


def fault(told: str, text: str, kind: str, words: Mapping[str, str]) -> str | None:
    """Why `text` cannot stand for `told`; None where it says the same. `kind` is `modify`, or what `direction` says of `told`."""
    text = " ".join(text.split())
    if not FORMS["sentence"].holds(text):
        return "it is not one sentence"
    old, new = (sorted(f for f in facts(t, words) if f not in _DENIALS) for t in (told, text))
    if old != new:
        return f"it names {', '.join(new) or 'nothing'}, where {', '.join(old)} was named"
    if kind == "modify":
        before, after = (bool(_FORMER.search(t.lower())) for t in (told, text))
        return None if before == after else "it does not say whether the look is that of the second picture"
    if not kind or direction(text) != kind:
        return f"it does not say that it is {kind or 'gone or new'}"
    return None
