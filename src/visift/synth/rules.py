"""English from annotations: articles and plurals of category names."""

from __future__ import annotations

IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "sheep": "sheep",
    "skis": "skis", "scissors": "scissors", "knife": "knives", "leaf": "leaves", "shelf": "shelves", "foot": "feet",
    "tooth": "teeth", "goose": "geese", "deer": "deer", "fish": "fish", "calf": "calves", "wolf": "wolves", "broccoli": "broccoli",
}  # fmt: skip
NO_ARTICLE = frozenset({"skis", "scissors", "broccoli", "food", "bread", "water", "grass", "snow", "sand"})
VOWEL_SOUND = frozenset("aeiou")
CONSONANT_SOUND = ("uni", "use", "eu", "one")  # a unicycle, a one-way sign
SILENT_H = ("hour", "honest", "heir")


def plural(name: str) -> str:
    """`wine glass` -> `wine glasses`: the last word in the plural."""
    head, space, noun = name.rpartition(" ")
    if noun in IRREGULAR:
        ending = IRREGULAR[noun]
    elif noun.endswith(("s", "x", "z", "ch", "sh")):
        ending = f"{noun}es"
    elif noun.endswith("y") and noun[-2:-1] not in VOWEL_SOUND and len(noun) > 1:
        ending = f"{noun[:-1]}ies"
    else:
        ending = f"{noun}s"
    return f"{head}{space}{ending}"


def with_article(name: str) -> str:
    """`a dog`, `an apple`, `an orange square`; `skis`, `broccoli` and their like take none."""
    if name.rpartition(" ")[2] in NO_ARTICLE:
        return name
    low = name.lower()
    vowel = (low[:1] in VOWEL_SOUND and not low.startswith(CONSONANT_SOUND)) or low.startswith(SILENT_H)
    return f"{'an' if vowel else 'a'} {name}"
