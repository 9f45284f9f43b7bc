"""Dialogues: every answer worked out again, every answer of its form, forms that switch, caps, and what is never asked."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dialog_oracle import oracles

from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.core.seeds import rng
from visift.core.types import Asked, Conversation, Region, Scene
from visift.curate.forms import REQUEST
from visift.sources.coco import CocoSource
from visift.sources.tabletop import Tabletop
from visift.synth.dialog.assembly import distinct, in_order, split, tokens
from visift.synth.dialog.draw import MAKERS, draw
from visift.synth.dialog.forms import FORMS, SHORT, form_of
from visift.synth.dialog.known import Known
from visift.synth.dialog.rounds import Round
from visift.synth.dialog.words import best_captions, clean_caption
from visift.synth.frame import synthesise


def rounds_of(c: Conversation) -> list[tuple[str, str, str]]:
    return [(u.text, a.text, a.form) for u, a in zip(c.turns[::2], c.turns[1::2], strict=True)]


def request_in(question: str, form: str) -> bool:
    return any(question.endswith(wish) for wish in FORMS[form].requests)


@pytest.mark.data
@pytest.mark.integration
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_an_independent_oracle_agrees_with_every_answer(data: Path, tmp_path: Path, split: str) -> None:
    coco = data / "coco_mini"
    notes = coco / "annotations"
    truth = oracles(coco, split)
    source = CocoSource(coco / split, notes / f"instances_{split}.json", notes / f"captions_{split}.json")
    seen: Counter[str] = Counter()
    for seed in range(2):
        synthesise("dialog", source, tmp_path / str(seed), seed=seed)
        for c in Dataset(tmp_path / str(seed)):
            for question, answer, form in rounds_of(c):
                truth[c.provenance.scenes[0]].check(question, answer, form)
                assert FORMS[form].holds(answer) and request_in(question, form)
                seen[form] += 1
    assert set(seen) == set(MAKERS) and min(seen.values()) > 20, seen


def test_yes_and_no_are_balanced_and_letters_even(tmp_path: Path) -> None:
    synthesise("dialog", Tabletop(120), tmp_path / "a")
    said: Counter[tuple[str, str]] = Counter()
    for c in Dataset(tmp_path / "a"):
        for question, answer, form in rounds_of(c):
            if form == "yes/no":
                said["direction" if re.search("left|right|above|below", question) else "presence", answer] += 1
            if form == "letter" and "\nD. " in question:
                said["letter", answer] += 1
    for kind in ("direction", "presence"):
        yes, no = said[kind, "yes"], said[kind, "no"]
        assert yes + no > 40 and 0.35 < yes / (yes + no) < 0.65, said
    four = [said["letter", k] for k in "ABCD"]
    assert min(four) > 0.12 * sum(four), said


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_form_has_eight_wordings_that_only_short_ones_share_with_the_audit(form: str) -> None:
    wishes = FORMS[form].requests
    assert len(set(wishes)) == len(wishes) >= 8
    for wish in wishes:
        assert bool(REQUEST.search(f"What is it? {wish}")) == (form in SHORT), wish


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("phrase", ["the dog", "top left"], ["", "The dog is here.", "a b c d e f g h i"]),
        ("number", ["0", "12", "2.5"], ["two", "-1", "3 dogs", ""]),
        ("yes/no", ["yes", "No", "no."], ["yes, it is", "maybe", ""]),
        ("letter", ["A"], ["a", "A.", "AB", "I", ""]),
        ("letter + reason", ["B. The dog is on the left."], ["B", "B.", "B. Dog.", "The dog is on the left."]),
        ("phrase + reason", ["Red. The light says so."], ["Red.", "red"]),
        ("sentence", ["The dog is here.", "There are 2.5 of them."], ["the dog is here.", "A dog. It sits there.", "A dog", "Yes."]),
        ("paragraph", ["A dog sits on the grass near a tree. It looks at the ball that lies beside it."], ["A dog sits.", "Dog. Cat."]),
        ("list", ["- a dog\n- a cat"], ["- a dog", "a dog\na cat", "- a\n\n- b"]),
        ("coordinates", ["[0.10, 0.20, 0.30, 1.00]"], ["[0.1, 0.2, 0.3, 0.4]", "[0.50, 0.20, 0.30, 0.40]", "[0.10, 0.20, 0.30, 1.01]"]),
    ],
)  # fmt: skip
def test_validators(form: str, good: list[str], bad: list[str]) -> None:
    assert all(FORMS[form].holds(text) for text in good)
    assert not any(FORMS[form].holds(text) for text in bad)


def test_a_free_text_has_the_form_it_shows() -> None:
    texts = {"Yes": "yes/no", "3": "number", "C": "letter", "red and blue": "phrase", "The dog sleeps there.": "sentence",
             "The dog sleeps there on the mat. It is brown and very large, as these dogs are.": "paragraph", "": ""}  # fmt: skip
    assert {t: form_of(t) for t in texts} == texts


# --- what annotations do not know


def region(name: str, x: int, y: int, side: int = 20, **more: Any) -> Region:
    return Region(
        f"r-{name}-{x}-{y}", name, (x, y, side, side), [[x, y, x + side, y, x + side, y + side, x, y + side]], **more
    )


def scene(*regions: Region, **more: Any) -> Scene:
    return Scene("coco:1", "images", "1.jpg", 200, 200, "CC BY 4.0", tuple(regions), **more)


def asked_of(found: Scene, categories: tuple[str, ...] = (), seeds: int = 30) -> list[Round]:
    return [r for seed in range(seeds) for r in draw(rng(seed), Known(found, categories), 3)]


def test_what_has_a_crowd_is_not_counted_nor_called_the_one() -> None:
    found = asked_of(
        scene(region("person", 10, 10, crowd=True), region("dog", 150, 150)),
        ("person", "dog", "zebra", "kite", "oven", "bed"),
    )
    assert found and not any(f in r.facts for r in found for f in ("count person", "place person", "box person"))
    assert any("count dog" in r.facts for r in found) and any("presence person" in r.facts for r in found)


def test_lvis_says_absent_only_what_was_looked_for() -> None:
    """No count, no `the shirt`, where annotators did not go on to the end; no absence beyond neg_category_ids."""
    lvis = scene(
        region("shirt", 10, 10), region("basket", 150, 150), absent=("dress", "ladle", "napkin"), uncounted=("shirt",)
    )
    found = asked_of(lvis)
    assert not any(f"{kind} shirt" in r.facts for r in found for kind in ("count", "place", "box"))
    assert any("count basket" in r.facts for r in found)
    nos = [r for r in found if r.form == "yes/no" and r.answer == "no"]
    assert nos and all(re.search("dress|ladle|napkin", r.question) for r in nos)
    assert not [
        r for r in asked_of(scene(region("shirt", 10, 10))) if r.answer == "no"
    ]  # nothing was looked for in vain


def test_a_picture_without_regions_says_nothing_about_absence() -> None:
    """A picture that only the captions file lists was not looked at for categories."""
    found = asked_of(scene(captions=("Two dogs sleep on a mat outside.",)), ("zebra", "kite", "oven", "bed"))
    assert {r.form for r in found} == {"sentence"} and all("zebra" not in r.question for r in found)


def test_what_a_caption_mentions_or_looks_alike_is_not_called_absent() -> None:
    found = Known(
        scene(region("car", 10, 10), captions=("A car beside a kite on the grass.",)), ("car", "truck", "kite", "zebra")
    )
    assert found.absent == ["zebra"]


def test_stuff_is_asked_about_but_never_counted() -> None:
    sky = region("sky-other-merged", 0, 0, 90, stuff=True)
    found = asked_of(scene(sky, region("dog", 150, 150)), ("dog", "sky-other-merged", "snow", "sea", "river", "zebra"))
    assert not any("count sky-other-merged" in r.facts for r in found)
    assert any(r.form == "yes/no" and "the sky" in r.question and r.answer == "yes" for r in found)
    assert any(r.form == "yes/no" and re.search("snow|sea|river", r.question) and r.answer == "no" for r in found)
    assert any(r.form == "phrase" and r.answer == "the sky" for r in found)
    water = asked_of(
        scene(region("water-other", 0, 0, 90, stuff=True), region("dog", 150, 150)),
        ("dog", "water-other", "snow", "sea", "river"),
    )
    assert not any(re.search("sea|river", r.question) for r in water)  # it may well be one of them


def test_nothing_is_asked_twice_or_told_before_it_is_asked() -> None:
    for seed in range(10):
        for found in Tabletop(3, seed=seed):
            rounds = draw(rng(seed), Known(found, Tabletop(1).categories), 3)
            told: set[str] = set()
            for r in rounds:
                assert not r.clash & told
                told |= r.facts
            told = set()
            for r in in_order(rng(seed), rounds, 1.0):  # nor in the order in which the dialogue has them
                assert not r.clash & told
                told |= r.facts | r.hints


# --- assembly


def made(forms: str) -> list[Round]:
    names = {"n": "number", "y": "yes/no", "s": "sentence", "p": "phrase"}
    return [Round("rules", f"Question {k}?", str(k), names[f]) for k, f in enumerate(forms)]


def switch_share(dialogues: list[list[Round]]) -> tuple[int, int]:
    """(neighbours that differ in form, neighbours)."""
    pairs = [(x.form, y.form) for dialogue in dialogues for x, y in pairwise(dialogue)]
    return sum(x != y for x, y in pairs), len(pairs)


@pytest.mark.parametrize("forms", ["nnnyyys", "nnnnnyyyyy", "nys", "nnnnyyss", "n"])
def test_forms_switch_wherever_they_can(forms: str) -> None:
    for seed in range(20):
        order = in_order(rng(seed), made(forms), 1.0)
        switches, pairs = switch_share([order])
        assert switches == pairs and sorted(r.question for r in order) == sorted(r.question for r in made(forms))
    switches, pairs = switch_share([in_order(rng(0), made("nnnnny"), 1.0)])
    assert switches >= 2  # as many as one other form allows


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_share_of_switches_is_what_was_asked_for(share: float) -> None:
    counts = np.array(
        [switch_share([in_order(rng(seed), made("n" * 8 + "y" * 8 + "s" * 8), share)]) for seed in range(20)]
    )
    switches, pairs = counts.sum(axis=0)
    assert abs(switches / pairs - max(share, 2 / 23)) < 0.06


def test_caps_spill_over_evenly_and_lose_nothing() -> None:
    rounds = in_order(rng(0), made("nys" * 5), 1.0)
    dialogues = split(rounds, 12, 2048, 1.0)
    assert [len(d) for d in dialogues] == [8, 7] and [r for d in dialogues for r in d] == rounds
    small = split(rounds, 12, 60, 1.0)
    assert all(sum(map(tokens, d)) <= 60 for d in small) and [r for d in small for r in d] == rounds
    assert all(len({r.form for r in d}) == 1 for d in split(in_order(rng(0), rounds, 0.0), 12, 2048, 0.0))


def test_a_question_is_asked_once_whatever_its_spelling() -> None:
    rounds = [
        Round("vqav2", "What colour is it?", "red", "phrase"),
        Round("rules", "what colour is it", "blue", "phrase"),
    ]
    assert [r.source for r in distinct(rounds)] == ["vqav2"]


def test_the_four_assemblies_hold_the_same_rounds(tmp_path: Path) -> None:
    """One form a dialogue, request first, request every, single rounds: equal questions and answers, differently cut."""
    ways: dict[str, dict[str, Any]] = {
        "one": {"switch": 0.0},
        "first": {"request": "first"},
        "every": {},
        "single": {"rounds": 1},
        "never": {"request": "never"},
    }
    kept = {}
    for name, options in ways.items():
        synthesise("dialog", Tabletop(10), tmp_path / name, **options)
        rows = list(Dataset(tmp_path / name))
        kept[name] = Counter((c.provenance.scenes[0], a.text, a.form) for c in rows for a in c.turns[1::2])
        marked = [[request_in(q, f) for q, _, f in rounds_of(c)] for c in rows]
        if name == "first":
            assert all(m[0] and not any(m[1:]) for m in marked)
        else:
            assert all(all(m) if name != "never" else not any(m) for m in marked)
        forms = [[f for _, _, f in rounds_of(c)] for c in rows]
        if name == "one":
            assert all(len(set(f)) == 1 for f in forms)
        elif name == "single":
            assert all(len(f) == 1 for f in forms)
        else:
            pairs = [x != y for f in forms for x, y in pairwise(f)]
            assert sum(pairs) / len(pairs) > 0.95
    assert len({frozenset(k.items()) for k in kept.values()}) == 1


def test_public_rounds_come_first_and_carry_their_licence(tmp_path: Path) -> None:
    from dataclasses import replace

    class Source(Tabletop):
        def scene(self, index: int) -> Scene:
            extra = (
                Asked("vqav2", "What is on the table?", "shapes", "phrase", "CC BY 4.0"),
                Asked("vqav2", "Broken?", "a b. c d.", "phrase"),
            )
            return replace(super().scene(index), asked=extra)

    card = synthesise("dialog", Source(2), tmp_path / "a")
    rows = list(Dataset(tmp_path / "a"))
    assert card["licences"] == ["CC BY 4.0", "CC0-1.0"] and card["counts"]["rejected"] == 2
    assert sum(c.meta["sources"].count("vqav2") for c in rows) == 2
    assert any(t.text == "shapes" for c in rows for t in c.turns)


@pytest.mark.integration
def test_the_same_bytes_on_any_number_of_workers(tmp_path: Path) -> None:
    one = synthesise("dialog", Tabletop(12), tmp_path / "a")
    two = synthesise("dialog", Tabletop(12), tmp_path / "b", workers=2)
    other = synthesise("dialog", Tabletop(12), tmp_path / "c", seed=1)
    assert one["content_sha256"] == two["content_sha256"] != other["content_sha256"]


@pytest.mark.parametrize("options", [{"request": "now"}, {"switch": 2.0}, {"rounds": 0}, {"tokens": 3}])
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        synthesise("dialog", Tabletop(1), tmp_path / "a", **options)


def test_captions_fit_to_be_answers() -> None:
    assert clean_caption("  a dog  sits on the grass ") == "A dog sits on the grass."
    assert clean_caption("LARGE BLACK BEAR IN A ZOO.") == "Large black bear in a zoo."
    assert clean_caption("unable to see this image at all") is None and clean_caption("a dog") is None
    assert best_captions(
        ["Something else altogether stands here.", "A dog on the grass.", "A brown dog on the grass."]
    )[-1].startswith("Something")
