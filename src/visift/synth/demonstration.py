"""Demonstrative instructions: several pictures, text between them, one answer (papers.md B.0). See `demonstration_tasks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError, UsageError
from visift.core.files import under
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, Region, Scene, assistant, user
from visift.sources.pictures import write_jpeg
from visift.synth.demonstration_tasks import COUSINS, TASKS, Sample, Shown, shown
from visift.synth.dialog.make import picture_of
from visift.synth.difference import neighbours
from visift.synth.frame import Kind, Task, provenance, row_id

POOL = 24  # scenes whose pictures may stand together
TRIES = 12  # tasks tried where a pool offers no sample of the first
CATEGORY = {name: category for category, names in COUSINS.items() for name in names}


def pools(scenes: Iterable[Scene]) -> Iterator[tuple[Scene, ...]]:
    """Each scene, followed by the others of its block."""
    return neighbours(scenes, POOL)


def make(task: Task, item: tuple[Scene, ...]) -> Made:
    """`per_scene` rows from the pool; the first scene only gives them their name."""
    kinds = _kinds(task.options["tasks"])
    name = row_id("demonstration", item[0])
    gen = rng(task.seed, "demonstration", item[0].id)
    pool = _pool(task, item)
    rows, rejected = [], []
    for k in range(task.options["per_scene"]):
        try:
            rows.append(_row(task, f"{name}-{k}", pool, *draw(gen, pool.shown, kinds)))
        except DataError as e:
            rejected.append(Rejection(f"{name}-{k}", "demonstration", e.what))
    return Made(rows, rejected=rejected)


@dataclass(frozen=True)
class Pool:
    shown: tuple[Shown, ...]
    pictures: dict[str, Picture] = field(default_factory=dict)  # by scene: each is written, or hashed, once

    def picture(self, task: Task, scene: Scene) -> Picture:
        known = self.pictures.get(scene.id)
        if known is None or not (scene.root or under(task.out, known.path).is_file()):
            known = self.pictures[scene.id] = picture_of(task, scene)
        return known


_LAST: dict[tuple[str, ...], Pool] = {}  # the scenes of a block come one after the other


def _pool(task: Task, item: tuple[Scene, ...]) -> Pool:
    scenes = sorted(item, key=lambda scene: scene.id)
    key = (str(task.out), task.settings, *(scene.id for scene in scenes))
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = Pool(shown(scenes, task.categories))
    return _LAST[key]


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(name.strip() for name in text.split(",") if name.strip())
    if not kinds or (wrong := [name for name in kinds if name not in TASKS]):
        raise UsageError(f"task {wrong[0] if kinds else text!r} is not one of {', '.join(TASKS)}")
    return kinds


def draw(gen: np.random.Generator, pool: tuple[Shown, ...], kinds: tuple[str, ...]) -> tuple[str, Sample]:
    """A random task that the pool offers, and a sample of it. Raises DataError when it offers none."""
    for _ in range(TRIES):
        name = kinds[int(gen.integers(len(kinds)))]
        if sample := TASKS[name](gen, pool):
            return name, sample
    raise DataError(f"the {len(pool)} pictures around it offer no {' or '.join(kinds)}")


def _row(task: Task, name: str, pool: Pool, kind: str, sample: Sample) -> Conversation:
    scenes = [picture.scene for picture in sample.pictures]
    pictures = tuple(
        _labelled(task, name, k, scene, sample.labels[k]) if sample.labels else pool.picture(task, scene)
        for k, scene in enumerate(scenes)
    )
    asked = sample.instruction + (f" Choices: {'; '.join(sample.options)}." if sample.listed else "")
    unfinished = isinstance(sample.body[-1], str)  # the answer goes on where the body ends
    first = unfinished or rng(task.seed, "demonstration-layout", name).random() < 0.5
    parts = (f"{asked} ", *sample.body) if first else (*sample.body, f" {asked}")
    return Conversation(
        name, pictures, (user(*parts), assistant(sample.answer, sample.form)),
        provenance(task, *scenes, template=f"demonstration/{kind}"), {"category": CATEGORY[kind], "options": list(sample.options)},
    )  # fmt: skip


def labelled(image: Image.Image, label: str, regions: tuple[Region, ...] = ()) -> Image.Image:
    """The picture with a number on a white card, a seventh of its height high, in the corner where it hides least of the regions."""
    size = max(14, image.height // 7)
    font = ImageFont.load_default(size)
    made = image.copy()
    pen = ImageDraw.Draw(made)
    left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
    pad = size // 5
    wide, high = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
    corners = [(x, y) for y in (0, made.height - high) for x in (0, made.width - wide)]
    x, y = min(corners, key=lambda c: sum(_overlap((*c, wide, high), region.box) for region in regions))
    pen.rectangle((x, y, x + wide, y + high), fill=(255, 255, 255))
    pen.text((x + pad - left, y + pad - top), label, fill=(0, 0, 0), font=font)
    return made


def _overlap(card: tuple[float, float, float, float], box: tuple[float, float, float, float]) -> float:
    """Share of the box that the card hides."""
    wide, high = (min(card[k] + card[k + 2], box[k] + box[k + 2]) - max(card[k], box[k]) for k in (0, 1))
    return max(0.0, wide) * max(0.0, high) / max(1.0, box[2] * box[3])


def _labelled(task: Task, name: str, k: int, scene: Scene, label: str) -> Picture:
    relative = f"images/{name.removeprefix('demonstration-')}-{k}.jpg"
    image = labelled(task.source.open(scene), label, scene.regions)
    return Picture(relative, write_jpeg(image, under(task.out, relative)), scene.width, scene.height)


KIND = Kind(make, {"per_scene": 2, "tasks": ",".join(TASKS)}, pools)
