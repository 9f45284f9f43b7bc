"""Numbered and lettered lists as text: written when data is made, read when answers are scored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# "3. x", "3) x", "3: x", "(3) x", "[3] x", "#3 x", "3 - x", "**3.** x", "- 3. x"
_LINE = re.compile(
    r"\s*(?:[-*•]\s+)?(?:\*\*)?(?P<open>[#(\[]?)(?P<number>\d{1,4})(?:\*\*)?"
    r"(?P<close>\s*[.):\]]+|\s+[-–—]|\s*[–—])?(?:\*\*)?(?:\s+|(?<=[.):\]])(?=[^\s\d.]))(?P<item>\S.*)"
)


def render_list(items: Mapping[int, str]) -> str:
    """`1. a` and so on, one item a line, by ascending number."""
    return "\n".join(f"{number}. {items[number]}" for number in sorted(items))


def parse_list(text: str) -> dict[int, str]:
    """Number -> item, for every line that begins with a number; the first line of a number counts.

    Accepts `1.`, `1)`, `1:`, `(1)`, `[1]`, `#1`, `1 -`, bold numbers and bullets before them; other lines are ignored.
    parse_list(render_list(items)) == items for items on one line without spaces around them.
    """
    found: dict[int, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match and (match["open"] or match["close"]):
            found.setdefault(int(match["number"]), match["item"].strip())
    return found


def letter(index: int) -> str:
    """0 -> A."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def with_options(question: str, options: Sequence[str]) -> str:
    """A question and its options, `A. …`, one a line."""
    return "\n".join([question, *(f"{letter(k)}. {option}" for k, option in enumerate(options))])
