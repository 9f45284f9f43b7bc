"""The frame of every synthesiser: scenes in, a dataset out. A kind of data adds one `Kind` and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from visift.core.dataset import Made, Rejection, build
from visift.core.errors import DataError, UsageError
from visift.core.executor import Executor
from visift.core.files import sha256_json, under
from visift.core.licences import not_for_sale
from visift.core.types import Picture, Provenance, Scene, TaggedPicture
from visift.marks.layout import MAX_TAGS, Layout, lay_out
from visift.marks.tag import draw_layout
from visift.sources.pictures import write_jpeg
from visift.sources.source import Source, finish, outlines

if TYPE_CHECKING:
    from visift.synth.teacher import Teacher

KINDS = {  # kind -> the module that holds its `KIND`, or module:name
    "mark": "visift.synth.mark",
    "listing": "visift.synth.listing",
    "tag-qa": "visift.synth.tag_qa",
    "dialog": "visift.synth.dialog",
    "difference": "visift.synth.difference",
    "demonstration": "visift.synth.demonstration",
    "skills": "visift.synth.questions",
    "questions": "visift.synth.questions:QUESTIONS",
}
TAG_OPTIONS = {"numbering": "random", "style": "clear", "model_px": 336, "max_tags": MAX_TAGS}
Item = Scene | tuple[Scene, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a maker knows besides its item. Picklable: it travels to the workers."""

    kind: str
    source: Source
    out: Path
    seed: int
    options: Mapping[str, Any]
    categories: tuple[str, ...] = ()  # names that are surely absent from scenes without them; may be empty
    settings: str = ""  # hash of all that decides the rows; what a process keeps from item to item is kept under it


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data. `make` turns one item into rows and may raise DataError: the item is then rejected.

    `options` are the names it takes and their defaults; `group` makes items of scenes (default: a scene is an item).
    """

    make: Callable[[Task, Any], Made]
    options: Mapping[str, Any] = field(default_factory=dict)
    group: Callable[[Iterable[Scene]], Iterable[Item]] | None = None


def synthesise(
    kind: str,
    source: Source,
    out: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    executor: Executor = "local",
    teacher: Teacher | None = None,
    drop_noncommercial: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Make a dataset of `kind` from a source at `out` and return its card. Resumes when run again.

    With a `teacher` the text is the teacher's, checked against the marks; it is asked from this process, many at a time,
    whatever `workers` says.

    `drop_noncommercial` leaves out pictures and public questions whose licence is non-commercial or not stated.

    `limit` counts source scenes. Options that are None count as not given. Raises UsageError for an unknown kind or
    option, VisiftError when more than half of a part's items are rejected.
    """
    spec = load_kind(kind)
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(given.keys() - spec.options.keys()):
        known = ", ".join(sorted(spec.options)) or "none"
        raise UsageError(f"{kind} knows no option {', '.join(unknown)}", remedy=f"it knows {known}")
    for name, value in given.items():
        wanted = type(spec.options[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise UsageError(f"{kind}: {name} is {value!r}", remedy=f"for example {spec.options[name]!r}")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: at least 1 is needed")
    chosen = {**spec.options, **given}
    settings = {"seed": seed, "limit": limit, "options": chosen, "sources": [source.describe()]}
    settings |= {"drop_noncommercial": True} if drop_noncommercial else {}
    task = Task(kind, source, out, seed, chosen, tuple(getattr(source, "categories", ())), sha256_json(settings))
    maker = spec.make
    if teacher is not None:
        if executor == "ray":
            raise UsageError("a teacher is asked from one process", remedy="leave --executor out")
        maker = teacher.maker(kind)
        settings["teacher"] = teacher.describe()
        workers, executor = teacher.client.limits.concurrency, "threads"
    if teacher is None and kind != "mark" and not getattr(source, "named", True):
        raise UsageError(
            f"rules cannot make {kind} of regions that have no names",
            remedy="take a segmenter that names them, such as panoptic, or a teacher",
        )
    # groups are made of whole scenes; else workers finish them
    scenes = islice(iter(source) if spec.group else outlines(source), limit)
    total = len(source) if limit is None else min(limit, len(source))
    return build(
        out, kind=kind, items=spec.group(scenes) if spec.group else scenes, make=partial(_make, maker, task, drop_noncommercial),
        settings=settings, roots=source.roots, total=None if spec.group else total, workers=workers, executor=executor,
        max_rejected=1.0 if drop_noncommercial else 0.5,
    )  # fmt: skip


def load_kind(name: str) -> Kind:
    """Raises UsageError for a kind that does not exist."""
    if name not in KINDS:
        raise UsageError(f"kind {name!r} is not one of {', '.join(KINDS)}")
    path, _, attribute = KINDS[name].partition(":")
    try:
        module = import_module(path)
    except ModuleNotFoundError as e:
        if e.name != path:
            raise
        raise UsageError(f"kind {name!r} is not available yet") from e
    spec: Kind = getattr(module, attribute or "KIND")
    return spec


def _make(make: Callable[[Task, Any], Made], task: Task, drop_noncommercial: bool, item: Item) -> Made:
    left: list[Rejection] = []
    try:
        if drop_noncommercial:
            item, left = _for_sale(item)
        if isinstance(item, Scene):
            item = finish(task.source, item)
        made = make(task, item)
    except DataError as e:
        name = "+".join(s.id for s in _scenes(item))
        made = Made(rejected=[Rejection(name, task.kind, e.what)])
    faults = [Rejection(identity, "source", reason) for scene in _scenes(item) for identity, reason in scene.faults]
    return replace(made, rejected=[*left, *faults, *made.rejected]) if left or faults else made


def _for_sale(item: Item) -> tuple[Item, list[Rejection]]:
    """The item without what may not be used commercially: public questions, and the pictures beside its first.

    Those are reported where they come first. Raises DataError where the item's first picture may not be used.
    """
    scenes, left = [], []
    for k, scene in enumerate(_scenes(item)):
        if why := not_for_sale((scene.licence,) if scene.licence else ()):
            if k:
                continue
            raise DataError(f"its picture: {why}", where=f"scene {scene.id}")
        reasons = [not_for_sale((a.licence,) if a.licence else ()) for a in scene.asked]
        asked = zip(scene.asked, reasons, strict=True)
        left += [
            Rejection(f"{scene.id}: {a.question[:80]}", "licence", f"{a.source}: {why}") for a, why in asked if why
        ]
        kept = tuple(a for a, why in zip(scene.asked, reasons, strict=True) if not why)
        scenes.append(replace(scene, asked=kept))
    return (tuple(scenes) if isinstance(item, tuple) else scenes[0]), left


def _scenes(item: Item) -> tuple[Scene, ...]:
    return item if isinstance(item, tuple) else (item,)


def file_stem(scene: Scene) -> str:
    """The scene's own name in ids and files: its path without `.jpg`, or `.png` where the source draws its pictures."""
    return scene.path.removesuffix(".jpg" if scene.root else ".png")


def row_id(kind: str, *scenes: Scene) -> str:
    """`listing-coco-000000000872`."""
    return "-".join([kind, *(f"{scene.id.partition(':')[0]}-{file_stem(scene)}" for scene in scenes)])


def provenance(task: Task, *scenes: Scene, template: str = "", teacher: str = "rules") -> Provenance:
    licences = tuple(dict.fromkeys(scene.licence for scene in scenes if scene.licence))
    return Provenance(task.kind, tuple(scene.id for scene in scenes), licences, task.seed, template, teacher)


def draw_tagged(task: Task, scene: Scene) -> tuple[TaggedPicture, Picture, list[Rejection]]:
    """Tag the scene's picture, write it under `images/`, and return manifest line, reference and untagged regions.

    Raises DataError: the picture cannot be read, or no region can carry a number.
    """
    image = task.source.open(scene)
    options = {name: task.options[name] for name in TAG_OPTIONS}
    layout = lay_out(scene, seed=task.seed, **options)
    if not layout.marks:
        raise DataError(_why_empty(scene, layout), where=f"scene {scene.id}")
    relative = f"images/{file_stem(scene)}.jpg"
    if ".." in PurePosixPath(relative).parts:
        raise DataError("path leaves its folder", where=f"scene {scene.id}")
    sha256 = write_jpeg(draw_layout(image, scene, layout), under(task.out, relative))
    tagged = TaggedPicture(
        relative, sha256, scene.id, scene.path, scene.width, scene.height, layout.looks[0].style, layout.marks
    )
    rejected = [Rejection(left.region, "marks", left.reason) for left in layout.left_out]
    return tagged, Picture(relative, sha256, scene.width, scene.height), rejected


def _why_empty(scene: Scene, layout: Layout) -> str:
    if not scene.regions:
        return "the scene has no regions; annotations or a segmenter give them"
    return f"none of {len(scene.regions)} regions can carry a number; the first: {layout.left_out[0].reason}"
