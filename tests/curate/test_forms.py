"""The form audit knows a wish for a short answer when it sees one, and only then."""

from __future__ import annotations

import pytest

from visift.curate.forms import REQUEST, Audit


@pytest.mark.parametrize(
    "text",
    [
        "What is this?\nAnswer the question using a single word or phrase.",
        "Answer with the option's letter from the given choices directly.",
        "How many? Reply with a number.",
        "Is it red? Answer yes or no.",
        "Please answer yes or no.",
        "Is the lamp left of the window? Say yes or no whether it is so.",
        "What colour? Reply with a short phrase.",
        "Give only the letter.",
        "Respond in one word.",
        "Give the letter of the correct option.",
        "What is it? Short answer please.",
        "Describe it in a few words.",
    ],
)
def test_wishes_are_seen(text: str) -> None:
    assert REQUEST.search(text) and REQUEST.search(text.upper())


@pytest.mark.parametrize(
    "text",
    [
        "What word is written on the sign?",
        "What is the number on the shirt?",
        "Describe the picture in one paragraph.",
        "Is there a dog? Explain.",
        "With a number of friends around, what would you do?",
        "Which letter comes first?",
        "What one word is on the sign?",
        "Is she reading a letter from her mother?",
        "Write a letter to the person in the picture.",
        "Why might someone say yes to this offer?",
        "",
    ],
)
def test_other_questions_are_not(text: str) -> None:
    assert not REQUEST.search(text)


def test_an_empty_audit_divides_by_nothing() -> None:
    assert Audit().report()["share_only_first"] == 0


def test_forms_are_counted_where_they_are_known() -> None:
    audit = Audit()
    audit.add(["a", "b"], ["x", "y"], ["list", ""])
    audit.add(["a"], ["x"], ["list"])
    assert audit.report()["forms"] == {"list": 2} and audit.several_rounds == 1
