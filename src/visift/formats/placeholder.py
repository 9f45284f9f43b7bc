"""LLaVA, ShareGPT and chat rows: turns of text in which `<image>` stands where a picture does.

One table row a format. They differ in names, in how pictures are listed, and in which orders of roles their readers take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visift.core.errors import DataError
from visift.core.types import Conversation, Part, Role, Turn, get
from visift.formats.normal import EXTRA, assemble, exportable, extras, row_id, safe_path

PLACEHOLDER = "<image>"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format spells a conversation."""

    name: str
    turns: str  # field with the list of turns
    role: str  # field of a turn with the speaker
    text: str  # field of a turn with the text
    roles: Mapping[Role, str]  # how roles are written
    image: str  # field with the pictures
    single: bool = False  # one picture is a string there, several are a list
    system: bool = True  # a system turn may come first
    alternating: bool = True  # readers fail on anything but user, assistant, user, assistant, ...


_SHAREGPT: Mapping[Role, str] = {"system": "system", "user": "human", "assistant": "gpt"}
_OPENAI: Mapping[Role, str] = {"system": "system", "user": "user", "assistant": "assistant"}

LLAVA = Layout("llava", "conversations", "from", "value", _SHAREGPT, "image", single=True, system=False)
SHAREGPT = Layout("sharegpt", "conversations", "from", "value", _SHAREGPT, "images")
CHAT = Layout("chat", "conversation", "role", "content", _OPENAI, "images", alternating=False)

TURN_FIELDS = ("conversations", "conversation", "messages")  # by these a row's format is recognised
PICTURE_FIELDS = ("image", "images")
MOVING = ("video", "videos", "audio", "audios")
SPEAKERS: Mapping[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
}  # fmt: skip


def split(text: str, first: int) -> list[Part]:
    """`a<image>b` as parts; pictures are numbered from `first`."""
    if PLACEHOLDER not in text:
        return [Part(text=text)] if text else []
    parts: list[Part] = []
    for k, piece in enumerate(text.split(PLACEHOLDER)):
        if k:
            parts.append(Part(image=first + k - 1))
        if piece:
            parts.append(Part(text=piece))
    return parts


def join(turn: Turn, where: str) -> str:
    """Parts as text with placeholders. Raises DataError where the text itself holds a placeholder."""
    text = "".join(PLACEHOLDER if p.text is None else p.text for p in turn.parts)
    if text.count(PLACEHOLDER) != sum(p.text is None for p in turn.parts):
        raise DataError(
            f"the text holds a literal {PLACEHOLDER}, which the format would read as a picture", where=where,
            remedy="convert to messages or parquet, which keep text and pictures apart",
        )  # fmt: skip
    return text


def decode(row: Any, number: int, where: str, layout: Layout) -> Conversation:
    """The conversation of one row. Raises DataError naming the row and the field."""
    meta: dict[str, Any] = {}
    name = row_id(row, number, meta, where)
    where = f"{where} ({name[:80]})"
    listed = get(row, layout.turns, list, where)
    paths = picture_paths(row, where)
    turns: list[Turn] = []
    if layout.name == "sharegpt" and row.get("system"):
        turns.append(Turn("system", (Part(text=get(row, "system", str, where)),)))
    seen, odd = 0, {}
    for k, entry in enumerate(listed):
        at = f"{where}, turn {k + 1}"
        speaker = get(entry, layout.role, str, at)
        if speaker not in SPEAKERS:
            raise DataError(
                f"role {speaker[:40]!r} is unknown", where=at, remedy=f"expected one of {', '.join(SPEAKERS)}"
            )
        parts = split(get(entry, layout.text, str, at), seen)
        seen += sum(p.image is not None for p in parts)
        turns.append(Turn(SPEAKERS[speaker], tuple(parts)))
        if fields := _others(entry, layout):
            odd[str(len(turns) - 1)] = fields
    if seen != len(paths):
        raise DataError(
            f"{seen} {PLACEHOLDER} in the text, {len(paths)} pictures listed", where=where,
            remedy=f"write one {PLACEHOLDER} for each picture, in their order",
        )  # fmt: skip
    known = {"id", layout.turns, *PICTURE_FIELDS, EXTRA} | ({"system"} if layout.name == "sharegpt" else set())
    meta |= {key: value for key, value in row.items() if key not in known}
    if odd:
        meta["turn_fields"] = odd
    return assemble(name, paths, turns, extra=row.get(EXTRA), meta=meta, where=where)


