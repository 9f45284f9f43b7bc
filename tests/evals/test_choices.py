import pytest

from visift.evals import choices
from visift.evals.task import Question

ASKED = Question("q", "q", "A", options=("a red bus", "cats", "two", "no"))

# reply -> letter under: default, llava, lmms-eval, vlmevalkit
REPLIES = [
    ("B", "B", "B", "B", "B"),
    ("B.", "B", None, "B", "B"),
    ("(B)", "B", None, None, "B"),
    ("B. cats", "B", "B", "B", "B"),
    ("B) cats", "B", None, "B", "B"),
    ("The answer is C.", "C", "C", None, "C"),
    ("the correct answer is (c)", "C", None, None, None),
    ("Option D", "D", None, None, "D"),
    ("A red bus", "A", None, "A", "A"),  # by its text; the first character agrees by luck, VLMEvalKit takes the article
    ("A dog", None, None, "A", "A"),
    ("It shows cats", "B", None, "I", "B"),
    ("cats and a red bus", None, None, None, None),
    ("C or D", None, None, "C", None),
    ("E", None, "E", "E", None),
    ("", None, None, None, None),
    ("わかりません", None, None, None, None),
    ("2", "C", None, None, None),
]


@pytest.mark.parametrize(("reply", "default", "llava", "lmms", "vlmevalkit"), REPLIES)
def test_letters(reply, default, llava, lmms, vlmevalkit):
    found = [choices.PARSERS[name](ASKED, reply) for name in ("default", "llava", "lmms-eval", "vlmevalkit")]
    assert found == [default, llava, lmms, vlmevalkit]


def test_seed_takes_the_letter_or_nothing():
    assert [choices.exact(ASKED, t) for t in ("B", "B.", " B", "AB", "")] == ["B", None, None, None, None]


def test_a_question_as_llava_prints_it():
    assert (
        choices.asked("Which?", ("x", "y"), "Hint")
        == "Hint\nWhich?\nA. x\nB. y\nAnswer with the option's letter from the given choices directly."
    )
