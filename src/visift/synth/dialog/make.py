"""`visift synth dialog`: all that is annotated on one picture as dialogues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_file, under
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, Scene
from visift.synth.dialog.assembly import distinct, in_order, split, tokens, turns_of
from visift.synth.dialog.draw import draw
from visift.synth.dialog.forms import FORMS, form_of
from visift.synth.dialog.known import Known
from visift.synth.dialog.rounds import RULES, Round
from visift.synth.frame import Kind, Task, provenance, row_id
from visift.synth.questions import plain_picture

REQUESTS = ("every", "first", "never")
OPTIONS = {
    "request": "every",  # where the wish for the form is written
    "rounds": 12,  # most of a dialogue; more go into further dialogues
    "tokens": 2048,  # most of a dialogue, estimated
    "switch": 1.0,  # share of neighbouring rounds that differ in form; 0: one form a dialogue
    "per_form": 2,  # most rounds of a form that rules make
}


Reworded = tuple[Sequence[Round], Sequence[Rejection], str]  # rounds, what stayed as it was, the request's hash


def make(task: Task, scene: Scene, reword: Callable[[Sequence[Round]], Reworded] | None = None) -> Made:
    """The dialogues about one picture. Which rounds there are depends on the scene and the seed alone, not on how they are
    assembled; `reword` may put their answers into other words. Raises DataError when nothing can be asked."""
    options = task.options
    _check(task)
    known = Known(scene, task.categories)
    asked = [
        Round(
            a.source, a.question, a.answer, a.form or form_of(a.answer), request=a.request, licence=a.licence,
            group=a.group and f"{a.source} {a.group}",
        )
        for a in scene.asked
    ]  # fmt: skip
    rounds, rejected = [], []
    for round_ in distinct([*asked, *draw(rng(task.seed, "dialog", scene.id), known, options["per_form"])]):
        if fault := _fault(round_, options["tokens"]):
            rejected.append(Rejection(f"{scene.id}: {round_.question[:80]}", f"dialog {round_.source}", fault))
        else:
            rounds.append(round_)
    rejected += [Rejection(region, "dialog", reason) for region, reason in known.faults]
    if not rounds:
        raise DataError("nothing can be asked about it: too few annotations", where=f"scene {scene.id}")
    chosen, kept, request = reword(rounds) if reword else (rounds, (), "")
    rejected += kept
    gen = rng(task.seed, "dialog order", scene.id)
    dialogues = split(in_order(gen, chosen, options["switch"]), options["rounds"], options["tokens"], options["switch"])
    picture = picture_of(task, scene)
    wordings = rng(task.seed, "dialog requests", scene.id)
    rows = []
    for number, dialogue in enumerate(dialogues, 1):
        sources = [r.source for r in dialogue]
        teacher = next((r.teacher for r in dialogue if r.teacher), "")
        origin = provenance(
            task, scene, template=f"dialog/{options['request']}", teacher=teacher or (RULES if RULES in sources else "")
        )
        licences = dict.fromkeys([*origin.licences, *(r.licence for r in dialogue if r.licence)])
        rows.append(
            Conversation(
                row_id("dialog", scene) + (f"-{number}" if number > 1 else ""), (picture,),
                turns_of(wordings, dialogue, options["request"]),
                replace(origin, licences=tuple(licences), request_sha256=request if teacher else ""), {"sources": sources},
            )
        )  # fmt: skip
    return Made(rows, rejected=rejected)


def _check(task: Task) -> None:
    options = task.options
    if options["request"] not in REQUESTS:
        raise UsageError(f"--request {options['request']!r} is not one of {', '.join(REQUESTS)}")
    if not 0 <= options["switch"] <= 1:
        raise UsageError(f"--switch {options['switch']}: a share from 0 to 1 is meant")
    for name, least in (("rounds", 1), ("tokens", 64), ("per_form", 0)):
        if options[name] < least:
            raise UsageError(f"--{name.replace('_', '-')} {options[name]}: at least {least} is needed")


def _fault(round_: Round, most_tokens: int) -> str | None:
    """Why a round cannot be used."""
    if not round_.form:
        return f"the answer has no form that is known: {round_.answer[:80]}"
    if not FORMS[round_.form].holds(round_.answer):
        return f"the answer is no {round_.form}: {round_.answer[:80]}"
    if tokens(round_) > most_tokens:
        return f"about {tokens(round_)} tokens, more than {most_tokens}"
    return None


def picture_of(task: Task, scene: Scene) -> Picture:
    """A reference to the untouched picture; one that the source draws is written under `images/`. Raises DataError when it is missing."""
    if not scene.root:
        return plain_picture(task, scene)
    file = under(Path(task.source.roots[scene.root]), scene.path)
    if not file.is_file():
        raise DataError("picture is missing", where=file, remedy="check --images")
    return Picture(f"{scene.root}:{scene.path}", sha256_file(file), scene.width, scene.height)


KIND = Kind(make, OPTIONS)
