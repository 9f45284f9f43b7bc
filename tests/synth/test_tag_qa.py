"""Every answer is worked out again from the manifest's masks alone, by an oracle that shares no code with the rules."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from visift.core.dataset import Dataset
from visift.core.rle import decode_rle
from visift.core.types import Conversation, Mark, TaggedPicture
from visift.sources.coco import CocoSource
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
from visift.synth.rules import plural, with_article


class Oracle:
    """Answers a question about one tagged picture from masks: centres of mass, pixel counts, names."""

    def __init__(self, tagged: TaggedPicture) -> None:
        self.marks: dict[int, Mark] = {m.number: m for m in tagged.marks}
        self.centre, self.pixels = {}, {}
        for number, mark in self.marks.items():
            ys, xs = np.nonzero(decode_rle(mark.rle))
            self.centre[number], self.pixels[number] = (xs.mean(), ys.mean()), len(xs)

    def name(self, number: int) -> str:
        return self.marks[number].name or self.marks[number].category

    def answer(self, question: str) -> str:
        numbers = [int(n) for n in re.findall(r"\d+", question)]
        assert all(n in self.marks for n in numbers), f"{question} refers to a number that is not there"
        if re.match(r"What is number|What does number|Name number", question):
            return self.name(numbers[0])
        if found := re.match(r"Which number (?:is|marks) the (.*)\?", question):
            return str(*[n for n in self.marks if self.name(n) == found[1]])
        if found := re.match(r"(?:How many|Count the) numbered (.*?)(?: are there\?|\.)$", question):
            return str(sum(self.is_a(n, found[1]) for n in self.marks))
        if found := re.match(r"Is number \d+ (left of|right of|above|below) number", question):
            a, b = (self.centre[n] for n in numbers)
            holds = {"left of": a[0] < b[0], "right of": a[0] > b[0], "above": a[1] < b[1], "below": a[1] > b[1]}
            return "yes" if holds[found[1]] else "no"
        if re.match(r"Which number is (nearest|closest) to", question):
            here = self.centre[numbers[0]]
            others = {n: np.hypot(here[0] - x, here[1] - y) for n, (x, y) in self.centre.items() if n != numbers[0]}
            return str(min(others, key=lambda n: others[n]))
        if found := re.match(r"Which (?:one )?is (larger|smaller)", question):
            pick = max if found[1] == "larger" else min
            sizes = sorted(self.pixels[n] for n in numbers)
            assert sizes[1] >= 1.5 * sizes[0]
            return str(pick(numbers, key=lambda n: self.pixels[n]))
        if found := re.match(r"(?:Is there a numbered|Does any number mark(?: an?)?) (.*)\?", question):
            return "yes" if any(found[1] in (self.name(n), m.category) for n, m in self.marks.items()) else "no"
        raise AssertionError(f"the oracle does not know: {question}")

    def is_a(self, number: int, names: str) -> bool:
        if names.endswith(" objects"):
            return names.removesuffix(" objects") in self.name(number).split()[:-1]
        return plural(self.marks[number].category) == names


def check(row: Conversation, tagged: TaggedPicture) -> list[str]:
    """Verify a conversation; returns its question words."""
    oracle, asked = Oracle(tagged), []
    assert 3 <= len(row.turns) / 2 <= 6
    assert [p.image for t in row.turns for p in t.parts if p.image is not None] == [0]
    for question, reply in zip(row.turns[::2], row.turns[1::2], strict=True):
        expected = oracle.answer(question.text)
        if reply.form == "phrase":
            assert reply.text in (expected, f"a {expected}", f"an {expected}")
        else:
            assert reply.text == expected, (row.id, question.text)
            assert reply.form == ("yes/no" if expected in ("yes", "no") else "number")
        asked.append(question.text)
    assert len(set(asked)) == len(asked)
    return asked


def check_dataset(path: Path) -> list[tuple[str, str]]:
    dataset = Dataset(path)
    manifest = {t.image: t for t in dataset.tagged()}
    pairs = []
    for row in dataset:
        asked = check(row, manifest[row.images[0].path])
        pairs += list(zip(asked, [t.text for t in row.turns[1::2]], strict=True))
    return pairs


def test_tabletop_answers_hold_and_are_balanced(tmp_path: Path) -> None:
    card = synthesise("tag-qa", Tabletop(200), tmp_path / "a")
    assert card["counts"]["conversations"] == 200
    pairs = check_dataset(tmp_path / "a")
    stems = (
        "What|Name",
        "Which number (is|marks) the",
        "How many|Count",
        "Is number",
        "nearest|closest",
        "larger",
        "smaller",
        "mark an? |there a",
    )
    for stem in stems:
        assert sum(bool(re.search(stem, q)) for q, _ in pairs) > 25, stem
    for stem in ("Is number", "mark an? |Is there a"):
        answers = [a for q, a in pairs if re.search(stem, q)]
        assert 0.4 < answers.count("yes") / len(answers) < 0.6
    first = [a == re.findall(r"\d+", q)[0] for q, a in pairs if re.search("larger|smaller", q)]
    assert 0.4 < sum(first) / len(first) < 0.6


@pytest.mark.data
@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("seeds", [1, pytest.param(3, marks=pytest.mark.stress)])
def test_photographs(data: Path, tmp_path: Path, split: str, seeds: int) -> None:
    coco = data / "coco_mini"
    source = CocoSource(coco / split, coco / "annotations" / f"instances_{split}.json")
    for seed in range(seeds):
        synthesise("tag-qa", source, tmp_path / str(seed), seed=seed)
        check_dataset(tmp_path / str(seed))


def test_resumed_run_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visift.core.dataset.PART", 7)
    whole = synthesise("tag-qa", Tabletop(20), tmp_path / "a")
    from visift.synth import frame

    real, calls = frame.draw_tagged, []

    def breaks(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("visift.synth.tag_qa.draw_tagged", breaks)
    with pytest.raises(KeyboardInterrupt):
        synthesise("tag-qa", Tabletop(20), tmp_path / "b")
    again = synthesise("tag-qa", Tabletop(20), tmp_path / "b")
    assert again["content_sha256"] == whole["content_sha256"]
    assert len(calls) == 12 + 13  # the first part of seven was not made again


@pytest.mark.parametrize(
    ("name", "many", "one"),
    [("dog", "dogs", "a dog"), ("wine glass", "wine glasses", "a wine glass"), ("person", "people", "a person"), ("sheep", "sheep", "a sheep"),
     ("knife", "knives", "a knife"), ("bus", "buses", "a bus"), ("sandwich", "sandwiches", "a sandwich"), ("toothbrush", "toothbrushes", "a toothbrush"),
     ("teddy bear", "teddy bears", "a teddy bear"), ("umbrella", "umbrellas", "an umbrella"), ("skis", "skis", "skis"), ("cherry", "cherries", "a cherry"),
     ("toy", "toys", "a toy"), ("unicycle", "unicycles", "a unicycle"), ("orange square", "orange squares", "an orange square"), ("box", "boxes", "a box"),
     ("computer mouse", "computer mice", "a computer mouse"), ("scissors", "scissors", "scissors"), ("broccoli", "broccoli", "broccoli")],
)  # fmt: skip
def test_english(name: str, many: str, one: str) -> None:
    assert (plural(name), with_article(name)) == (many, one)
