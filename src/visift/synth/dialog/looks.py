"""Rounds about how the picture looks as a whole, and about colours."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from visift.synth.dialog.geometry import direction_sentence
from visift.synth.dialog.known import Known, at, place_of
from visift.synth.dialog.rounds import RULES, Gen, Round, is_, pick, say, tell
from visift.synth.dialog.words import best_captions, capital, counted, join, many, spoken

CAPTION, DESCRIPTION = frozenset({"caption"}), frozenset({"description"})


def colour(gen: Gen, known: Known) -> Round | None:
    """Where regions carry a colour: of a thing that is alone in its category."""
    found = [r for r in known.scene.regions if "colour" in r.attributes and known.present.get(r.category) == 1]
    if not found:
        return None
    region = pick(gen, found)
    question = say(gen, "colour", name=region.category)
    return tell("colour", [region.category], question, region.attributes["colour"], "phrase")


def colour_sentence(gen: Gen, known: Known) -> Round | None:
    found = colour(gen, known)
    if found is None:
        return None
    name = next(f for f in found.facts if f.startswith("colour ")).removeprefix("colour ")
    return replace(found, answer=f"The colour of the {name} is {found.answer}.", form="sentence")


def caption(gen: Gen, known: Known) -> Round | None:
    found = best_captions(known.scene.captions)
    if not found:
        return None
    question = say(gen, "caption")
    return Round(RULES, question, found[0], "sentence", CAPTION, CAPTION, _named(known, found[0]))


def description(gen: Gen, known: Known) -> Round | None:
    """A caption (not the best one, which may stand alone), then what can be counted, placed and compared."""
    captions = best_captions(known.scene.captions)
    said = [captions[1 % len(captions)]] if captions else []
    areas: defaultdict[str, float] = defaultdict(float)
    for region in known.scene.regions:
        areas[region.category] += region.box[2] * region.box[3]
    names = [n for n in sorted(areas, key=areas.__getitem__, reverse=True) if n in known.counts][:4]
    if names:
        verb = "is" if known.counts[names[0]] == 1 else "are"
        said.append(f"There {verb} {join([counted(n, known.counts[n]) for n in names])}.")
    placed = [(t, p) for t in known.objects if (p := place_of(t))][:2]
    said += [f"{capital(t.the)} {is_(t)} {at(p)} of the picture." for t, p in placed]
    if found := direction_sentence(gen, known):
        said.append(found.answer)
    if len(said) < 3:
        return None
    question = say(gen, "description")
    text = " ".join(said)
    return Round(RULES, question, text, "paragraph", DESCRIPTION, DESCRIPTION, _named(known, text))


def _named(known: Known, text: str) -> frozenset[str]:
    """That those things are there whose name a text has."""
    text = text.lower()
    return frozenset(f"presence {n}" for n in known.present if spoken(n).lower() in text or many(n).lower() in text)
