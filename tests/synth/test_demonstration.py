"""Questions over several pictures: every answer is found again by a reader of text and annotations who knows no task code."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import UsageError, VisiftError
from visift.core.types import Conversation, Region, Scene
from visift.evals.tasks import demon
from visift.sources.tabletop import COLOURS, SHAPES, Tabletop
from visift.synth.demonstration import CATEGORY, labelled
from visift.synth.demonstration_tasks import COUSINS, TASKS, shown
from visift.synth.dialog.forms import FORMS
from visift.synth.frame import synthesise

SOURCE = Tabletop(30, seed=5)
SCENES = {scene.id: scene for scene in SOURCE}
SINGULAR = {"crosses": "cross"} | {f"{s}s": s for s in SHAPES}
KIND = re.compile(rf"(?:\b({'|'.join(COLOURS)}) )?\b({'|'.join([*SHAPES, *SINGULAR])})\b")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("demonstration")
    synthesise("demonstration", SOURCE, out, per_scene=9)
    return Dataset(out)


@pytest.fixture(scope="module")
def rows(dataset):
    by_task = defaultdict(list)
    for row in dataset:
        by_task[row.provenance.template.partition("/")[2]].append(row)
    return by_task


def numbers(row: Conversation, asked: str) -> list[int]:
    """How many of the one kind that `asked` names each picture shows."""
    ((colour, shape),) = KIND.findall(asked)
    shape = SINGULAR.get(shape, shape)
    scenes = [SCENES[name] for name in row.provenance.scenes]
    return [
        sum(r.category == shape and colour in ("", r.attributes["colour"]) for r in scene.regions) for scene in scenes
    ]


def one_of(found: list[int]) -> str:
    (right,) = (k for k, n in enumerate(found) if n)
    return f"Picture {right + 1}"


def asked_of(row: Conversation) -> str:
    return row.turns[0].text


def test_every_task_is_drawn_and_every_category_of_demon_has_a_cousin(rows):
    assert set(rows) == set(TASKS) == set(CATEGORY)
    assert set(COUSINS) == set(demon.OPEN) | set(demon.CHOICE)
    for task, found in rows.items():
        for row in found:
            answer, parts = row.turns[-1], row.turns[0].parts
            assert row.meta["category"] == CATEGORY[task]
            assert FORMS[answer.form].holds(answer.text) or task == "match", answer.text
            assert [p.image for p in parts if p.text is None] == list(range(len(row.images)))
            places = [k for k, p in enumerate(parts) if p.text is None]
            assert all(b - a > 1 for a, b in pairwise(places))  # text between the pictures
            assert not row.meta["options"] or answer.text in row.meta["options"]
            assert len({p.path for p in row.images}) == len(row.images) > 1


def test_which_picture(rows):
    for row in rows["which-picture"]:
        assert row.turns[-1].text == one_of(numbers(row, asked_of(row)))


def test_facts_need_the_price_list(rows):
    for row in rows["facts"]:
        which = int(re.search(r"in picture (\d)", asked_of(row))[1]) - 1
        prices = dict(re.findall(r"([a-z ]+): (\d+) coins", asked_of(row)))
        there = [price for thing, price in prices.items() if numbers(row, thing)[which]]
        assert there == [row.turns[-1].text] and set(row.meta["options"]) == set(prices.values()) and len(prices) == 3


def test_the_number_to_read_is_printed_on_the_picture(rows, dataset):
    for row in rows["read"]:
        right = int(one_of(numbers(row, asked_of(row))).split()[1]) - 1
        scene = SCENES[row.provenance.scenes[right]]
        file = np.asarray(Image.open(dataset.picture_path(row.images[right])), np.int16)
        off = {
            label: np.abs(file - np.asarray(labelled(SOURCE.open(scene), label, scene.regions))).mean()
            for label in row.meta["options"]
        }
        assert min(off, key=off.get) == row.turns[-1].text and len(off) == 2


def test_odd_one_out(rows):
    for row in rows["odd-one-out"]:
        text = row.turns[-1].text
        told = asked_of(row) if KIND.search(asked_of(row)) else text
        found = numbers(row, told)
        assert found.count(0) == 1 and text.startswith(f"Picture {found.index(0) + 1}")
        if told is text:  # nothing else may set a picture apart
            kinds = {k for name in row.provenance.scenes for k in shown([SCENES[name]], SHAPES)[0].number}
            apart = [k for k in kinds if numbers(row, k).count(0) == 1]
            assert len(apart) == 1


def test_same_or_different(rows):
    seen = Counter()
    for row in rows["same-or-different"]:
        found, by_number = numbers(row, asked_of(row)), "many" in asked_of(row) or "number" in asked_of(row)
        same = found[0] == found[1] if by_number else all(found)
        assert any(found) and row.turns[-1].text == ("yes" if same else "no")
        seen[by_number, same] += 1
    assert len(seen) == 4


def test_order_by_count(rows):
    for row in rows["order-by-count"]:
        found = numbers(row, asked_of(row))
        order = [found[int(n) - 1] for n in re.findall(r"\d", row.turns[-1].text)]
        assert order == sorted(set(found), reverse="most first" in asked_of(row))  # all different


def test_contrast(rows):
    for row in rows["contrast"]:
        first, second = ({r.category for r in SCENES[name].regions} for name in row.provenance.scenes)
        assert {
            SINGULAR.get(s, s) for _, s in KIND.findall(row.turns[-1].text.lower())
        } == second - first and first & second


def test_contrast_names_all_or_nothing():
    """A small new thing would be missing from the answer; one that the first picture shows too is not asked for, nor is the sky."""
    big, tiny = (0, 0, 50, 50), (0, 0, 2, 2)

    def drawn(first: list[Region], second: list[Region]) -> str | None:
        scenes = [Scene(f"x:{k}", "", "", 100, 100, regions=tuple(r)) for k, r in enumerate((first, second))]
        sample = TASKS["contrast"](np.random.default_rng(0), shown(scenes, ("dog", "kite", "sink")))
        return sample and sample.answer

    dog, kite, sink = (Region(name, name, big) for name in ("dog", "kite", "sink"))
    small, sky = Region("small", "sink", tiny), Region("sky", "sky-other-merged", big, stuff=True)
    assert (
        drawn([dog], [dog, kite])
        == drawn([dog], [dog, kite, sky])
        == drawn([dog, sink], [dog, kite, small])
        == "A kite"
    )
    assert drawn([dog], [dog, kite, small]) is None
    assert drawn([dog, small], [dog, kite, sink]) is None


def test_patterns_show_two_different_answers(rows):
    for row in rows["pattern"]:
        asked = re.findall(r"((?:\w+ )?\w+)(\??) (yes|no|\d)\.", asked_of(row))
        found = numbers(row, asked[0][0])
        says = [str(n) if not asked[0][1] else ("yes" if n else "no") for n in found]
        assert says == [asked[0][2], asked[1][2], row.turns[-1].text] and says[0] != says[1]


def test_history(rows):
    seen = set()
    for row in rows["history"]:
        for which, asked, says in re.findall(r"Does picture (\d) show ([^?]+)\? Answer: (yes|no)", asked_of(row)):
            assert (numbers(row, asked)[int(which) - 1] > 0) == (says == "yes")
            seen.add(says)
        asked, which = re.search(r"How many (.+) are there in picture (\d)\? Answer:$", asked_of(row)).groups()
        assert str(numbers(row, asked)[int(which) - 1]) == row.turns[-1].text != "0"
    assert seen == {"yes", "no"}


def test_captions_stand_by_their_pictures(rows):
    for task in ("story", "match"):
        for row in rows[task]:
            captions = [SCENES[name].captions[0] for name in row.provenance.scenes]
            shown_ones = re.findall(r"Caption \d: (.+?)(?: $|$|(?<=\.) |(?<=UNKNOWN) )", "\n".join(p.text or "" for p in row.turns[0].parts), re.M)  # fmt: skip
            hidden = len(captions) - 1 if task == "story" else shown_ones.index("UNKNOWN")
            assert row.turns[-1].text.lower().rstrip(".") == captions[hidden]
            for k, text in enumerate(shown_ones):
                assert k == hidden or text.lower().rstrip(".") == captions[k]
            if task == "match":
                others = set(row.meta["options"]) - {row.turns[-1].text}
                assert len(others) == 2 and not {o.lower() for o in others} & set(captions)


def test_answers_are_spread(rows):
    """No place is always right."""
    for task, most in (("which-picture", 0.65), ("odd-one-out", 0.55)):
        firsts = Counter(row.turns[-1].text[:9] for row in rows[task])
        assert max(firsts.values()) < most * len(rows[task]) + 4, (task, firsts)


def test_what_is_not_sure_is_not_known():
    """A kind that no list closes, too small a thing, a crowd."""
    big, tiny = (0, 0, 50, 50), (0, 0, 2, 2)
    scene = Scene("x:1", "", "1.png", 100, 100, regions=(
        Region("1", "dog", big), Region("2", "dog", big, crowd=True), Region("3", "cat", tiny), Region("4", "cow", big)))  # fmt: skip
    (open_list,), (closed,) = shown([scene], ()), shown([scene], ("dog", "cat", "cow", "kite", "sheep"))
    assert (closed.has("dog"), closed.count("dog"), closed.count("cow")) == (True, None, 1)
    assert closed.has("cat") is None and open_list.has("kite") is None and closed.has("kite") is False
    assert closed.has("sheep") is None  # taken for a cow


def test_the_card_hides_no_thing_where_a_corner_is_free():
    image, card = Image.new("RGB", (210, 140), (9, 9, 9)), (255, 255, 255)
    regions = tuple(
        Region(str(k), "x", box) for k, box in enumerate([(0, 0, 90, 60), (120, 0, 90, 60), (0, 80, 90, 60)])
    )
    made = labelled(image, "42", regions)
    assert made.getpixel((209, 139)) == card and made.getpixel((0, 0)) == made.getpixel((209, 0)) == (9, 9, 9)
    assert image.getpixel((209, 139)) == (9, 9, 9)


def test_bytes_depend_on_the_seed_alone(tmp_path):
    first, again, other = (
        synthesise("demonstration", Tabletop(12), tmp_path / name, seed=seed)["content_sha256"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


@pytest.mark.integration
def test_workers_change_no_byte(tmp_path):
    one, two = (synthesise("demonstration", Tabletop(60), tmp_path / str(n), workers=n) for n in (1, 2))
    assert one["content_sha256"] == two["content_sha256"]


def test_what_cannot_be_made_is_named(tmp_path):
    with pytest.raises(UsageError, match="'riddle' is not one of odd-one-out"):
        synthesise("demonstration", SOURCE, tmp_path / "a", tasks="riddle")
    with pytest.raises(VisiftError, match="offer no order-by-count"):
        synthesise("demonstration", Tabletop(2), tmp_path / "b", tasks="order-by-count", per_scene=1)
