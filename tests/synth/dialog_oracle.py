"""Works out the answer to every rule-made question again from the COCO files alone; shares no code with the rules."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

ONE_OF = re.compile(r"^([A-H])\. (.*)$", re.MULTILINE)
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NOT_COUNTED = {"skis", "scissors", "broccoli"}
PLACES = [
    [("top left", "in"), ("top", "at"), ("top right", "in")],
    [("left", "on"), ("centre", "in"), ("right", "on")],
    [("bottom left", "in"), ("bottom", "at"), ("bottom right", "in")],
]


def says(name: str) -> str:
    return {"tv": "TV", "sports ball": "ball", "hair drier": "hair dryer"}.get(name, name)


def plural(name: str) -> str:
    odd = {"person": "people", "mouse": "mice", "sheep": "sheep", "knife": "knives", "wine glass": "wine glasses",
           "computer mouse": "computer mice"}  # fmt: skip
    word = says(name)
    return odd.get(word) or (f"{word}es" if re.search(r"(s|x|z|ch|sh)$", word) else f"{word}s")


def bare(words: str) -> str:
    return re.sub(r"^(?:an?|the) ", "", words.strip())


class Oracle:
    """One picture's annotations: masks, boxes, categories."""

    def __init__(
        self, image: dict[str, Any], rows: list[dict[str, Any]], names: dict[int, str], captions: list[str]
    ) -> None:
        self.w, self.h = image["width"], image["height"]
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            self.rows[says(names[row["category_id"]])].append(row)
        self.all = {says(n): n for n in names.values()}
        self.many = {plural(n): says(n) for n in names.values()}
        self.captions = captions

    def pixels(self, name: str) -> np.ndarray:
        (row,) = self.rows[name]  # `the dog` is asked only where there is one
        assert not row.get("iscrowd")
        seg = row["segmentation"]
        rle = coco_mask.merge(coco_mask.frPyObjects(seg, self.h, self.w)) if isinstance(seg, list) else seg
        return np.asarray(coco_mask.decode(rle)).astype(bool)

    def middle(self, name: str) -> tuple[float, float]:
        ys, xs = np.nonzero(self.pixels(name))
        return float(xs.mean()) / self.w, float(ys.mean()) / self.h

    def box(self, name: str) -> list[float]:
        x, y, w, h = self.rows[name][0]["bbox"]
        return [x / self.w, y / self.h, min((x + w) / self.w, 1), min((y + h) / self.h, 1)]

    def place(self, name: str) -> tuple[str, str]:
        x, y = self.middle(name)
        return PLACES[int(3 * y)][int(3 * x)]

    def count(self, plural_name: str) -> int:
        name = self.many[plural_name]
        assert name not in NOT_COUNTED and not any(r.get("iscrowd") for r in self.rows[name]), (
            f"nobody can count the {plural_name}"
        )
        return len(self.rows[name])

    def there(self, words: str) -> bool:
        return bool(self.rows[self.known(words)])

    def known(self, words: str) -> str:
        name = bare(words)
        assert name in self.all, f"{name!r} is no category"
        return name

    def check(self, question: str, answer: str, form: str) -> None:
        """AssertionError where the annotations do not give this answer; `question` still has its request."""
        ask = question.split("\n", maxsplit=1)[0]
        options = dict(ONE_OF.findall(question))
        if form in ("letter", "letter + reason"):
            picked = options[answer[0]]
            self.choice(ask, picked, [v for k, v in options.items() if k != answer[0]])
            if form == "letter + reason":
                self.reason(answer[3:], picked, list(options.values()))
        elif form == "number":
            assert int(answer) == self.count(self.counted(ask)), (ask, answer)
        elif form == "list":
            self.listed(ask, answer)
        elif form == "coordinates":
            name = self.known(re.split("[?.]", ask)[0].rpartition(" the ")[2])
            said = [float(v) for v in answer.strip("[]").split(", ")]
            assert np.allclose(said, self.box(name), atol=0.0051), (ask, answer)
        elif form == "yes/no":
            found = re.search(
                r"the ([a-zA-Z ]+?) (to the left of|to the right of|above|below) the ([a-zA-Z ]+?)\?", ask
            )
            truth = self.holds(*found.groups()) if found else self.there(self.asked_for(ask))
            assert answer == ("yes" if truth else "no"), (ask, answer)
        elif form == "phrase":
            if ask.startswith(("Where", "In which part")):
                name = re.search(r"the ((?!picture)[a-zA-Z ]+?)\?", ask)[1]  # type: ignore[index]
                assert answer == self.place(name)[0], (ask, answer)
            else:
                self.biggest(ask, answer)
        else:
            assert form in ("sentence", "paragraph"), form
            captioned = [re.sub(r"\W", "", c.lower()) for c in self.captions]
            for sentence in re.split(r"(?<=\.) ", answer):
                if re.sub(r"\W", "", sentence.lower()) not in captioned:
                    self.sentence(sentence)

    def counted(self, ask: str) -> str:
        found = re.search(
            r"(?:How many|Count the|number of|count the) (.+?)(?: are there| can you see| in the picture| does the picture|\?|\.)",
            ask,
        )
        assert found, ask
        return found[1]

    def asked_for(self, ask: str) -> str:
        found = re.match(
            r"(?:(?:Is|Are) there|Can you see|Does the picture show|Do you see) (.+?)(?: in the picture| here)?\?", ask
        )
        assert found, ask
        return found[1]

    def holds(self, a: str, word: str, b: str) -> bool:
        (ax, ay), (bx, by) = self.middle(a), self.middle(b)
        return {"to the left of": ax < bx, "to the right of": ax > bx, "above": ay < by, "below": ay > by}[word]

    def area(self, the: str) -> int:
        return int(self.pixels(bare(the)).sum())

    def biggest(self, ask: str, answer: str) -> None:
        names = [n for n in sorted(self.rows, key=len, reverse=True) if re.search(rf"\bthe {n}\b", ask)]
        order = sorted((f"the {n}" for n in names), key=self.area)
        assert len(order) >= 2 and answer == (order[-1] if re.search(r"\b(more|most)\b", ask) else order[0]), (
            ask,
            answer,
        )

    def choice(self, ask: str, picked: str, others: list[str]) -> None:
        if picked.isdigit():
            assert int(picked) == self.count(self.counted(ask)), (ask, picked)
        elif found := re.search(r"further to the (left|right)\?", ask):
            (other,) = others
            assert self.holds(bare(picked), f"to the {found[1]} of", bare(other))
        elif re.search(r"\b(most|least|more|less)\b", ask):
            big = bool(re.search(r"\b(most|more)\b", ask))
            assert all((self.area(picked) > self.area(o)) == big for o in others)
        elif found := re.search(
            r"(?:in|on|at) the ((?:top|bottom|left|right|centre)(?: left| right)?) of the picture", ask
        ):
            assert self.place(bare(picked))[0] == found[1] and all(self.place(bare(o))[0] != found[1] for o in others)
        else:
            assert self.there(picked) and not any(self.there(o) for o in others), (ask, picked)

    def reason(self, why: str, picked: str, names: list[str]) -> None:
        if found := re.fullmatch(r"The picture shows (\w+) (.+) and none of the others\.", why):
            self.number_of(found[1], found[2])
        elif "%" in why:
            shares = [float(s) for s in re.findall(r"about ([\d.]+) %", why)]
            for name, share in zip(names, shares, strict=True):
                assert abs(100 * self.area(name) / (self.w * self.h) - share) <= 0.51, why
        else:
            parts = why.rstrip(".").split(", ")
            for part in parts:
                self.sentence(f"{part[0].upper()}{part[1:]} of the picture.")
            sides = [re.findall(r"left$|right$", part) for part in parts]
            assert sides[0] != sides[1], f"says nothing about left and right: {why}"

    def number_of(self, said: str, name: str) -> None:
        number = NUMBERS.index(said)
        many = plural(self.all[name]) if number == 1 else name
        assert self.count(many) == number, (said, name)

    def sentence(self, text: str) -> None:
        if found := re.fullmatch(r"There (?:is|are) (.+?)(?: in the picture)?\.", text):
            for piece in re.split(r", | and ", found[1]):
                said, _, name = piece.partition(" ")
                self.number_of(said, name)
        elif found := re.fullmatch(r"Yes, the picture shows (.+)\.", text):
            assert self.there(found[1]), text
        elif found := re.fullmatch(r"No, I cannot see (.+) in the picture\.", text):
            assert not self.there(found[1]), text
        elif found := re.fullmatch(r"The (.+) (?:is|are) (in|on|at) the (\w+(?: left| right)?) of the picture\.", text):
            assert self.place(found[1]) == (found[3], found[2]), text
        elif found := re.fullmatch(
            r"The (.+) (?:is|are) (to the left of|to the right of|above|below) the (.+)\.", text
        ):
            assert self.holds(*found.groups()), text
        elif found := re.fullmatch(r"The (.+) covers? (more|less) of the picture than the (.+)\.", text):
            assert (self.area(found[1]) > self.area(found[3])) == (found[2] == "more"), text
        else:
            raise AssertionError(f"the oracle does not know: {text}")

    def listed(self, ask: str, answer: str) -> None:
        items = [line.removeprefix("- ") for line in answer.split("\n")]
        if ask.startswith(("How many", "Count")):
            for item in items:
                name, _, number = item.partition(": ")
                assert self.count(name) == int(number), (ask, item)
            return
        names = re.search(r": (.+?)\?", ask)[1]  # type: ignore[index]
        asked = re.split(r", | or ", names)
        assert items == [n for n in asked if self.there(n)], (ask, answer)


def oracles(folder: Path, split: str) -> dict[str, Oracle]:
    """Scene id -> oracle, for every picture of a split."""
    instances = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
    captions = json.loads((folder / "annotations" / f"captions_{split}.json").read_text())
    rows, said = defaultdict(list), defaultdict(list)
    for row in instances["annotations"]:
        rows[row["image_id"]].append(row)
    for row in captions["annotations"]:
        said[row["image_id"]].append(row["caption"])
    names = {c["id"]: c["name"] for c in instances["categories"]}
    return {f"coco:{i['id']}": Oracle(i, rows[i["id"]], names, said[i["id"]]) for i in instances["images"]}
