"""A teacher's words for rule-made answers: what says the same passes; a changed number, name, place or yes is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Faulty, serving

from visift.core.dataset import Dataset
from visift.core.files import read_jsonl
from visift.core.types import Scene
from visift.remote.client import Client
from visift.remote.limits import Limits
from visift.sources.tabletop import Tabletop
from visift.synth.dialog.reword import PROSE, fact_words, facts, fault
from visift.synth.dialog.rounds import Round
from visift.synth.frame import Task, synthesise
from visift.synth.teacher import Teacher

pytestmark = pytest.mark.integration

COCO = ("person", "dog", "cat", "tv", "dining table", "potted plant")
WORDS = fact_words(Task("dialog", None, Path(), 0, {}, COCO), Scene("coco:1", "images", "1.jpg", 9, 9))  # type: ignore[arg-type]


def test_facts_are_read_in_their_order() -> None:
    said = "Yes, two people and a puppy sit to the left of the desk; the 3 TVs stand above it."
    assert facts(said, WORDS) == ["yes", "2", "person", "dog", "left", "dining table", "3", "tv", "above"]
    assert facts("No, I cannot see a cat.", WORDS) == ["no", "not", "cat"]
    assert facts("A quiet afternoon.", WORDS) == []


@pytest.mark.parametrize(
    ("form", "answer", "same", "other"),
    [
        ("sentence", "There are two dogs in the picture.", ["I can count two dogs.", "It shows 2 dogs."],
         ["There are three dogs.", "There are two cats.", "There are dogs.", "Two dogs and a cat are here.", "two dogs", "Two dogs. They sit."]),
        ("sentence", "The dog is to the left of the cat.", ["You find the dog left of the cat."],
         ["The cat is to the left of the dog.", "The dog is to the right of the cat.", "The dog is near the cat."]),
        ("sentence", "Yes, the picture shows a dog.", ["Yes, a dog can be seen."], ["No, the picture shows a dog.", "Yes, but there is no dog here."]),
        ("sentence", "No, I cannot see a TV in the picture.", ["No, there isn't any television here."], ["No, I can see a TV.", "I see a TV here."]),
        ("letter + reason", "B. The dog is on the left, the cat on the right.", ["B. The dog sits left, and the cat right."],
         ["A. The dog is on the left, the cat on the right.", "B. The dog is on the right, the cat on the left.", "B"]),
    ],
)  # fmt: skip
def test_what_is_told_survives(form: str, answer: str, same: list[str], other: list[str]) -> None:
    asked = Round("rules", "What?", answer, form)
    assert [fault(asked, text, WORDS) for text in same] == [None] * len(same)
    assert all(fault(asked, text, WORDS) for text in other), [t for t in other if not fault(asked, t, WORDS)]


def rows(body: dict[str, Any]) -> list[dict[str, str]]:
    return list(json.loads(body["messages"][-1]["content"]))


def told(row: dict[str, str]) -> str:
    """The same in other words."""
    if row["form"] == "letter + reason":
        return f"{row['answer'][:3]}As anyone can see, {row['answer'][3:]}"
    return row["answer"].replace(".", ", I would say.", 1)


def synth(out: Path, server: Faulty, scenes: int = 4) -> list[Any]:
    with Client(server.url, limits=Limits(timeout=10, backoff=0.01), cache=out / ".cache" / "replies.sqlite") as client:
        synthesise("dialog", Tabletop(scenes), out, teacher=Teacher(client, "wise"))
    return list(Dataset(out))


def test_a_teacher_rewords_prose_alone(tmp_path: Path) -> None:
    synthesise("dialog", Tabletop(4), tmp_path / "rules")
    plain = list(Dataset(tmp_path / "rules"))
    with serving(lambda n, body: json.dumps({"answers": [told(r) for r in rows(body)]})) as server:
        found = synth(tmp_path / "a", server)
    assert server.calls == 4 and [c.id for c in found] == [c.id for c in plain]
    for c, p in zip(found, plain, strict=True):
        for x, y in zip(c.turns, p.turns, strict=True):
            assert (x.text != y.text) == (y.form in PROSE)
        assert c.provenance.teacher == ("wise" if any(t.form in PROSE for t in p.turns) else "rules")
        assert bool(c.provenance.request_sha256) == (c.provenance.teacher == "wise")
    assert not list(read_jsonl(tmp_path / "a" / "rejected.jsonl"))


def test_what_is_wrong_is_asked_again_and_stays_as_it_was_in_the_end(tmp_path: Path) -> None:
    asked: list[list[dict[str, str]]] = []

    def plan(n: int, body: dict[str, Any]) -> str:
        asked.append(rows(body))
        victim = next(r for r in asked[0] if r["form"] == "sentence")["question"]
        return json.dumps(
            {"answers": ["I see nine of them." if r["question"] == victim else told(r) for r in asked[-1]]}
        )

    with serving(plan) as server:
        found = synth(tmp_path / "a", server, scenes=1)
    assert len(asked) == 2  # the third time it is the same question with the same fault: the reply is kept
    assert len(asked[0]) > len(asked[1]) == 1 and "wrong" in asked[1][0] and "wrong" not in asked[0][0]
    (left,) = [row for _, row in read_jsonl(tmp_path / "a" / "rejected.jsonl")]
    assert left["stage"] == "dialog reword" and "9" in left["reason"]
    assert any(t.text == asked[1][0]["answer"] for c in found for t in c.turns)


def test_a_teacher_that_never_answers_leaves_the_rules_words(tmp_path: Path) -> None:
    with serving(lambda n, body: "I would rather not.") as server:
        found = synth(tmp_path / "a", server, scenes=1)
    assert found and all(c.provenance.teacher == "rules" for c in found)
    assert list(read_jsonl(tmp_path / "a" / "rejected.jsonl"))
