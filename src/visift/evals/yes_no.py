"""Yes/no questions: the verdict that POPE, MME and our relation questions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visift.core.errors import DataError
from visift.evals import parse
from visift.evals.task import Question, Verdict

FORMAT = "\nAnswer the question using a single word or phrase."  # LLaVA's answer-format sentence


def gold(reference: str, meta: Mapping[str, Any], where: str) -> str:
    return label(reference, where)


def label(text: str, where: object) -> str:
    """The truth of a question. Raises DataError when it is neither yes nor no."""
    word = text.strip().strip(".").lower()
    if word not in ("yes", "no"):
        raise DataError(f"truth {text!r} is neither yes nor no", where=where)
    return word


def judge(question: Question, said: Any) -> Verdict:
    """A reply that says neither is wrong: a miss where yes was right, and no false alarm where no was right. (`other` is
    lmms-eval's word for such a reply; its rule leaves it out of the misses.)"""
    positive, right, yes = question.gold == "yes", said == question.gold, said == "yes"
    missed = positive and not right and said != "other"
    parts = {
        "n": 1.0, "right": float(right), "yes": float(yes), "positive": float(positive and (right or missed)),
        "tp": float(positive and right), "fn": float(missed), "fp": float(yes and not positive),
    }  # fmt: skip
    return Verdict(float(right), f"{said or 'no answer'}, truth {question.gold}", parts, said in ("yes", "no"))


PARSERS = {name: parse.of_text(rule) for name, rule in parse.YES_NO.items()}
