"""Listing by a teacher: two shots, then the picture; every line is checked against the manifest (papers.md A.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from visift.core.dataset import Made
from visift.core.lists import parse_list, render_list
from visift.core.rle import encode_rle
from visift.core.seeds import rng
from visift.core.types import Conversation, Mark, Picture, Region, Scene, TaggedPicture, Turn, assistant, user
from visift.marks.tag import tag
from visift.sources.pictures import jpeg_bytes
from visift.sources.tabletop import SIDE, Tabletop
from visift.synth.agreement import agrees
from visift.synth.frame import Task, provenance, row_id
from visift.synth.listing import INSTRUCTIONS
from visift.synth.teacher import Teacher, teach

SYSTEM = (
    "You look closely at pictures. Numbers in small boxes have been drawn onto the picture; each number sits on the one "
    "thing, or the part of the background, that it stands for. Say for every number what it sits on. Look at what lies "
    "directly beneath the number, not at something more striking nearby. Write one line for each number, in order, as "
    "`1. a brown dog`: few words, the plain name of the thing, and what tells it from others. Leave no number out and "
    "invent none. Where a thing is partly hidden or hard to make out, say so and name what it most likely is. Write the "
    "list and nothing else."
)
# Two drawn pictures and what a careful person writes about them; the second has things that hide one another.
SHOT_SCENES = Tabletop(8, seed=7, level=2)
SHOTS: tuple[tuple[int, str], ...] = (
    (
        3,
        "1. a small purple diamond\n"
        "2. a large pink diamond with dots, lying over the square's lower edge\n"
        "3. a small red star\n"
        "4. a small pink circle\n"
        "5. a large purple square with dots, its right and lower edges slightly covered\n"
        "6. a small pink ring\n"
        "7. a small red cross beside the square",
    ),
    (
        5,
        "1. a large cyan ring with dots; an orange cross and a pink ring hide parts of it\n"
        "2. a small purple cross with dots\n"
        "3. a large orange cross with stripes\n"
        "4. a large yellow diamond with stripes\n"
        "5. a small yellow ring, touched by the purple cross on its right\n"
        "6. a small pink ring with stripes, in front of the cyan one\n"
        "7. a small pink diamond with dots",
    ),
)
ZOOM = 4  # the tabletop's pictures are small; models see little in them


def make(teacher: Teacher, task: Task, scene: Scene) -> Made:
    return teach(teacher, write, task, scene)


def write(
    teacher: Teacher, task: Task, scene: Scene, tagged: TaggedPicture, picture: Picture, sent: bytes
) -> Conversation:
    """One conversation as the rules make it, the list being the teacher's. Raises DataError when its lists do not fit."""
    shots = [shot(index) for index, _ in SHOTS]
    turns: list[Turn] = [Turn("system", user(SYSTEM).parts)]
    for k, ((_, text), (_, marks)) in enumerate(zip(SHOTS, shots, strict=True)):
        turns += [user(k, question(marks)), assistant(text)]
    turns.append(user(len(SHOTS), question(tagged.marks)))
    reply = teacher.ask(
        turns,
        (*(data for data, _ in shots), sent),
        task.seed,
        readable=unreadable,
        fits=lambda text: fault(text, tagged.marks),
    )
    number = int(rng(task.seed, "listing", scene.id).integers(len(INSTRUCTIONS)))
    origin = provenance(task, scene, template=f"listing/{number:02d}", teacher=teacher.model)
    items = {n: item.replace("**", "").strip() for n, item in parse_list(reply.text).items()}
    return Conversation(
        row_id("listing", scene), (picture,), (user(0, INSTRUCTIONS[number]), assistant(render_list(items), "list")),
        replace(origin, request_sha256=reply.request_sha256),
    )  # fmt: skip


def question(marks: Sequence[Mark]) -> str:
    return f"The numbers run from 1 to {len(marks)}. List what each of them sits on."


def unreadable(text: str) -> str | None:
    return None if parse_list(text) else "it holds no numbered line"


def fault(text: str, marks: Sequence[Mark]) -> str | None:
    """What is wrong with a list: numbers left out, twice, unknown or out of order; a name that is not the annotated one."""
    found = [number for line in text.splitlines() for number in parse_list(line)]
    wanted = [mark.number for mark in marks]
    if unknown := sorted(set(found) - set(wanted)):
        return f"number {unknown[0]} is not in the picture, the last is {len(wanted)}"
    if missing := sorted(set(wanted) - set(found)):
        return f"number {missing[0]} is missing"
    if twice := sorted({n for n in found if found.count(n) > 1}):
        return f"number {twice[0]} is listed twice"
    if found != wanted:
        return "the numbers are not in order"
    items = parse_list(text)
    for mark in marks:
        if not any(c.isalpha() for c in items[mark.number]):
            return f"number {mark.number} is not named"
        if not agrees(items[mark.number], mark.category):
            return f"number {mark.number} sits on: {mark.category}, but the list says: {items[mark.number][:80]}"
    return None


@lru_cache(maxsize=len(SHOTS))
def shot(index: int) -> tuple[bytes, tuple[Mark, ...]]:
    """A drawn picture with numbers, as JPEG, and its marks."""
    _, pixels, masks = SHOT_SCENES.render(index)
    small = SHOT_SCENES.scene(index)
    block = np.ones((ZOOM, ZOOM), bool)
    regions = tuple(
        Region(r.id, r.category, (0, 0, SIDE * ZOOM, SIDE * ZOOM), encode_rle(np.kron(mask, block)), r.attributes)
        for r, mask in zip(small.regions, masks, strict=True)
    )
    scene = replace(small, width=SIDE * ZOOM, height=SIDE * ZOOM, regions=regions)
    image = Image.fromarray(pixels).resize((scene.width, scene.height), Image.Resampling.BICUBIC)
    image, marks = tag(image, scene)
    return jpeg_bytes(image), marks
