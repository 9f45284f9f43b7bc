"""What a reply says: named, versioned rules. The published ones keep their quirks; `default` is ours and says so below.

A parser returns None where the reply says nothing usable: a no-answer, which is wrong and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from visift.evals.task import Parse

YesNo = Callable[[str], str | None]
SHORT = 40  # characters
HEAD = 2000  # characters looked at: an answer stands at the front, and a reply may be endless

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NEGATION = re.compile(r"\b(?:no|not|isn['’]?t|aren['’]?t|doesn['’]?t|don['’]?t|cannot|can['’]?t|without|none)\b")
_STATEMENT = re.compile(
    r"^(?:there (?:is|are|isn['’]?t|aren['’]?t|appears?|seems?)|the (?:image|picture|photo|photograph) (?:shows?|contains?|features?|includes?|has|does)"
    r"|i (?:can |can ?not |can['’]?t |do |do not |don['’]?t )?see)\b"
)


def yes_no_default(text: str) -> str | None:
    """Ours, version 1. In this order: the first word is yes or no; exactly one of the two words occurs in the first
    sentence; the first sentence states what is there (`there is …`, `the picture shows …`, `I see …`): no if it holds a
    negation, else yes; otherwise the reply is no answer."""
    head = text[:HEAD].lower().strip()
    words = WORD.findall(head)
    if not words:
        return None
    if words[0] in ("yes", "no"):
        return words[0]
    sentence = re.split(r"[.!?\n]", head, maxsplit=1)[0]
    spoken = {w for w in WORD.findall(sentence) if w in ("yes", "no")}
    if spoken == {"yes"}:
        return "yes"
    if len(spoken) < 2 and _STATEMENT.match(sentence.strip()):
        return "no" if _NEGATION.search(sentence) else "yes"
    return "no" if spoken == {"no"} else None


def yes_no_llava(text: str) -> str:
    """LLaVA's POPE rule: in the text before the first full stop, a word No, no or not means no; all else means yes."""
    words = text.split(".", 1)[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def yes_no_lmms_eval(text: str) -> str:
    """lmms-eval's POPE rule: the whole reply, stripped and in lower case, is yes or no; all else is its third class, `other`."""
    word = text.strip().lower()
    return word if word in ("yes", "no") else "other"


# Characters that VQA's normalisation knows; VLMEvalKit's yes/no rule runs on the text cleaned this way.
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_COMMA = re.compile(r"\d,\d")


def vqa_punctuation(text: str, stops: int = 32) -> str:
    """VQA's rule, quirks kept: a mark beside a space somewhere, or a comma between digits anywhere, deletes that mark
    everywhere, else it becomes a space; the first 32 full stops that no digit follows go (a flag passed as a count; 0: all)."""
    numeric = _COMMA.search(text) is not None
    out = text
    for mark in PUNCTUATION:
        if mark in text:
            gone = f"{mark} " in text or f" {mark}" in text or numeric
            out = out.replace(mark, "" if gone else " ")
    return _PERIOD.sub("", out, count=stops)


def yes_no_vlmevalkit(text: str) -> str | None:
    """VLMEvalKit's rule without its optional judge: exactly one of the words yes and no occurs."""
    spoken = {"yes", "no"} & set(vqa_punctuation(text.lower()).split())
    return spoken.pop() if len(spoken) == 1 else None


def yes_no_mme(text: str) -> str | None:
    """MME's own tool: yes or no within the first four characters, in lower case."""
    head = text.lower()[:4]
    return "yes" if "yes" in head else "no" if "no" in head else None


YES_NO: Mapping[str, YesNo] = {
    "default": yes_no_default, "llava": yes_no_llava, "lmms-eval": yes_no_lmms_eval,
    "vlmevalkit": yes_no_vlmevalkit, "mme": yes_no_mme,
}  # fmt: skip


def of_text(rule: YesNo) -> Parse:
    """A parser that needs no look at the question. Short replies recur: each is read once."""
    known = lru_cache(maxsize=4096)(rule)
    return lambda question, text: known(text) if len(text) <= SHORT else rule(text)


_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10",
}  # fmt: skip


def plain(text: str) -> str:
    """Lower case, words only, without articles, numbers as digits: what short answers are compared by."""
    words = (w for w in WORD.findall(text[: 50 * HEAD].lower()) if w not in _ARTICLES)
    return " ".join(_NUMBERS.get(w, w) for w in words)
