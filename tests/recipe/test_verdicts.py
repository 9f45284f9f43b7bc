"""Verdicts by hand: only the interval decides."""

from __future__ import annotations

import pytest

from visift.recipe.schema import Claim
from visift.recipe.verdicts import judge, verdict


def claim(kind, **more):
    return Claim(name="X", text="t", task="existence", model="listing", than_model="control", kind=kind, **more)


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("better", 0.01, 0.2, "supported"),
        ("better", -0.01, 0.2, "undecided"),
        ("better", -0.3, -0.1, "not supported"),
        ("no worse", -0.04, 0.1, "supported"),
        ("no worse", -0.06, 0.1, "undecided"),
        ("no worse", -0.3, -0.06, "not supported"),
        ("equal", -0.04, 0.04, "supported"),
        ("equal", -0.06, 0.04, "undecided"),
        ("equal", 0.06, 0.2, "not supported"),
        ("equal", -0.2, -0.06, "not supported"),
    ],
)
def test_verdict(kind, low, high, expected):
    assert verdict(claim(kind, margin=0.05), low, high) == expected


def found(*_):
    return {"delta": 0.1, "low": 0.05, "high": 0.15, "n": 9, "p": 0.01, "metric": "f1"}


def scores(low, high):
    return {"base": {"existence": {"metrics": {"f1": {"value": (low + high) / 2, "low": low, "high": high}}}}}


def test_a_base_at_the_floor_decides_nothing():
    at_floor = judge(claim("better", chance=0.5), scores(0.45, 0.55), found)
    above = judge(claim("better", chance=0.5), scores(0.6, 0.7), found)
    assert at_floor["verdict"] == "undecided: base at floor"
    assert above["verdict"] == "supported"


def test_what_shares_no_question_is_not_measured():
    assert judge(claim("better"), {}, lambda *_: None)["verdict"].startswith("undecided")


def test_the_claim_says_which_two_numbers_are_compared():
    asked = []
    judge(claim("better", than_task="existence-tagged"), {}, lambda *a: asked.append(a) or found())
    assert asked == [("control", "existence-tagged", "listing", "existence")]
