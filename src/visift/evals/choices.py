"""Multiple choice: which letter a reply picks, under named rules, and the verdict that all such tasks share."""

from __future__ import annotations

import re
from typing import Any

from visift.evals.parse import HEAD, plain
from visift.evals.task import Parse, Question, Verdict

LETTERS = "ABCDEFGHIJ"
FORMAT = "\nAnswer with the option's letter from the given choices directly."
_LEAD = re.compile(r"^[\s*(\[]*([A-J])(?:[\s*]*[.):\],]|[\s*]*$|\s*\n)")
_NAMED = re.compile(r"\b(?:answer|option|choice)\b(?:\s+(?:is|would be))?[\s:*]*[(\[]?([A-J])\b(?!['’])", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\w'’])([B-HJ])(?![\w'’])")


def asked(question: str, options: tuple[str, ...], before: str = "") -> str:
    """Question, one lettered line an option, answer-format sentence."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([*([before] if before else []), question, *lines]) + FORMAT


def default(question: Question, text: str) -> str | None:
    """Ours, version 1. In this order: the reply begins with a letter that a mark or the end follows; it says `answer is X`, `option X`;
    exactly one capital letter but A or I stands alone; exactly one option's text stands in it. Letters beyond the options do not count."""
    text, known = text[:HEAD].strip(), LETTERS[: len(question.options)] or LETTERS
    if (lead := _LEAD.match(text)) and lead[1] in known:
        return lead[1]
    for found in ({m.upper() for m in _NAMED.findall(text)} & set(known), set(_ALONE.findall(text)) & set(known)):
        if len(found) == 1:
            return found.pop()
    said = f" {plain(text)} "
    named = [
        k
        for k, option in zip(LETTERS, question.options, strict=False)
        if plain(option) and f" {plain(option)} " in said
    ]
    return named[0] if len(named) == 1 else None


def exact(question: Question, text: str) -> str | None:
    """The whole reply is the letter: how LLaVA scores SEED-Bench."""
    return text if len(text) == 1 and text in LETTERS else None


def llava(question: Question, text: str) -> str | None:
    """LLaVA's ScienceQA rule: the reply is a letter A-E, or starts with one and `. `, or says `The answer is X.` just once."""
    if text in tuple("ABCDE"):
        return text
    if len(text) >= 3 and text[0] in "ABCDE" and text[1:3] == ". ":
        return text[0]
    found = re.findall(r"The answer is ([A-Z]).", text)
    return found[0] if len(found) == 1 else None


def lmms_eval(question: Question, text: str) -> str | None:
    """lmms-eval's SEED-Bench rule: the first character."""
    first = text.strip()[:1]
    return first if first and first in LETTERS else None


def vlmevalkit(question: Question, text: str) -> str | None:
    """VLMEvalKit's rule without its judge: exactly one option letter stands as a word, else exactly one option's text occurs in a reply
    that is at most twice as long as all options together."""
    known = LETTERS[: len(question.options)] or LETTERS
    words = set(re.sub(r"[.()\[\],:;!*#{}]", " ", text).split())
    found = [letter for letter in known if letter in words]
    if len(found) == 1:
        return found[0]
    if found or len(text) > 2 * sum(map(len, question.options)):
        return None
    named = [k for k, option in zip(LETTERS, question.options, strict=False) if option.lower() in text.lower()]
    return named[0] if len(named) == 1 else None


PARSERS: dict[str, Parse] = {"default": default, "llava": llava, "lmms-eval": lmms_eval, "vlmevalkit": vlmevalkit}


def judge(question: Question, said: Any) -> Verdict:
    right = said is not None and said == question.gold
    return Verdict(
        float(right),
        f"{said or 'no answer'}, truth {question.gold}",
        {"n": 1.0, "right": float(right)},
        said is not None,
    )
