"""The types that carry everything: Scene, Mark, Conversation, Answer. JSON as in docs/formats.md.

Plain frozen dataclasses: millions of them pass through a process pool. `from_json` checks what strangers wrote and
raises DataError with the field's name; `to_json` leaves out what has its default value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np

from visift.core.errors import DataError
from visift.core.rle import RLE, as_rle, decode_rle

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Region:
    """A thing on a picture. `box` is x, y, width, height in pixels; `segmentation` is what COCO writes: polygons or RLE."""

    id: str
    category: str
    box: tuple[float, float, float, float]
    segmentation: list[list[float]] | RLE | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    crowd: bool = False
    stuff: bool = False  # sky, grass: what has no number
    significance: float | None = None  # a model's attention to it, 1 = as to the whole picture; None = not asked

    @property
    def name(self) -> str:
        """Attributes in their order, then the category: `large red circle`."""
        return " ".join([*self.attributes.values(), self.category])

    def rle(self, height: int, width: int) -> RLE:
        """The mask as compressed COCO RLE with str counts. A region without segmentation is its box.

        Raises DataError when the segmentation is malformed or made for a picture of another size.
        """
        x, y, w, h = self.box
        outline = [[x, y, x + w, y, x + w, y + h, x, y + h]] if self.segmentation is None else self.segmentation
        return as_rle(outline, height, width, f"region {self.id}")

    def mask(self, height: int, width: int) -> np.ndarray:
        """The mask as bool (height, width)."""
        return decode_rle(self.rle(height, width))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a picture as a public file holds it, without a wish for the form of its answer.

    `form` is the response form of the answer, empty where nobody says; `request` whether the form has to be asked for;
    questions of one `group` refer to each other and stay together, in order.
    """

    source: str  # the file's format, such as `vqav2`
    question: str
    answer: str
    form: str = ""
    licence: str = ""
    request: bool = True
    group: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is known of it; nothing drawn.

    `root` names an image root of the source and `path` lies under it. `faults` are annotations that the source left out:
    id and reason each; whoever makes something of the scene counts them as rejected. `absent` names what annotators
    looked for in this picture and did not find (LVIS), `uncounted` the categories of which it may hold more than the regions
    say, or some where they say none (LVIS, and where an annotation was left out); `asked` is what question files ask about it.
    """

    id: str
    root: str
    path: str
    width: int
    height: int
    licence: str = ""
    regions: tuple[Region, ...] = ()
    captions: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A number on a region. Boxes are x, y, width, height in pixels of the drawn picture.

    `center` is the distance-transform peak and lies in the region; `box`, `area` and `rle` describe the region after
    partition; `glyph` is the drawn box of the number.
    """

    number: int
    region: str
    category: str
    center: tuple[int, int]
    box: tuple[int, int, int, int]
    glyph: tuple[int, int, int, int]
    area: int
    rle: RLE
    name: str = ""  # category with its attributes; equals `category` where there are none

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "number": self.number, "region": self.region, "category": self.category, "center": list(self.center),
            "box": list(self.box), "glyph": list(self.glyph), "area": self.area, "rle": self.rle,
        }  # fmt: skip
        return row | ({"name": self.name} if self.name not in ("", self.category) else {})

    @staticmethod
    def from_json(row: Any) -> Mark:
        where = "mark"
        return Mark(
            number=get(row, "number", int, where), region=get(row, "region", str, where), category=get(row, "category", str, where),
            center=tuple(get(row, "center", list, where)), box=tuple(get(row, "box", list, where)),
            glyph=tuple(get(row, "glyph", list, where)), area=get(row, "area", int, where), rle=get(row, "rle", dict, where),
            name=get(row, "name", str, where, row.get("category", "")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaggedPicture:
    """The manifest line of one tagged picture: where it lies, what it was drawn from, and every mark on it."""

    image: str
    sha256: str
    scene: str
    source: str
    width: int
    height: int
    style: str
    marks: tuple[Mark, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "image": self.image, "sha256": self.sha256, "scene": self.scene, "source": self.source, "width": self.width,
            "height": self.height, "style": self.style, "marks": [m.to_json() for m in self.marks],
        }  # fmt: skip

    @staticmethod
    def from_json(row: Any) -> TaggedPicture:
        where = f"manifest line {row.get('image', '?')}" if isinstance(row, dict) else "manifest line"
        return TaggedPicture(
            image=get(row, "image", str, where), sha256=get(row, "sha256", str, where), scene=get(row, "scene", str, where),
            source=get(row, "source", str, where), width=get(row, "width", int, where), height=get(row, "height", int, where),
            style=get(row, "style", str, where, ""), marks=tuple(Mark.from_json(m) for m in get(row, "marks", list, where)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """A reference to a picture file. `path` is `images/…` inside the dataset or `NAME:relative/path` under a root."""

    path: str
    sha256: str = ""
    width: int = 0
    height: int = 0

    def to_json(self) -> dict[str, Any]:
        known = {"sha256": self.sha256, "width": self.width, "height": self.height}
        return {"path": self.path} | {k: v for k, v in known.items() if v}

    @staticmethod
    def from_json(row: Any, where: str = "picture") -> Picture:
        return Picture(
            get(row, "path", str, where), get(row, "sha256", str, where, ""), get(row, "width", int, where, 0),
            get(row, "height", int, where, 0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a turn: text, or the index of one of the conversation's pictures. Exactly one of the two is set."""

    text: str | None = None
    image: int | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            raise DataError("a part holds either text or an image index")

    def to_json(self) -> dict[str, Any]:
        return {"type": "text", "text": self.text} if self.image is None else {"type": "image", "image": self.image}


@dataclass(frozen=True, slots=True)
class Turn:
    """Role and ordered parts. `form` is the response form of an assistant turn; `train` says whether it is learnt."""

    role: Role
    parts: tuple[Part, ...]
    form: str = ""
    train: bool = True

    @property
    def text(self) -> str:
        """The text parts, joined; pictures leave no trace."""
        return "".join(p.text for p in self.parts if p.text is not None)

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"role": self.role, "parts": [p.to_json() for p in self.parts]}
        if self.form:
            row["form"] = self.form
        if self.role == "assistant":
            row["train"] = self.train
        return row


def user(*parts: str | int) -> Turn:
    """A user turn; strings become text, integers become picture references."""
    return Turn("user", tuple(Part(text=p) if isinstance(p, str) else Part(image=p) for p in parts))


def assistant(text: str, form: str = "", train: bool = True) -> Turn:
    return Turn("assistant", (Part(text=text),), form, train)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a conversation comes from."""

    kind: str
    scenes: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    seed: int = 0
    template: str = ""
    teacher: str = ""
    request_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "kind": self.kind,
            "scenes": list(self.scenes),
            "licences": list(self.licences),
            "seed": self.seed,
        }
        known = {"template": self.template, "teacher": self.teacher, "request_sha256": self.request_sha256}
        return row | {k: v for k, v in known.items() if v}

    @staticmethod
    def from_json(row: Any, where: str = "provenance") -> Provenance:
        return Provenance(
            kind=get(row, "kind", str, where, ""), scenes=tuple(get(row, "scenes", list, where, [])),
            licences=tuple(get(row, "licences", list, where, [])), seed=get(row, "seed", int, where, 0),
            template=get(row, "template", str, where, ""), teacher=get(row, "teacher", str, where, ""),
            request_sha256=get(row, "request_sha256", str, where, ""),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns over pictures. A benchmark question is a conversation too: its last assistant turn is the reference.

    `meta` holds what scoring needs beyond the text (split, gold list); it is never shown to a model.
    """

    id: str
    images: tuple[Picture, ...]
    turns: tuple[Turn, ...]
    provenance: Provenance
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for turn in self.turns:
            for part in turn.parts:
                if part.image is not None and not 0 <= part.image < len(self.images):
                    raise DataError(
                        f"picture {part.image} is not among the {len(self.images)} listed",
                        where=f"conversation {self.id}",
                    )

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """The turns before the last assistant turn, which is the reference when this is a question."""
        return self.turns[:-1] if self.turns and self.turns[-1].role == "assistant" else self.turns

    @property
    def reference(self) -> str | None:
        return self.turns[-1].text if self.turns and self.turns[-1].role == "assistant" else None

    def with_images(self, images: tuple[Picture, ...]) -> Conversation:
        return replace(self, images=images)

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id, "images": [p.to_json() for p in self.images], "turns": [t.to_json() for t in self.turns],
            "provenance": self.provenance.to_json(),
        }  # fmt: skip
        return row | ({"meta": dict(self.meta)} if self.meta else {})

    @staticmethod
    def from_json(row: Any) -> Conversation:
        """Raises DataError that names the conversation and the field."""
        name = get(row, "id", str, "conversation")
        where = f"conversation {name}"
        return Conversation(
            id=name,
            images=tuple(Picture.from_json(p, where) for p in get(row, "images", list, where, [])),
            turns=tuple(_turn(t, where) for t in get(row, "turns", list, where)),
            provenance=Provenance.from_json(get(row, "provenance", dict, where, {}), where),
            meta=get(row, "meta", dict, where, {}),
        )


def _turn(row: Any, where: str) -> Turn:
    role = get(row, "role", str, where)
    if role not in ROLES:
        raise DataError(f"role {role!r} is not one of {', '.join(ROLES)}", where=where)
    parts = []
    for part in get(row, "parts", list, where):
        kind = get(part, "type", str, where)
        if kind == "text":
            parts.append(Part(text=get(part, "text", str, where)))
        elif kind == "image":
            parts.append(Part(image=get(part, "image", int, where)))
        else:
            raise DataError(f"part type {kind!r} is neither text nor image", where=where)
    return Turn(cast(Role, role), tuple(parts), get(row, "form", str, where, ""), get(row, "train", bool, where, True))


_NONE: Any = object()


def get(row: Any, key: str, kind: type, where: str, default: Any = _NONE) -> Any:
    """`row[key]`, checked to be a `kind`; DataError names `where` and the field."""
    if type(row) is dict and type(found := row.get(key, default)) is kind:  # the usual case, a million times a dataset
        return found
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, found {type(row).__name__}", where=where)
    value = row.get(key, default)
    if value is _NONE:
        raise DataError(f"field {key!r} is missing", where=where)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"field {key!r} is {type(value).__name__}, expected {kind.__name__}", where=where)
    return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question of one task. Scores are computed from answers, never from models.

    `finish` is `stop`, `length` or `error`; `history` holds the earlier rounds as role/text pairs.
    """

    id: str
    task: str
    images: tuple[str, ...]
    question: str
    text: str
    finish: str
    request_sha256: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, str], ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "task": self.task, "images": list(self.images), "question": self.question, "text": self.text,
            "finish": self.finish, "request_sha256": self.request_sha256, "decoding": dict(self.decoding),
            "history": [dict(h) for h in self.history], "meta": dict(self.meta),
        }  # fmt: skip

    @staticmethod
    def from_json(row: Any) -> Answer:
        name = get(row, "id", str, "answer")
        where = f"answer {name}"
        return Answer(
            id=name, task=get(row, "task", str, where), images=tuple(get(row, "images", list, where, [])),
            question=get(row, "question", str, where, ""), text=get(row, "text", str, where), finish=get(row, "finish", str, where, "stop"),
            request_sha256=get(row, "request_sha256", str, where, ""), decoding=get(row, "decoding", dict, where, {}),
            history=tuple(get(row, "history", list, where, [])), meta=get(row, "meta", dict, where, {}),
        )  # fmt: skip