def _others(entry: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """The fields of a turn that are not the format's own."""
    return {key: value for key, value in entry.items() if key not in (layout.role, layout.text)}


def picture_paths(row: Mapping[str, Any], where: str) -> list[str]:
    """The row's picture paths, in order. Raises DataError for a string where a list is meant and for moving pictures."""
    for field in MOVING:
        if row.get(field):
            raise DataError(f"holds {field!r}", where=where, remedy="only pictures and text are supported")
    named = [field for field in PICTURE_FIELDS if row.get(field)]
    if len(named) > 1:
        raise DataError("names pictures in 'image' and in 'images'", where=where, remedy="keep one of the two")
    if not named:
        return []
    value = row[named[0]]
    if isinstance(value, str) and named[0] == "image":
        value = [value]
    if not isinstance(value, list):
        raise DataError(
            f"{named[0]!r} is {type(value).__name__}, a list is meant", where=where,
            remedy=f'write "{named[0]}": ["…"]: readers count the letters of a plain string',
        )  # fmt: skip
    return [safe_path(v, where) for v in value]


def encode(conversation: Conversation, layout: Layout) -> dict[str, Any]:
    """The row of a conversation. Raises DataError for what the format cannot hold."""
    c = exportable(conversation)
    where = f"conversation {c.id}"
    _check_roles(c, layout, where)
    meta = dict(c.meta)
    odd = get(meta, "turn_fields", dict, where, {})
    meta.pop("turn_fields", None)
    others = {key: _others(get(odd, key, dict, where), layout) for key in map(str, range(len(c.turns))) if key in odd}
    turns = [
        {layout.role: layout.roles[t.role], layout.text: join(t, f"{where}, turn {k + 1}"), **others.get(str(k), {})}
        for k, t in enumerate(c.turns)
    ]
    number = meta.get("id", c.id)
    row: dict[str, Any] = {"id": c.id}
    if not isinstance(number, str) and str(number) == c.id:
        row["id"] = meta.pop("id")
    paths = [p.path for p in c.images]
    if not layout.single or len(paths) > 1:
        row[layout.image] = paths
    elif paths:
        row[layout.image] = paths[0]
    row[layout.turns] = turns
    clash = row.keys() | {EXTRA, "system", *PICTURE_FIELDS, *MOVING, *TURN_FIELDS}
    row |= {key: value for key, value in meta.items() if key not in clash}
    held = extras(c, meta=False)
    inside = {key: value for key, value in meta.items() if key in clash}
    if others != odd:  # some would overwrite the format's own: all are kept aside too, and read back from there
        inside["turn_fields"] = odd
    if inside:
        held["meta"] = inside
    return row | ({EXTRA: held} if held else {})


def _check_roles(c: Conversation, layout: Layout, where: str) -> None:
    if not layout.alternating:
        return
    roles = [t.role for t in c.turns]
    spoken = roles[1:] if layout.system and roles[:1] == ["system"] else roles
    if "system" in spoken:
        raise DataError(
            f"{layout.name} has no place for a system turn" + (" after the first" if layout.system else ""), where=where,
            remedy="convert to messages, chat or parquet",
        )  # fmt: skip
    if any(r != ("user", "assistant")[k % 2] for k, r in enumerate(spoken)) or len(spoken) % 2:
        raise DataError(
            f"{layout.name} readers need user and assistant in turn, from a question to its answer; found {', '.join(roles)}",
            where=where, remedy="merge or drop turns, or convert to messages",
        )  # fmt: skip
