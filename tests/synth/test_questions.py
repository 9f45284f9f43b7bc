"""Untagged rounds, checked against an oracle that reads the scene on its own."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.core.seeds import rng
from visift.sources.tabletop import FAVOURITE, Tabletop
from visift.synth.frame import synthesise
from visift.synth.skills import SKILLS, draw_round

SCENES = list(Tabletop(count=60, level=1))
RELATIONS = {
    "left of": lambda a, b: a[0] < b[0], "right of": lambda a, b: a[0] > b[0],
    "above": lambda a, b: a[1] < b[1], "below": lambda a, b: a[1] > b[1],
}  # fmt: skip


def middle(region):
    x, y, w, h = region.box
    return x + w / 2, y + h / 2


def find(scene, words):
    """The only region that all `words` fit."""
    fits = [r for r in scene.regions if set(words.split()) <= {*r.attributes.values(), r.category}]
    assert len(fits) == 1, words
    return fits[0]


def oracle(scene, question):
    """The answer, worked out from the question's text alone."""
    if m := re.match(r"(?:What|Which) colour (?:is|does) the (\w+)", question):
        return find(scene, m[1]).attributes["colour"]
    if m := re.match(r"What is the (\w+) object", question):
        return find(scene, m[1]).category
    if m := re.match(r"Is the (.+) large or small", question):
        return find(scene, m[1]).attributes["size"]
    if question == "How many objects are there?":
        return str(len(scene.regions))
    if m := re.match(r"How many (\w+) objects", question):
        return str(sum(r.attributes["colour"] == m[1] for r in scene.regions))
    if m := re.match(r"How many (\w+) are", question):
        return str(sum(m[1] in (r.category + "s", r.category + "es") for r in scene.regions))
    if m := re.match(r"Is (?:there )?an? (\w+) (\w+)", question):
        return "yes" if any((r.attributes["colour"], r.category) == m.groups() for r in scene.regions) else "no"
    if m := re.match(r"Is the (.+?) (left of|right of|above|below) the (.+)\?", question):
        return "yes" if RELATIONS[m[2]](middle(find(scene, m[1])), middle(find(scene, m[3]))) else "no"
    if m := re.match(r"Where is the (.+)\?", question):
        x, y = middle(find(scene, m[1]))
        return f"{('top', 'centre', 'bottom')[int(y * 3 // 112)]} {('left', 'middle', 'right')[int(x * 3 // 112)]}"
    if m := re.match(r"What is at the (\w+) (\w+)\?", question):
        there = [
            r for r in scene.regions
            if oracle(scene, f"Where is the {r.name}?") == f"{m[1]} {m[2]}"
        ]  # fmt: skip
        assert len(there) == 1
        return there[0].name
    if question in ("Describe the picture.", "What is in the picture?"):
        names = [f"a {r.name}" for r in sorted(scene.regions, key=middle)]
        return f"{', '.join(names[:-1])} and {names[-1]}."
    raise AssertionError(question)


@pytest.mark.parametrize("skill", sorted(SKILLS))
def test_every_answer_agrees_with_an_independent_oracle(skill):
    for scene in SCENES:
        for k in range(4):
            found = draw_round(rng("oracle", skill, scene.id, k), scene, skill)
            assert oracle(scene, found.question) == found.answer, found


def test_existence_is_half_yes_in_each_split_and_its_no_s_are_drawn_as_named(tmp_path):
    synthesise("questions", Tabletop(count=40, split="held-out"), tmp_path / "q", skill="existence")
    scenes = {s.id: s for s in Tabletop(count=40, split="held-out")}
    counts = Counter()
    for c in Dataset(tmp_path / "q"):
        split, scene = c.meta["split"], scenes[c.provenance.scenes[0]]
        counts[split, c.reference] += 1
        colour, shape = re.match(r"Is (?:there )?an? (\w+) (\w+)", c.turns[-2].text).groups()
        if c.reference == "no" and split == "adversarial":
            assert any(r.attributes["colour"] == colour for r in scene.regions)
            assert any(r.category == shape for r in scene.regions)
        if c.reference == "no" and split == "popular":
            assert FAVOURITE[shape] == colour
    for split in ("random", "popular", "adversarial"):
        assert abs(counts[split, "yes"] - counts[split, "no"]) <= 4, counts


def test_skills_rows_hold_different_rounds_with_forms(tmp_path):
    synthesise("skills", Tabletop(count=12), tmp_path / "s", rounds=5)
    for c in Dataset(tmp_path / "s"):
        questions = [t.text for t in c.turns if t.role == "user"]
        assert len(questions) == len(set(questions)) == 5
        assert all(t.form for t in c.turns if t.role == "assistant")
        assert c.turns[0].parts[0].image == 0


def test_the_same_questions_stand_over_tagged_and_untagged_pictures(tmp_path):
    source = Tabletop(count=6, split="held-out")
    synthesise("questions", source, tmp_path / "a", skill="relation")
    synthesise("questions", source, tmp_path / "b", skill="relation", tagged=True, model_px=112)
    plain, tagged = list(Dataset(tmp_path / "a")), list(Dataset(tmp_path / "b"))
    assert [(c.id, c.turns) for c in plain] == [(c.id, c.turns) for c in tagged]
    assert all(a.images[0].sha256 != b.images[0].sha256 for a, b in zip(plain, tagged, strict=True))
    assert len(list(Dataset(tmp_path / "b").tagged())) == 6


def test_an_unknown_skill_is_named(tmp_path):
    with pytest.raises(UsageError, match="juggling"):
        synthesise("questions", Tabletop(count=1), tmp_path / "q", skill="juggling")
