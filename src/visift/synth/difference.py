"""Difference pairs and sets: pictures of one scene, of which some were edited, and what changed (papers.md B.1.1).

Every picture of a row, edited or not, is written by one encoder. The edited picture comes first as often as second, and an
unchanged pair shows the original twice or the edited picture twice: no picture gives the answer away by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError, UsageError
from visift.core.files import under
from visift.core.rle import encode_rle
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, Provenance, Scene, assistant, user
from visift.sources.pictures import write_jpeg
from visift.synth.difference_edits import EDITS, TARGETS, Canvas, Edit, canvas_of, donors_of, visible
from visift.synth.difference_words import INSTRUCTIONS, SETS, difference, plain
from visift.synth.editors import Editor, load_editor
from visift.synth.frame import Kind, Task, file_stem, provenance, row_id

NEIGHBOURS = 8  # scenes that lend things to one another
SET_SIZES = (3, 6)  # pictures of a set
TRIES = 8  # edits tried for one that can be seen
HELD = 256_000_000  # bytes of canvases kept


def neighbours(scenes: Iterable[Scene], number: int = NEIGHBOURS) -> Iterator[tuple[Scene, ...]]:
    """Each scene, followed by the others of its block of `number`, which lend it things; they report no faults."""
    stream = iter(scenes)
    while block := tuple(islice(stream, number)):
        lenders = tuple(replace(scene, faults=()) for scene in block)
        for k, scene in enumerate(block):
            yield (scene, *lenders[:k], *lenders[k + 1 :])


def make(task: Task, item: tuple[Scene, ...]) -> Made:
    """`per_scene` rows of the first scene: pairs, and sets for a share of `sets`; a share of `unchanged` shows no change."""
    options = task.options
    _check(options)
    kinds = _kinds(options["edits"])
    _check_targets(task)
    scene, *lenders = item
    gen = rng(task.seed, "difference", scene.id)
    editor = load_editor(options["editor"])
    try:
        canvas = _canvas(task, scene)
    except DataError as e:
        return Made(rejected=[Rejection(scene.id, "difference", e.what)])
    maker = _Maker(task, canvas, editor, kinds, lenders)
    rows: list[Conversation] = []
    for k in range(options["per_scene"]):
        size = int(gen.integers(SET_SIZES[0], SET_SIZES[1] + 1)) if gen.random() < options["sets"] else 2
        try:
            row = _set(maker, gen, k, size) if size > 2 else _pair(maker, gen, k)
        except DataError as e:
            maker.rejected.append(Rejection(f"{row_id('difference', scene)}-{k}", "difference", e.what))
            continue
        rows.append(row)
    return Made(rows, rejected=maker.rejected)


def _check(options: Mapping[str, Any]) -> None:
    for name in ("sets", "unchanged"):
        if not 0 <= options[name] <= 1:
            raise UsageError(f"{name} {options[name]!r} is no share from 0 to 1")
    if options["per_scene"] < 1:
        raise UsageError(f"per_scene {options['per_scene']}: at least 1 is needed")
    if options["answers"] not in ("plain", "varied"):
        raise UsageError(f"answers {options['answers']!r} is neither plain nor varied")


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(name.strip() for name in text.split(",") if name.strip())
    if not kinds or (wrong := [name for name in kinds if name not in EDITS]):
        raise UsageError(f"edit {wrong[0] if kinds else text!r} is not one of {', '.join(EDITS)}")
    return kinds


def _check_targets(task: Task) -> None:
    targets = task.options["targets"]
    if targets not in TARGETS:
        raise UsageError(f"targets {targets!r} is none of {', '.join(TARGETS)}")
    if targets != "random" and not getattr(task.source, "diagnosed", False):
        raise UsageError(f"what is {targets} a model's attention says", remedy="name it with --attention-of MODEL")


_CANVASES: OrderedDict[tuple[str, str, str], Canvas] = (
    OrderedDict()
)  # a scene is edited first, and then lends to its block


def _canvas(task: Task, scene: Scene) -> Canvas:
    key = (str(task.out), task.settings, scene.id)
    found = _CANVASES.get(key)
    if found is None:
        found = _CANVASES[key] = canvas_of(scene, np.array(task.source.open(scene)), task.options["targets"])
        while len(_CANVASES) > 1 and (
            len(_CANVASES) > 2 * NEIGHBOURS or sum(c.nbytes for c in _CANVASES.values()) > HELD
        ):
            _CANVASES.popitem(last=False)
    return found


class _Maker:
    """Edits and pictures of one scene, with what was left out."""

    def __init__(
        self, task: Task, canvas: Canvas, editor: Editor, kinds: tuple[str, ...], lenders: list[Scene]
    ) -> None:
        self.task, self.canvas, self.editor, self.kinds, self.lenders = task, canvas, editor, kinds, lenders
        self.rejected: list[Rejection] = []
        self.written = 0
        self.original: Picture | None = None
        self.used: set[tuple[str, str]] = set()

    @property
    def scene(self) -> Scene:
        return self.canvas.scene

    def _lent(self, scene: Scene) -> Canvas:
        try:
            return _canvas(self.task, scene)
        except DataError:  # reported where the scene itself is edited
            return Canvas(scene, np.zeros((1, 1, 3), np.uint8), ())

    def write(self, image: np.ndarray) -> Picture:
        relative = f"images/{file_stem(self.scene)}/{self.written}.jpg"
        sha256 = write_jpeg(Image.fromarray(image), under(self.task.out, relative))
        self.written += 1
        return Picture(relative, sha256, self.scene.width, self.scene.height)

    def first(self) -> Picture:
        if self.original is None:
            self.original = self.write(self.canvas.image)
        return self.original

    def edit(self, gen: np.random.Generator) -> Edit:
        """A new edit that can be seen. Raises DataError when none is found; what nobody could see is reported."""
        why = "no region is fit for an edit (too small or large, a crowd, or half hidden by others)"
        for n in range(TRIES):
            kind = self.kinds[int(gen.integers(len(self.kinds)))] if n else self._least_used(gen)
            donors = donors_of(gen, self.lenders, self._lent)
            try:
                edit = EDITS[kind](gen, self.canvas, self.editor, donors)
            except DataError as e:  # the editor cannot do this one
                why = e.what
                continue
            if edit is None:
                continue
            target = edit.before or edit.after
            key = (kind, f"{target.id if target else ''}/{edit.adjective}")
            if key in self.used:
                why = "no further edit is left"
                continue
            if fault := visible(self.canvas.image, edit.image):
                self.rejected.append(Rejection(f"{row_id('difference', self.scene)}/{kind}", "visible", fault))
                why = fault
                continue
            self.used.add(key)
            return edit
        raise DataError(why, where=f"scene {self.scene.id}")

    def told(self, gen: np.random.Generator, edit: Edit | None, back: bool, short: bool = False) -> str:
        """The answer, worded as the options say; `short`: it names no second picture."""
        if self.task.options["answers"] == "plain":
            return plain(edit, back)
        return difference(gen, edit, self.scene, back, short)

    def provenance(self, edits: list[Edit], template: str) -> Provenance:
        """Of the scene, and of those whose pixels its edits hold."""
        lenders = {edit.lender.id: edit.lender for edit in edits if edit.lender is not None}
        return provenance(self.task, self.scene, *lenders.values(), template=template)

    def _least_used(self, gen: np.random.Generator) -> str:
        done = [kind for kind, _ in self.used]
        least = min(done.count(k) for k in self.kinds)
        rare = [k for k in self.kinds if done.count(k) == least]
        return rare[int(gen.integers(len(rare)))]


def _pair(maker: _Maker, gen: np.random.Generator, k: int) -> Conversation:
    same, back, twice_edited = (bool(v) for v in gen.random(3) < (maker.task.options["unchanged"], 0.5, 0.5))
    number = int(gen.integers(len(INSTRUCTIONS)))
    if same and not twice_edited:
        pictures, edit = (maker.first(), maker.first()), None
    else:
        edit = maker.edit(gen)
        edited = maker.write(edit.image)
        pictures = (edited, edited) if same else (maker.first(), edited)
    if back and not same:
        pictures = pictures[::-1]
    text = maker.told(gen, None if same else edit, back)
    asked = INSTRUCTIONS[number]
    turn = (
        user(0, 1, asked),
        user("First picture: ", 0, " Second picture: ", 1, f" {asked}"),
        user(f"{asked} ", 0, 1),
    )[int(gen.integers(3))]
    if maker.task.options["answers"] == "plain":
        turn = user("First there was ", 0, ". Now there is ", 1, ". What changed?")
    edits = [record(edit, 0 if back else 1, 1 if back else 0)] if edit and not same else []
    return Conversation(
        f"{row_id('difference', maker.scene)}-{k}", pictures, (turn, assistant(text, "sentence")),
        maker.provenance([edit] if edit else [], f"difference/pair/{number:02d}"), {"edits": edits},
    )  # fmt: skip


def _set(maker: _Maker, gen: np.random.Generator, k: int, size: int) -> Conversation:
    """The original, then pictures with an edit each, or none; as many as the scene offers, up to `size` in all."""
    number = int(gen.integers(len(SETS)))
    pictures, edits, made, lines = [maker.first()], [], [], []
    while len(pictures) < size:
        edit = None
        if gen.random() >= maker.task.options["unchanged"]:
            try:
                edit = maker.edit(gen)
            except DataError:
                break
        pictures.append(maker.write(edit.image) if edit else maker.first())
        if edit:
            made.append(edit)
            edits.append(record(edit, len(pictures) - 1, 0))
        lines.append(f"Picture {len(pictures)}: {maker.told(gen, edit, back=False, short=True)}")
    if len(pictures) < SET_SIZES[0] or not edits:
        raise DataError(f"the scene offers {len(edits)} edits, too few for a set", where=f"scene {maker.scene.id}")
    parts: list[str | int] = []
    for n in range(len(pictures)):
        parts += [f"Picture {n + 1}: " if n == 0 else f" Picture {n + 1}: ", n]
    turn = user(*parts, f" {SETS[number]}")
    return Conversation(
        f"{row_id('difference', maker.scene)}-{k}", tuple(pictures), (turn, assistant("\n".join(lines), "list")),
        maker.provenance(made, f"difference/set/{number:02d}"), {"edits": edits},
    )  # fmt: skip


def record(edit: Edit, image: int, original: int) -> dict[str, object]:
    """What was done to which picture of the row; `rle` covers every pixel in which it may differ from the original."""
    row: dict[str, object] = {"edit": edit.kind, "image": image, "original": original}
    for name, region in (("before", edit.before), ("after", edit.after)):
        if region is not None:
            row |= {f"{name}": region.name, f"{name}_region": region.id}
    if edit.before is not None and edit.before.significance is not None:
        row["significance"] = round(edit.before.significance, 3)
    return row | ({"adjective": edit.adjective} if edit.adjective else {}) | {"rle": encode_rle(edit.support)}


KIND = Kind(
    make,
    {
        "per_scene": 2,
        "sets": 0.2,
        "unchanged": 0.1,
        "edits": ",".join(EDITS),
        "editor": "heal",
        "targets": TARGETS[0],
        "answers": "varied",
    },
    neighbours,
)
