import pytest

from visift.evals import parse

# research/anchors.md §6.4: nine typical replies under three published rules, and ours
TABLE = [
    ("Yes", "yes", "yes", "yes", "yes"),
    ("Yes.", "yes", None, "yes", "yes"),
    ("yes, there is a dog", "yes", None, "yes", "yes"),
    ("No, there is no dog", "no", None, "no", "no"),
    ("There is a dog", "yes", None, None, "yes"),
    ("There is not a dog", "no", None, None, "no"),
    ("It is not clear, yes", "no", None, "yes", "yes"),
    ("Unknown", "yes", None, None, None),
    ("no", "no", "no", "no", "no"),
]


@pytest.mark.parametrize(("reply", "llava", "lmms", "vlmevalkit", "ours"), TABLE)
def test_the_worked_example(reply, llava, lmms, vlmevalkit, ours):
    found = [parse.YES_NO[name](reply) for name in ("llava", "lmms-eval", "vlmevalkit", "default")]
    assert found == [llava, lmms or "other", vlmevalkit, ours]


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("  YES!! ", "yes"), ("**No**", "no"), ("Yes and no", "yes"), ("The picture shows no dog.", "no"),
        ("I see a dog.", "yes"), ("I don't see a dog.", "no"), ("The answer is yes", "yes"), ("Nope", None), ("maybe", None),
        ("It could be yes or no", None), ("", None), (" \n", None), ("不", None), ("nothing", None), ("It is a dog. Yes", None),
    ],
)  # fmt: skip
def test_default_rule(reply, meant):
    assert parse.yes_no_default(reply) == meant


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("yes, it", "yes"),
        ("  no", "no"),
        ("the no", None),
        ("not", "no"),
        ("a yes", None),
        ("eyes", "yes"),
        ("Know", "no"),
    ],
)
def test_mme_looks_at_four_characters(reply, meant):
    assert parse.yes_no_mme(reply) == meant


def test_llava_stops_at_the_first_full_stop():
    assert parse.yes_no_llava("It is there. No doubt.") == "yes"
    assert parse.yes_no_llava("I said no, sir") == "no"
    assert parse.yes_no_llava("NO") == "yes"  # as published


def test_plain():
    assert parse.plain("The Two red-Circles, a ring!") == "2 red circles ring"
