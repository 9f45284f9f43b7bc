"""How a difference is asked for and told. Every sentence follows from the edit record alone."""

from __future__ import annotations

import numpy as np

from visift.core.types import Region, Scene
from visift.synth.dialog.words import a, many, spoken
from visift.synth.difference_edits import Edit
from visift.synth.rules import NO_ARTICLE

# Our own wording, as in `listing`.
INSTRUCTIONS = (
    "What changed from the first picture to the second?",
    "What is the difference between the two pictures?",
    "Compare the two pictures. What is different?",
    "Say what is different in the second picture.",
    "Something may have changed between the pictures. What?",
    "Name the difference between the pictures.",
    "The second picture may differ from the first. How?",
    "Find the change between these two pictures.",
    "What was done to the first picture to get the second?",
    "How do the two pictures differ?",
    "Look at both pictures and tell me what changed.",
    "Describe the change from picture 1 to picture 2.",
)
SETS = (
    "Compare each picture with the first. What changed?",
    "For every picture after the first, say how it differs from the first.",
    "How does each later picture differ from picture 1?",
    "Go through the pictures and say what changed since the first.",
    "List what is different in each picture, compared with the first one.",
    "Which changes do you see against the first picture? Answer for each picture.",
    "Picture 1 is the original. What was changed in each of the others?",
    "Tell me, picture by picture, what differs from picture 1.",
)
# The first SHORT of each do not speak of a second picture: they fit sets too.
SHORT = 4
GONE = (
    "{The} {is} gone.", "{The} {has} been removed.", "{The} {has} disappeared.", "{The} {is} not there any more.",
    "{The} {is} missing in the second picture.", "The second picture no longer shows {the}.",
    "Only the first picture shows {the}.", "In the second picture {the} {is} missing.",
)  # fmt: skip
NEW = (
    "{A} {has} appeared.", "{A} {has} been added.", "There {is} now {a}.", "{A} {is} new.",
    "The second picture also shows {a}.", "Only the second picture shows {a}.",
    "In the second picture there {is} also {a}.", "{A} can be seen in the second picture only.",
)  # fmt: skip
BECAME = (
    "{The} {has} become {b}.", "{The} {has} been replaced by {b}.", "Instead of {the} there {bis} now {b}.",
    "{B} {bhas} taken the place of {the}.", "Where {the} stood, the second picture shows {b}.",
    "The second picture shows {b} in place of {the}.", "In the second picture {b} {bhas} replaced {the}.",
    "{The} of the first picture {is} {b} in the second.",
)  # fmt: skip
TURNED = (
    "{The} {is} now {adjective}.", "{The} {has} turned {adjective}.", "{The} {has} become {adjective}.",
    "{The} {has} been made {adjective}.", "In the second picture {the} {is} {adjective}.",
    "The second picture shows {the} in another look: {adjective}.", "{The} {is} {adjective} in the second picture.",
    "What changed is the look of {the}, now {adjective}.",
)  # fmt: skip
NO_LONGER = (
    "{The} {is} no longer {adjective}.", "{The} {is} not {adjective} any more.", "{The} {has} stopped being {adjective}.",
    "{The} {has} changed and {is} no longer {adjective}.", "In the second picture {the} {is} no longer {adjective}.",
    "{The} {is} {adjective} in the first picture only.", "Only in the first picture {is} {the} {adjective}.",
    "What changed is the look of {the}, no longer {adjective}.",
)  # fmt: skip
SAME = (
    "Nothing has changed.", "There is no change.", "Nothing is different.", "Nothing was changed.",
    "The two pictures are the same.", "There is no difference between the pictures.", "Both pictures show the same.",
    "The second picture is the same as the first.",
)  # fmt: skip
ACROSS, DOWN = ("left", "middle", "right"), ("top", "centre", "bottom")


def difference(gen: np.random.Generator, edit: Edit | None, scene: Scene, back: bool, short: bool = False) -> str:
    """One sentence for the edit; `back` where the edited picture comes first; `short`: it names no second picture."""
    before, after = (edit.before, edit.after) if edit else (None, None)
    if edit and back:
        before, after = after, before
    if edit is None:
        wordings = SAME
    elif after is None:
        wordings = GONE
    elif before is None:
        wordings = NEW
    elif edit.kind == "swap":
        wordings = BECAME
    elif before.attributes != after.attributes or not back:
        wordings = TURNED
    else:
        wordings = NO_LONGER
    words: dict[str, str] = {"adjective": edit.adjective if edit else ""}
    if before:
        words |= {"the": definite(before, scene, edit), "is": _verb(before, "is"), "has": _verb(before, "has")}
        if edit and edit.kind == "modify" and after and before.attributes != after.attributes:
            words["adjective"] = after.attributes["colour"]
    if after and edit:
        words |= {"b": a(after.name), "bis": _verb(after, "is"), "bhas": _verb(after, "has")}
        words |= {"a": f"{a(after.name)} {place(after, scene)}"}
        if before is None:
            words |= {"is": _verb(after, "is"), "has": _verb(after, "has")}
    words |= {f"{k[0].upper()}{k[1:]}": f"{v[0].upper()}{v[1:]}" for k, v in words.items() if v}
    return wordings[int(gen.integers(SHORT if short else len(wordings)))].format(**words)


def plain(edit: Edit | None, back: bool) -> str:
    """One wording for each kind of change, and no places: what a small model can learn to say."""
    if edit is None:
        return "Nothing changed."
    before, after = (edit.after, edit.before) if back else (edit.before, edit.after)
    if before is None or after is None:
        return f"The {before.name} is gone." if before else f"{a(after.name).capitalize()} was added." if after else ""
    if before.name == after.name:
        return f"The {before.name} {'is no longer' if back else 'has become'} {edit.adjective}."
    return f"The {before.name} has become {a(after.name)}."


def definite(region: Region, scene: Scene, edit: Edit | None = None) -> str:
    """`the dog`; `the dog at the top left` where there are more; `one of the dogs at the top left` where that is not enough.

    The scene's own regions are counted, with the edited one as it looks here.
    """
    others = [r for r in scene.regions if r.name == region.name and not (edit and r.id == _id(edit))]
    where = place(region, scene)
    if region.category in scene.uncounted:
        return f"one of the {many(region.name)} {where}" if others else f"{a(region.name)} {where}"
    if not others:
        return f"the {spoken(region.name)}"
    if any(place(r, scene) == where or r.crowd for r in others):
        return f"one of the {many(region.name)} {where}"
    return f"the {spoken(region.name)} {where}"


def _id(edit: Edit) -> str:
    return next((r.id for r in (edit.before, edit.after) if r), "")


def place(region: Region, scene: Scene) -> str:
    """`at the top left`, `in the middle`, `on the right`, by thirds of the picture."""
    x, y, w, h = region.box
    across = ACROSS[min(2, max(0, int(3 * (x + w / 2) / scene.width)))]
    down = DOWN[min(2, max(0, int(3 * (y + h / 2) / scene.height)))]
    if down == "centre":
        return "in the middle" if across == "middle" else f"on the {across}"
    return f"at the {down}" if across == "middle" else f"at the {down} {across}"


def _verb(region: Region, verb: str) -> str:
    """`is` and `has`, or `are` and `have` for skis and scissors."""
    many = region.category.endswith("s") and region.category.rpartition(" ")[2] in NO_ARTICLE
    return {"is": "are", "has": "have"}[verb] if many else verb
