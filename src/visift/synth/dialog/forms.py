"""Response forms as data: how each is asked for, and whether a text has it (papers.md C.1.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """`requests` are our own wordings, one of which ends a question; `holds` says whether an answer has the form."""

    requests: tuple[str, ...]
    holds: Callable[[str], bool]


_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])[.!?][\"')]*(?=\s|$)")
_LETTER_REASON = re.compile(r"[A-H]\. [A-Z](?:\S+ ){2,}.*[.!?]")
_BOX = re.compile(r"\[(\d\.\d\d), (\d\.\d\d), (\d\.\d\d), (\d\.\d\d)\]")


def sentences(text: str) -> int:
    """How many sentences a text has; an unfinished one counts."""
    ends = len(_SENTENCE_END.findall(text))
    return ends + (not text.rstrip().endswith((".", "!", "?", '."', ".'", ".)")))


def _phrase(text: str) -> bool:
    return 1 <= len(text.split()) <= 8 and "\n" not in text and not text.endswith((".", "!", "?"))


def _sentence(text: str) -> bool:
    ended = text.endswith((".", "!", "?", '."', '!"', '?"'))
    return "\n" not in text and len(text.split()) >= 3 and ended and sentences(text) == 1 and not text[0].islower()


def _paragraph(text: str) -> bool:
    return len(text.split()) >= 15 and sentences(text) >= 2


def _list(text: str) -> bool:
    lines = text.split("\n")
    return len(lines) >= 2 and all(re.fullmatch(r"- \S.*", line) for line in lines)


def _coordinates(text: str) -> bool:
    found = _BOX.fullmatch(text)
    if not found:
        return False
    x1, y1, x2, y2 = map(float, found.groups())
    return 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


FORMS: dict[str, Form] = {
    "phrase": Form(
        (
            "Answer with a short phrase.", "Reply with a short phrase.", "A short phrase will do.", "Give a short answer.",
            "Keep it to a short phrase.", "Answer in a few words.", "Say it in a few words.", "Use a short phrase.",
            "Reply with a brief phrase.", "A brief answer, please.",
        ),
        _phrase,
    ),
    "number": Form(
        (
            "Answer with a number.", "Reply with a number.", "Give only the number.", "Say just the number.",
            "Respond with one number.", "State it as a number.", "Write only the number.", "Only the number, please.",
            "Just the number is enough.",
        ),
        lambda text: re.fullmatch(r"\d+(?:\.\d+)?", text) is not None,
    ),
    "yes/no": Form(
        (
            "Answer yes or no.", "Reply with yes or no.", "Say yes or no.", "Answer only yes or no.", "Just say yes or no.",
            "Respond with yes or no.", "Only yes or no, please.", "Please answer yes or no.", "Simply reply yes or no.",
        ),
        lambda text: text.lower().rstrip(".") in ("yes", "no"),
    ),
    "letter": Form(
        (
            "Answer with the option's letter.", "Give only the letter.", "Reply with the letter of the right option.",
            "Just the letter, please.", "Write the letter of the correct option.", "Name the letter of the right answer.",
            "Only the letter is needed.", "Respond with the letter of the chosen option.", "Say just the letter.",
        ),
        lambda text: re.fullmatch(r"[A-H]", text) is not None,
    ),
    "letter + reason": Form(
        (
            "Give the letter and say why.", "Name the letter and give your reason.", "Choose a letter and explain.",
            "Write the letter, then the reason.", "State the letter and explain your choice.", "Pick a letter and tell me why.",
            "Answer with the letter, then explain.", "Say which letter is right and why.", "Which letter, and for what reason?",
        ),
        lambda text: _LETTER_REASON.fullmatch(text) is not None,
    ),
    "phrase + reason": Form(
        (
            "Give the answer and the reason for it.", "Answer, then explain.", "Say what it is and why you think so.",
            "Answer and add an explanation.", "Reply, and tell me how you know.", "State the answer, then explain it.",
            "Give your answer and justify it.", "Answer first, then give the reason.",
        ),
        lambda text: "\n" not in text and sentences(text) >= 2,
    ),
    "sentence": Form(
        (
            "Answer in a full sentence.", "Reply in one sentence.", "Say it in a sentence.", "Give one whole sentence.",
            "Write one sentence.", "Put it into one sentence.", "Respond with a complete sentence.", "Use one full sentence.",
            "Tell me in one sentence.",
        ),
        _sentence,
    ),
    "paragraph": Form(
        (
            "Write one paragraph.", "Answer in a paragraph.", "Use a paragraph of a few sentences.", "Take a paragraph for it.",
            "Give a paragraph of several sentences.", "Reply with a paragraph.", "Put it into a paragraph.",
            "One paragraph, please.", "Write several sentences.",
        ),
        _paragraph,
    ),
    "list": Form(
        (
            "Answer as a list.", "Write a list, one item a line.", "Give a list with dashes.", "Reply with a list, one thing a line.",
            "Make it a list.", "Put each on a line of its own.", "Use a bulleted list.", "Write them as a list.",
            "A list, please.",
        ),
        _list,
    ),
    "coordinates": Form(
        (
            "Give the box as [x1, y1, x2, y2], each from 0 to 1.", "Answer as [x1, y1, x2, y2] in parts of the picture.",
            "Write [left, top, right, bottom] as fractions.", "Reply with [x1, y1, x2, y2] between 0 and 1.",
            "State the corners as [x1, y1, x2, y2], scaled to 1.", "Use the form [x1, y1, x2, y2] with values up to 1.",
            "Give [left, top, right, bottom] in shares of width and height.", "Coordinates as [x1, y1, x2, y2], please.",
            "Respond with a box [x1, y1, x2, y2] in relative coordinates.",
        ),
        _coordinates,
    ),
}  # fmt: skip
SHORT = ("phrase", "number", "yes/no", "letter")


def form_of(text: str) -> str:
    """The form that a text has which nobody asked for: what files of free conversations hold. Empty where it has none."""
    for name in (
        "yes/no",
        "number",
        "letter",
        "coordinates",
        "list",
        "letter + reason",
        "sentence",
        "phrase",
        "paragraph",
    ):
        if FORMS[name].holds(text):
            return name
    return ""
