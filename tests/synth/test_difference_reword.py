"""A teacher's words for differences: what says the same passes; another thing, place, colour or picture is found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from visift.core.errors import DataError
from visift.sources.tabletop import Tabletop
from visift.synth.difference import KIND, neighbours
from visift.synth.difference_reword import change_words, direction, fault, make
from visift.synth.difference_words import GONE, NEW
from visift.synth.frame import Task

SOURCE = Tabletop(6, seed=2)
ITEMS = list(neighbours(SOURCE))
WORDS = change_words(Task("difference", SOURCE, Path(), 0, {}, SOURCE.categories), ITEMS[0])


def test_the_rules_own_wordings_have_a_direction():
    names = {"The": "The ring", "the": "the ring", "is": "is", "has": "has", "A": "A ring", "a": "a ring"}
    assert {direction(w.format(**names)) for w in GONE} == {"gone"}
    assert {direction(w.format(**names)) for w in NEW} == {"new"}


@pytest.mark.parametrize(
    ("told", "kind", "same", "other"),
    [
        ("The red ring at the top left is gone.", "gone",
         ["The red ring that was at the top left has vanished.", "In the second picture the red ring is missing at the top left."],
         ["The red ring at the top left has appeared.", "The blue ring at the top left is gone.", "The red ring at the top right is gone.",
          "The red ring at the top left is no longer missing.", "The red ring at the top left is missing in the first picture.",
          "The red ring and the star at the top left are gone.", "The ring at the top left is gone.", "Gone. The red ring at the top left."]),
        ("A star in the middle is new.", "new", ["A star has been added in the middle."],
         ["The star in the middle is gone.", "A star in the middle was not added.", "A star in the middle is in the first picture.", "A circle in the middle is new."]),
        ("The star is now red.", "modify", ["The star has turned red."], ["The star is no longer red.", "The star is now blue.", "The star was red."]),
        ("The star is no longer red.", "modify", ["The star is not red any more."], ["The star has turned red."]),
    ],
)  # fmt: skip
def test_what_changed_survives(told, kind, same, other):
    assert [fault(told, text, kind, WORDS) for text in same] == [None] * len(same)
    assert all(fault(told, text, kind, WORDS) for text in other), [t for t in other if not fault(told, t, kind, WORDS)]


class Teacher:
    model = "told"

    def __init__(self, rewrite):
        self.rewrite, self.asked = rewrite, []

    def ask(self, turns, images, seed, *, readable, fits):
        text = self.rewrite(turns[-1].text)
        self.asked.append(turns[-1].text)
        if wrong := readable(text) or fits(text):
            raise DataError(wrong)
        return SimpleNamespace(text=text, request_sha256="ab")


@pytest.mark.parametrize("honest", [True, False])
def test_rows_in_the_teacher_s_words_or_as_they_were(tmp_path, honest):
    task = Task(
        "difference", SOURCE, tmp_path, 0, dict(KIND.options) | {"per_scene": 4, "unchanged": 0.2}, SOURCE.categories
    )
    rows, rejected = [], []
    teacher = Teacher(lambda told: f"Look, {told[0].lower()}{told[1:]}" if honest else "A red elephant is gone.")
    for item in ITEMS[:3]:
        made = make(teacher, task, item)
        rows += made.conversations
        rejected += [r for r in made.rejected if r.stage == "difference reword"]
    for row in rows:
        edits = row.meta["edits"]
        simple = len(row.images) == 2 and bool(edits) and edits[0]["edit"] != "swap"
        assert row.turns[-1].text.startswith("Look, ") == (simple and honest) == (row.provenance.teacher == "told")
    assert len(teacher.asked) >= 3 and len(rejected) == (0 if honest else len(teacher.asked))
