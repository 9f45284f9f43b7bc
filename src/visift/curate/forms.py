"""The form audit: is a wish for a short answer written on every short round, or only on the first?

Models tuned on dialogues of the second kind learn to stay short for the rest of a dialogue (papers.md C.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHORT = 3  # words; what counts as a short answer

# Wishes for a short answer as public files write them. One place to add another.
REQUEST = re.compile(
    r"single word|(?:in|with|using|just|only) one word|one-word|(?:short|brief|single) (?:phrase|answer)|in a few words"
    r"|option(?:'s|s'|s)? letter|letter (?:of|from) the (?:correct|right|given|chosen|option|choice|answer)"
    r"|(?:only|just) the (?:letter|number|option)|(?:with|as) (?:a|one) number\b(?! of)"
    r"|(?:answer|reply|respond|say|with|only|just)\b[^.?!\n]{0,20}\byes or no",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Audit:
    """Counts over dialogues, in a stream."""

    dialogues: int = 0
    several_rounds: int = 0
    asked_first: int = 0  # of several rounds: the first asks for a short answer
    only_first: int = 0  # of these: no later round asks
    only_first_stay_short: int = 0  # of these: every later answer is short all the same
    forms: dict[str, int] = field(default_factory=dict)  # response form -> assistant turns, where forms are known

    def add(self, questions: Sequence[str], answers: Sequence[str], forms: Sequence[str] = ()) -> None:
        """One dialogue: its user texts and its assistant texts, in order."""
        self.dialogues += 1
        for form in forms:
            if form:
                self.forms[form] = self.forms.get(form, 0) + 1
        if len(questions) < 2:
            return
        self.several_rounds += 1
        if not REQUEST.search(questions[0]):
            return
        self.asked_first += 1
        if any(REQUEST.search(q) for q in questions[1:]):
            return
        self.only_first += 1
        later = answers[1:]
        self.only_first_stay_short += bool(later) and all(len(a.split()) <= SHORT for a in later)

    def report(self) -> dict[str, Any]:
        """Counts, and shares of the dialogues of several rounds."""
        of = max(self.several_rounds, 1)
        return {
            "dialogues": self.dialogues,
            "several_rounds": self.several_rounds,
            "asked_first": self.asked_first,
            "only_first": self.only_first,
            "only_first_stay_short": self.only_first_stay_short,
            "share_only_first": self.only_first / of,
            "share_only_first_stay_short": self.only_first_stay_short / of,
            "forms": dict(sorted(self.forms.items())),
        }
