"""Whether a text names the category that an annotation gives: other words, plurals and longer phrases are allowed."""

from __future__ import annotations

import re
from functools import lru_cache

from visift.core.coco_words import named, phrases, singular

FILLERS = frozenset({"merged", "other", "stuff"})  # of COCO's panoptic names
# beside COCO's own: the tabletop world's shapes, and common stuff
OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "disk", "dot"), "ring": ("hoop", "annulus", "circle with a hole"), "moon": ("crescent",),
    "cross": ("plus",), "diamond": ("rhombus",), "star": (), "square": ("rectangle",), "triangle": (),
    "sky": ("cloud",), "grass": ("lawn",), "sea": ("ocean", "water"), "pavement": ("sidewalk",), "floor": ("ground",),
    "road": ("street",), "tree": ("bush",), "wall": (), "building": ("house",),
}  # fmt: skip


def agrees(text: str, category: str) -> bool:
    """True too where the category is unknown (empty): there is nothing to disagree with.

    Any mention counts: `a man on a horse` agrees with person and with horse.
    """
    if not category:
        return True
    known = _coco()
    wanted = known.get(" ".join(singular(w) for w in category.lower().split()))
    if wanted:
        return wanted in named(text, known)
    spoken = f" {_words(text)} "
    head = _head(category)
    return any(f" {_words(word)} " in spoken for word in (category, head, *OTHER_WORDS.get(head, ())) if _words(word))


@lru_cache(maxsize=1)
def _coco() -> dict[str, str]:
    return phrases()


def _words(text: str) -> str:
    return " ".join(singular(w) for w in re.findall(r"[^\W\d_]+", text.lower()))


def _head(category: str) -> str:
    """The noun: `wall-brick` -> wall, `tree-merged` -> tree, `coffee_table` -> table, `cup_(with_handle)` -> cup."""
    plain = re.sub(r"\(.*?\)", " ", category.lower())
    first = next((part for part in plain.split("-") if part.strip() and part not in FILLERS), plain)
    words: list[str] = re.findall(r"[^\W\d_]+", first)
    return words[-1] if words else first
