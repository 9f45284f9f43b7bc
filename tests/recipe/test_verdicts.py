"""Verdicts by hand: only the interval decides."""

from __future__ import annotations

import pytest

from visift.recipe.schema import Claim, read_recipe, shipped
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


def test_the_floor_is_one_of_accuracy_or_what_the_majority_scores():
    """Who always says yes has an F1 of .667 and knows nothing."""
    at = {"value": 0.5, "low": 0.45, "high": 0.55}
    yes = {"metrics": {"f1": {"value": 0.667, "low": 0.63, "high": 0.7}, "accuracy": at}}
    assert (
        judge(claim("better", chance=0.5), {"base": {"existence": yes}}, found)["verdict"] == "undecided: base at floor"
    )
    counts = {"metrics": {"accuracy": at}, "baselines": {"majority": 0.47}}
    for kind in ("better", "no worse"):
        assert judge(claim(kind), {"base": {"existence": counts}}, found)["verdict"] == "undecided: base at floor"
    counts["baselines"]["majority"] = 0.3
    assert judge(claim("better"), {"base": {"existence": counts}}, found)["verdict"] == "supported"


def test_no_gain_can_show_over_a_perfect_score():
    """Only where the interval decides nothing: a loss is told, and so is a gain over what was not quite perfect."""

    def judged(delta, low, high, top, kind="better", value=0.99):
        against = {"control": {"existence": {"metrics": {"f1": {"value": value, "low": 0.8, "high": top}}}}}
        row = {"delta": delta, "low": low, "high": high, "n": 9, "p": 0.01, "metric": "f1"}
        return judge(claim(kind, chance=0.5), against, lambda *_: row)

    full = judged(-0.01, -0.02, 0.001, 1.0)
    assert full["verdict"] == "undecided: control at ceiling" and "0.990 [0.800, 1.000]" in full["why"]
    assert judged(-0.01, -0.02, 0.001, 0.999)["verdict"] == "undecided"
    assert judged(-0.01, -0.02, 0.001, 1.0, value=0.9)["verdict"] == "undecided"  # of few pictures: there was room
    assert judged(-0.03, -0.05, -0.01, 1.0)["verdict"] == "not supported"
    assert judged(0.01, 0.005, 0.02, 1.0)["verdict"] == "supported"
    assert judged(0.0, -0.2, 0.2, 1.0, "equal")["verdict"] == "undecided"
    assert judged(0.0, -0.2, 0.2, 40.0)["verdict"] == "undecided"  # points, which do not end at 1


@pytest.mark.parametrize("model", ["listing", "control", "base"])
def test_a_withheld_score_decides_nothing(model):
    given = {
        m: {"existence": {"headline": "f1", "metrics": {"f1": {"value": 0.9, "low": 0.8, "high": 1.0}}}}
        for m in ("listing", "control", "base")
    }
    given[model]["existence"]["metrics"]["f1"] = {
        "value": None,
        "low": None,
        "high": None,
        "withheld": "9 of 9 missing",
    }
    row = judge(claim("better", chance=0.5), given, found)
    assert row["verdict"] == ("supported" if model == "base" else "undecided: withheld")
    assert model == "base" or "9 of 9 missing" in row["why"]


def test_the_demo_calls_an_unbound_list_no_success():
    """All names right in an order of their own score as much against the permuted truth: A1 compares the two."""
    a1 = next(c for c in read_recipe(shipped("demo")).claims if c.name == "A1")
    asked = []
    judge(a1, {}, lambda *names: asked.append(names) or found())
    assert asked == [("listing", "tag-listing-shuffled", "listing", "tag-listing")]


def test_what_shares_no_question_is_not_measured():
    assert judge(claim("better"), {}, lambda *_: None)["verdict"].startswith("undecided")


def test_the_claim_says_which_two_numbers_are_compared():
    asked = []
    judge(claim("better", than_task="existence-tagged"), {}, lambda *a: asked.append(a) or found())
    assert asked == [("control", "existence-tagged", "listing", "existence")]
