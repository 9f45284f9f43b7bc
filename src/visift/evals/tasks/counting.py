"""Counting on our own questions: exact number, with the majority answer as the baseline to beat."""

from __future__ import annotations

import re
from dataclasses import replace

from visift.evals import exact_match, parse
from visift.evals.task import Question


def read(question: Question, text: str) -> str | None:
    """A short reply as it stands; in a sentence, the number if there is exactly one."""
    said = parse.plain(text)
    numbers = set(re.findall(r"\b\d+\b", said[: parse.HEAD]))
    return numbers.pop() if len(numbers) == 1 else None


TASK = replace(exact_match.task("counting"), parsers={"default": read})
