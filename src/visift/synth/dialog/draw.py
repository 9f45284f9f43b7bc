"""Rounds that rules make from annotations. What the annotations do not know is not asked, nor what two readings answer differently."""

from __future__ import annotations

from collections.abc import Callable

from visift.synth.dialog import geometry, looks, presence
from visift.synth.dialog.known import Known
from visift.synth.dialog.rounds import Gen, Round

Maker = Callable[[Gen, Known], Round | None]
MAKERS: dict[str, tuple[Maker, ...]] = {  # form -> what makes rounds of it
    "phrase": (geometry.place, geometry.size, looks.colour),
    "number": (presence.count,),
    "yes/no": (presence.presence, geometry.direction),
    "letter": (presence.count_choice, presence.which_choice, geometry.place_choice),
    "letter + reason": (presence.which_reason, geometry.direction_reason, geometry.size_reason),
    "sentence": (
        looks.caption,
        presence.count_sentence,
        presence.presence_sentence,
        geometry.place_sentence,
        geometry.direction_sentence,
        geometry.size_sentence,
        looks.colour_sentence,
    ),
    "paragraph": (looks.description,),
    "list": (presence.count_list, presence.which_list),
    "coordinates": (geometry.box,),
}


def draw(gen: Gen, known: Known, per_form: int) -> list[Round]:
    """Up to `per_form` rounds of every form, no two of which tell the same. Forms and their makers take turns in random order."""
    rounds: list[Round] = []
    for _ in range(per_form):
        for form in gen.permutation(sorted(MAKERS)):
            makers = MAKERS[str(form)]
            for k in gen.permutation(len(makers)):
                found = next(
                    (r for _ in range(3) if (r := makers[int(k)](gen, known)) and not r.clash & known.told), None
                )
                if found:
                    known.told |= found.facts
                    rounds.append(found)
                    break
    return rounds
