"""What can be wrong with one row of a foreign file or of a dataset of ours: every fault, with its field and its fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from visift.core.errors import DataError
from visift.core.types import Conversation
from visift.formats.normal import safe_path
from visift.formats.placeholder import CHAT, LLAVA, MOVING, PICTURE_FIELDS, PLACEHOLDER, SHAREGPT, SPEAKERS

BYTES_PER_TOKEN = 4  # a rough count that needs no tokenizer; good to a third for English


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one row. `kind` is what faults are counted by."""

    row: int
    id: str
    kind: str
    field: str
    fault: str
    fix: str
    severity: str = "error"


@dataclass(slots=True)
class Outline:
    """What the faults are looked for in: the row in any format, as far as it could be read."""

    id: str = ""
    roles: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # without placeholders
    pictures_in: list[int] = field(default_factory=list)  # image parts or placeholders of each turn
    places: list[str] = field(default_factory=list)  # field name of each turn's text
    paths: list[str] = field(default_factory=list)

    def spoken(self, role: str) -> list[str]:
        return [text for r, text in zip(self.roles, self.texts, strict=True) if r == role]


Fault = tuple[str, str, str, str]  # kind, field, fault, fix

_LAYOUTS = {layout.name: (layout.turns, layout.role, layout.text) for layout in (LLAVA, SHAREGPT, CHAT)}
_LAYOUTS["messages"] = ("messages", "role", "content")


def outline_row(row: Any, format: str, faults: list[Fault]) -> Outline:
    """Outline of a raw row; what stands in its way goes to `faults`."""
    out = Outline()
    if not isinstance(row, dict):
        faults.append(("row", "", f"is {type(row).__name__}, not an object", "write one object a row"))
        return out
    out.id = str(row.get("id") or "")[:200]
    name, role, text = _LAYOUTS[format]
    turns = row.get(name)
    if not isinstance(turns, list) or not turns:
        what = {list: "is empty", type(None): "is missing"}.get(
            type(turns), f"is {type(turns).__name__}, a list is meant"
        )
        faults.append(("turns", name, what, f"give {name} a list of turns"))
        turns = []
    inline: list[Any] = []
    if format == "sharegpt" and isinstance(row.get("system"), str) and row["system"]:
        _add(out, "system", row["system"], 0, "system")
    for k, turn in enumerate(turns):
        if not isinstance(turn, dict):
            faults.append(
                ("turns", f"{name}[{k}]", f"is {type(turn).__name__}, not an object", f"write {role} and {text}")
            )
            continue
        speaker = turn.get(role) if isinstance(turn.get(role), str) else None
        if speaker not in SPEAKERS:
            fault = f"role {str(turn.get(role))[:40]!r} is unknown"
            faults.append(("roles", f"{name}[{k}].{role}", fault, f"use one of {', '.join(SPEAKERS)}"))
        place = f"{name}[{k}].{text}"
        content, pictures = _content(turn.get(text), place, format, inline, faults)
        _add(out, SPEAKERS.get(speaker or "", ""), content, pictures, place)
    out.paths = _paths(row, inline, faults)
    bare = (
        format == "messages"
        and not inline
        and all(isinstance(t, dict) and isinstance(t.get("content"), str) for t in turns)
    )
    if bare and not sum(out.pictures_in) and "user" in out.roles:  # no placeholder at all: pictures come first
        out.pictures_in[out.roles.index("user")] = len(out.paths)
    return out


def _add(out: Outline, role: str, text: str, pictures: int, place: str) -> None:
    out.roles.append(role)
    out.texts.append(text)
    out.pictures_in.append(pictures)
    out.places.append(place)


