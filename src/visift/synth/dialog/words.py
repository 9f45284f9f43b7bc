"""English for annotations: names of stuff, numbers, what is easily taken for what, and captions fit to be answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from visift.synth.rules import plural, with_article

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PILES = frozenset({"book", "banana", "apple", "orange", "carrot"})  # annotators outline some of many
PAIRS = frozenset({"skis", "scissors", "broccoli", "pants", "jeans", "shorts", "glasses", "sunglasses", "goggles"})

# COCO's stuff -> (with its article, the noun, what it is taken for): asked as absent only where nothing of its group is present
STUFF: dict[str, tuple[str, str, str]] = {
    "banner": ("a banner", "banner", "cloth"), "blanket": ("a blanket", "blanket", "cloth"), "bridge": ("a bridge", "bridge", "bridge"),
    "cardboard": ("cardboard", "cardboard", "paper"), "counter": ("a counter", "counter", "furniture"),
    "curtain": ("a curtain", "curtain", "cloth"), "door-stuff": ("a door", "door", "door"),
    "floor-wood": ("a wooden floor", "wooden floor", "floor"), "flower": ("flowers", "flowers", "plant"),
    "fruit": ("fruit", "fruit", "food"), "gravel": ("gravel", "gravel", "ground"), "house": ("a house", "house", "building"),
    "light": ("a light", "light", "light"), "mirror-stuff": ("a mirror", "mirror", "mirror"), "net": ("a net", "net", "net"),
    "pillow": ("a pillow", "pillow", "cloth"), "platform": ("a platform", "platform", "ground"),
    "playingfield": ("a playing field", "playing field", "green"), "railroad": ("railway tracks", "railway tracks", "rails"),
    "river": ("a river", "river", "water"), "road": ("a road", "road", "ground"), "roof": ("a roof", "roof", "building"),
    "sand": ("sand", "sand", "ground"), "sea": ("the sea", "sea", "water"), "shelf": ("a shelf", "shelf", "furniture"),
    "snow": ("snow", "snow", "snow"), "stairs": ("stairs", "stairs", "stairs"), "tent": ("a tent", "tent", "tent"),
    "towel": ("a towel", "towel", "cloth"), "wall-brick": ("a brick wall", "brick wall", "wall"),
    "wall-stone": ("a stone wall", "stone wall", "wall"), "wall-tile": ("a tiled wall", "tiled wall", "wall"),
    "wall-wood": ("a wooden wall", "wooden wall", "wall"), "water-other": ("water", "water", "water"),
    "window-blind": ("a window blind", "window blind", "window"), "window-other": ("a window", "window", "window"),
    "tree-merged": ("trees", "trees", "plant"), "fence-merged": ("a fence", "fence", "fence"),
    "ceiling-merged": ("a ceiling", "ceiling", "ceiling"), "sky-other-merged": ("the sky", "sky", "sky"),
    "cabinet-merged": ("a cabinet", "cabinet", "furniture"), "table-merged": ("a table", "table", "furniture"),
    "floor-other-merged": ("a floor", "floor", "floor"), "pavement-merged": ("pavement", "pavement", "ground"),
    "mountain-merged": ("a mountain", "mountain", "mountain"), "grass-merged": ("grass", "grass", "green"),
    "dirt-merged": ("bare earth", "bare earth", "ground"), "paper-merged": ("paper", "paper", "paper"),
    "food-other-merged": ("food", "food", "food"), "building-other-merged": ("a building", "building", "building"),
    "rock-merged": ("rock", "rock", "rock"), "wall-other-merged": ("a wall", "wall", "wall"), "rug-merged": ("a rug", "rug", "cloth"),
}  # fmt: skip
SURE = frozenset(
    {"snow", "sea", "sand", "railroad", "bridge", "tent", "mountain-merged", "grass-merged", "river", "stairs"}
)
# Of one line, one is easily taken for the other: where one is present, the others are not asked about as absent.
LOOKALIKES = (
    "car, truck, bus, train",
    "bicycle, motorcycle",
    "couch, chair, bed, bench",
    "cup, wine glass, bottle, vase, bowl",
    "handbag, backpack, suitcase",
    "sheep, cow, horse",
    "tv, laptop, cell phone, remote",
    "fork, knife, spoon",
    "apple, orange, banana",
    "cake, donut, sandwich, pizza, hot dog",
    "skis, snowboard, skateboard, surfboard",
    "baseball bat, baseball glove, sports ball, person",
    "oven, microwave, toaster, refrigerator",
    "mouse, keyboard, laptop",
    "potted plant, vase",
    "dining table, bowl, cup, chair, laptop",
    "tie, person",
    "book, laptop",
    "clock, traffic light",
    "handbag, person",
    "backpack, person",
    "sink, toilet",
    "airplane, kite",
    "bird, kite",
    "carrot, broccoli",
    "teddy bear, bear",
    "tennis racket, sports ball",
)
# Of one line, one is likely where the other is: half of what is asked about as absent comes from the line of what is present.
COMPANIONS = (
    "car, bus, truck, bicycle, motorcycle, traffic light, fire hydrant, stop sign, parking meter, bench, person, umbrella",
    "couch, chair, tv, remote, clock, vase, book, potted plant, cat, dog, dining table",
    "bed, teddy bear, clock, book, laptop",
    "oven, sink, refrigerator, microwave, toaster, bowl, cup, bottle, knife, spoon, fork",
    "pizza, cake, wine glass, cup, fork, knife, dining table, sandwich",
    "toilet, sink, toothbrush, hair drier",
    "laptop, keyboard, mouse, cell phone, book, cup, chair",
    "sheep, cow, horse, dog, bird, giraffe, zebra, elephant",
    "skis, snowboard, backpack, person",
    "baseball bat, baseball glove, sports ball, tennis racket, person",
    "surfboard, boat, bird, person, umbrella",
    "airplane, train, boat, bus, suitcase, handbag",
    "apple, orange, banana, carrot, broccoli, bowl",
    "circle, square, triangle, star, ring, cross, moon, diamond",
)


def _lines(rows: Sequence[str]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(row.split(", ")) for row in rows)


_LOOKALIKES, _COMPANIONS = _lines(LOOKALIKES), _lines(COMPANIONS)


def lookalikes(present: frozenset[str]) -> frozenset[str]:
    """What could be taken for something present."""
    return frozenset().union(*(line for line in _LOOKALIKES if line & present))


def companions(present: frozenset[str]) -> frozenset[str]:
    """What often stands beside something present."""
    return frozenset().union(*(line for line in _COMPANIONS if line & present))


def spoken(name: str) -> str:
    """A category as people say it: `bow (weapon)` -> bow, `tv` -> TV, `sports ball` -> ball."""
    plain = " ".join(re.sub(r"\(.*?\)", " ", name).split()) or name
    return {"tv": "TV", "sports ball": "ball", "hair drier": "hair dryer"}.get(plain, plain)


def stuff_words(name: str) -> tuple[str, str, str]:
    """Of stuff: with its article, the noun, its group. Unknown stuff is named by the first part of its name."""
    if name in STUFF:
        return STUFF[name]
    noun = re.sub(r"-(?:merged|other|stuff)", "", name).replace("-", " ")
    return with_article(noun), noun, noun


def a(name: str) -> str:
    return with_article(spoken(name))


def many(name: str) -> str:
    return "TVs" if name == "tv" else plural(spoken(name))


def counted(name: str, number: int) -> str:
    """`one dog`, `three dogs`, `no dogs`, `12 dogs`."""
    said = NUMBERS[number] if number < len(NUMBERS) else str(number)
    return f"{said} {spoken(name) if number == 1 else many(name)}"


def join(names: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else names[0]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_JUNK = re.compile(
    r"unable to see|there is no (?:image|picture|photo)|no (?:image|picture|photo) (?:here|shown)|can ?not see|[^\x20-\x7e]"
)


def clean_caption(text: str) -> str | None:
    """A caption as one sentence with capital and full stop; None where it is none (junk, too short, too long, several)."""
    text = " ".join(text.split()).strip(" .,;\"'")
    if text.isupper():
        text = text.lower()
    text = re.sub(r"\s+([,;.])", r"\1", text)
    if _JUNK.search(text.lower()) or not 5 <= len(text.split()) <= 40 or re.search(r"[.!?;] ", text):
        return None
    return f"{capital(text)}."


def best_captions(captions: Sequence[str]) -> list[str]:
    """The clean ones, those that share most words with the others first: what most annotators saw, without odd spellings."""
    clean = list(dict.fromkeys(c for c in map(clean_caption, captions) if c))
    words = [set(re.findall(r"\w+", c.lower())) for c in clean]

    def agreement(k: int) -> float:
        return sum(len(words[k] & other) / len(words[k] | other) for j, other in enumerate(words) if j != k)

    return [clean[k] for k in sorted(range(len(clean)), key=lambda k: (-agreement(k), k))]
