"""Rule-made answers in a teacher's words (`--teacher`): numbers, names, places and yes or no must survive, in their order.

What fails is asked for again with the reason; what fails to the end stays as the rules wrote it, and is listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from visift.core.coco_words import phrases, singular
from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError
from visift.core.types import Scene, Turn, user
from visift.synth.dialog.forms import FORMS
from visift.synth.dialog.make import Reworded
from visift.synth.dialog.make import make as make_dialogues
from visift.synth.dialog.rounds import RULES, Round
from visift.synth.dialog.words import NUMBERS, spoken, stuff_words
from visift.synth.frame import Task
from visift.synth.teacher import Teacher

PROSE = ("sentence", "paragraph", "letter + reason")
SYSTEM = (
    "You put answers about a picture into other words. You get a JSON list of questions with their answers, and write each "
    "answer anew: natural, varied, saying the same. Keep every number, every thing that is named, every word for a place, a "
    "direction or a comparison, and yes or no, all in the order in which they stand; add none. Keep the form: a sentence "
    "stays one sentence, a paragraph a paragraph, and an answer that begins with a letter and a full stop begins with the "
    'same. Where `wrong` says what was wrong with an earlier try, mend it. Reply with JSON and nothing else: {"answers": ["..."]}'
)
SIDES = ("left", "right", "above", "below", "top", "bottom", "centre", "more", "less", "most", "least")
_NO = re.compile(r"\b(?:no|not|none|nothing|never|neither|nor|without|cannot)\b|n't\b")
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def make(teacher: Teacher, task: Task, scene: Scene) -> Made:
    """The dialogues about one picture as rules make them, their prose in the teacher's words."""
    words = fact_words(task, scene)

    def reword(rounds: Sequence[Round]) -> Reworded:
        return reworded(teacher, task.seed, scene.id, rounds, words)

    return make_dialogues(task, scene, reword)


def reworded(teacher: Teacher, seed: int, scene: str, rounds: Sequence[Round], words: Mapping[str, str]) -> Reworded:
    """The rounds, as many as can be in the teacher's words; what stays as it was, with the reason; the first request's hash."""
    found = list(rounds)
    left = [k for k, r in enumerate(rounds) if r.source == RULES and r.form in PROSE]
    wrong: dict[int, str] = {}
    request = ""
    for _ in range(teacher.asks if left else 0):
        listed = [
            {"question": rounds[k].question, "form": rounds[k].form, "answer": rounds[k].answer}
            | ({"wrong": wrong[k]} if k in wrong else {})
            for k in left
        ]
        turns = [Turn("system", user(SYSTEM).parts), user(json.dumps(listed, ensure_ascii=False))]
        try:
            reply = teacher.ask(
                turns, (), seed, readable=partial(_unreadable, number=len(left)), fits=lambda _: None,
                response_format={"type": "json_object"},
            )  # fmt: skip
        except DataError as e:
            wrong = dict.fromkeys(left, e.what)
            break
        request = request or reply.request_sha256
        tried = dict(zip(left, _read(reply.text) or (), strict=True))
        wrong = {k: why for k, text in tried.items() if (why := fault(rounds[k], text, words))}
        for k in left:
            if k not in wrong:
                found[k] = replace(rounds[k], answer=tried[k], teacher=teacher.model)
        left = list(wrong)
        if not left:
            break
    kept = [
        Rejection(f"{scene}: {rounds[k].question[:80]}", "dialog reword", f"stays in the rules' words: {why}")
        for k, why in wrong.items()
    ]
    return found, kept, request


def _read(text: str) -> list[str] | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    answers = value.get("answers") if isinstance(value, dict) else None
    if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
        return None
    return [" ".join(a.split()) for a in answers]


def _unreadable(text: str, number: int) -> str | None:
    answers = _read(text)
    if answers is None:
        return "it is not JSON of the form asked for"
    return None if len(answers) == number else f"it holds {len(answers)} answers, {number} are wanted"


def fault(round_: Round, text: str, words: Mapping[str, str]) -> str | None:
    """Why `text` cannot stand for the round's answer; None where it says the same in the same form."""
    if not FORMS[round_.form].holds(text):
        return f"it is no {round_.form}"
    if round_.form == "letter + reason" and text[:3] != round_.answer[:3]:
        return f"it does not begin with {round_.answer[:2]}"
    old, new = facts(round_.answer, words), facts(text, words)
    if old != new:
        return f"it tells {', '.join(new) or 'nothing'}, where {', '.join(old) or 'nothing'} was told"
    return None


def fact_words(task: Task, scene: Scene) -> dict[str, str]:
    """Phrase (singular words) -> the fact that it tells: categories with their synonyms, attributes, places, numbers."""
    found = {phrase: name for phrase, name in phrases().items() if name in task.categories}
    for name in (*task.categories, *(r.category for r in scene.regions), *scene.absent):
        for word in (spoken(name), stuff_words(name)[1]):
            found[" ".join(singular(w) for w in word.lower().split())] = name
    values = [str(v).lower() for r in scene.regions for v in r.attributes.values()]
    return (
        found
        | {v: v for v in (*values, *SIDES)}
        | {"center": "centre"}
        | {word: str(k) for k, word in enumerate(NUMBERS) if k}
    )


def facts(text: str, words: Mapping[str, str]) -> list[str]:
    """What a text tells, in order: numbers as figures, then `words`; before them yes or no, and `not` where it denies anything."""
    text = text.lower()
    said = [singular(w) for w in _WORD.findall(text)]
    first = re.match(r"yes\b|no\b", text)
    found = [first[0]] if first else []
    found += ["not"] if _NO.search(text[first.end() if first else 0 :]) else []
    k = 0
    while k < len(said):
        for size in range(min(4, len(said) - k), 0, -1):
            phrase = " ".join(said[k : k + size])
            if (fact := words.get(phrase)) or (size == 1 and phrase[0].isdigit()):
                found.append(fact or phrase)
                k += size
                break
        else:
            k += 1
    return found