def _content(value: Any, place: str, format: str, inline: list[Any], faults: list[Fault]) -> tuple[str, int]:
    """Text without placeholders, and the number of pictures in it."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, ""), value.count(PLACEHOLDER)
    if format != "messages" or not isinstance(value, list):
        faults.append(("text", place, f"is {type(value).__name__}, text is meant", "write a string"))
        return "", 0
    text, pictures = "", 0
    for k, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            text += part["text"]
        elif kind in ("image", "image_url"):
            pictures += 1
            found = next((part[key] for key in ("path", "url", "image", "image_url") if part.get(key)), None)
            if found is not None:
                inline.append(found.get("url") if isinstance(found, dict) else found)
        else:
            faults.append(
                (
                    "text",
                    f"{place}[{k}]",
                    f"part type {str(kind)[:40]!r} is neither text nor image",
                    "only pictures and text are supported",
                )
            )
    return text, pictures


def _paths(row: Mapping[str, Any], inline: list[Any], faults: list[Fault]) -> list[str]:
    for name in MOVING:
        if row.get(name):
            faults.append(("moving", name, "is not empty", "only pictures and text are supported"))
    paths: list[str] = []
    for name in PICTURE_FIELDS:
        value = row.get(name)
        if not value:
            continue
        if isinstance(value, str) and name == "image":
            value = [value]
        if isinstance(value, str):
            faults.append(
                ("list", name, "is a string, a list is meant", f'write ["{value}"]: readers count its letters')
            )
            value = [value]
        if not isinstance(value, list):
            faults.append(("list", name, f"is {type(value).__name__}, a list is meant", "write a list of paths"))
            continue
        paths += _safe(value, name, faults)
    return paths + _safe(inline, "messages", faults)


def _safe(values: list[Any], name: str, faults: list[Fault]) -> list[str]:
    for k, value in enumerate(values):
        try:
            safe_path(value, "")
        except DataError as e:
            faults.append(("path", f"{name}[{k}]", e.what, e.remedy or "write a relative path"))
    return [str(v) for v in values]


def outline_conversation(c: Conversation) -> Outline:
    """Outline of a conversation of ours."""
    out = Outline(c.id, paths=[p.path for p in c.images])
    for k, turn in enumerate(c.turns):
        _add(out, turn.role, turn.text, sum(p.image is not None for p in turn.parts), f"turns[{k}]")
    return out


def outline_faults(out: Outline, max_tokens: int) -> Iterator[tuple[Fault, str]]:
    """(fault, severity) for everything that the outline itself shows."""
    spoken = [(role, place) for role, place in zip(out.roles, out.places, strict=True) if role]
    expected = "user"
    for k, (role, place) in enumerate(spoken):
        if role == "system":
            if k:
                yield ("roles", place, "a system turn after the first turn", "move it to the front"), "error"
            continue
        if role != expected:
            fault = (
                "two turns of the same role follow each other"
                if k and spoken[k - 1][0] == role
                else "the answer comes first"
            )
            yield ("roles", place, fault, "user and assistant take turns, user first"), "error"
        expected = "user" if role == "assistant" else "assistant"
    if spoken and spoken[-1][0] != "assistant":
        yield ("roles", spoken[-1][1], "the last question has no answer", "add the answer or drop the turn"), "error"
    for role, text, pictures, place in zip(out.roles, out.texts, out.pictures_in, out.places, strict=True):
        if not text.strip() and role == "assistant":
            yield ("empty", place, "the answer is empty", "write it or drop the round"), "error"
        elif not text.strip() and role == "user" and not pictures:
            yield ("empty", place, "the question is empty", "write it or drop the round"), "error"
        if pictures and role == "assistant":
            yield (
                ("picture in answer", place, "a picture stands in an answer", "most trainers expect it in a question"),
                "warning",
            )
    if (seen := sum(out.pictures_in)) != len(out.paths):
        fix = f"write one {PLACEHOLDER} (or image part) for each picture, in their order"
        yield ("placeholders", "", f"{seen} placeholders, {len(out.paths)} pictures", fix), "error"
    if (tokens := sum(len(t.encode(errors="replace")) for t in out.texts) // BYTES_PER_TOKEN) > max_tokens:
        yield (
            (
                "long",
                "",
                f"about {tokens} tokens of text, more than {max_tokens}",
                "split it: trainers cut off what is over",
            ),
            "warning",
        )
