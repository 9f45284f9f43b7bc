"""What every outside format shares: pictures in order of use, safe paths, and one field for what has no field there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from visift.core.errors import DataError
from visift.core.types import Conversation, Part, Picture, Provenance, Turn, get

FOREIGN = Provenance(kind="foreign")  # a row that does not say where it comes from
EXTRA = "visift"  # the field that holds what an outside format has no place for; other readers pass over it

_REMOTE = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*://|data:)")
_ABSOLUTE = re.compile(r"^(?:[/\\]|[A-Za-z]:[/\\])")


def normal(conversation: Conversation) -> Conversation:
    """The same conversation with pictures listed in order of use, one entry a use, and adjacent texts joined.

    Outside formats match the n-th placeholder with the n-th picture, so this is the form that they can hold. Raises
    DataError for a picture that stands nowhere in the turns.
    """
    used: list[int] = []
    turns = []
    for turn in conversation.turns:
        parts: list[Part] = []
        for part in turn.parts:
            if part.image is not None:
                parts.append(Part(image=len(used)))
                used.append(part.image)
            elif part.text:
                if parts and parts[-1].text is not None:
                    parts[-1] = Part(text=parts[-1].text + part.text)
                else:
                    parts.append(part)
        turns.append(replace(turn, parts=tuple(parts)))
    if unused := set(range(len(conversation.images))) - set(used):
        raise DataError(
            f"picture {min(unused)} stands nowhere in the turns", where=f"conversation {conversation.id}",
            remedy="a placeholder format loses it; give it a place or remove it",
        )  # fmt: skip
    return replace(conversation, turns=tuple(turns), images=tuple(conversation.images[k] for k in used))


def exportable(conversation: Conversation) -> Conversation:
    """`normal`, refusing (DataError) what would mean something else to an outside trainer."""
    for number, turn in enumerate(conversation.turns, 1):
        if turn.role == "assistant" and not turn.train:
            raise DataError(
                f"turn {number} is marked as not to be trained on, which the format cannot say",
                where=f"conversation {conversation.id}", remedy="its readers would train on it; leave the turn out first",
            )  # fmt: skip
    return normal(conversation)


def extras(conversation: Conversation, *, meta: bool) -> dict[str, Any]:
    """What has no field outside: picture hashes and sizes, response forms, provenance, and `meta` where asked for."""
    c = conversation
    found: dict[str, Any] = {}
    if any(p != Picture(p.path) for p in c.images):
        found["images"] = [{k: v for k, v in p.to_json().items() if k != "path"} for p in c.images]
    if any(t.form for t in c.turns):
        found["forms"] = [t.form for t in c.turns]
    if c.provenance != FOREIGN:
        found["provenance"] = c.provenance.to_json()
    if meta and c.meta:
        found["meta"] = dict(c.meta)
    return found


def assemble(
    id: str, paths: list[str], turns: list[Turn], *, extra: Any, meta: Mapping[str, Any], where: str
) -> Conversation:
    """The conversation of an outside row; `extra` is what `extras` gave. Raises DataError when they do not fit."""
    if not extra:
        return Conversation(id, tuple(Picture(p) for p in paths), tuple(turns), FOREIGN, meta)
    known = get(extra, "images", list, where, [{}] * len(paths))
    forms = get(extra, "forms", list, where, [""] * len(turns))
    if len(known) != len(paths) or len(forms) != len(turns):
        raise DataError(f"its field {EXTRA!r} fits another row", where=where, remedy=f"remove the field {EXTRA!r}")
    images = tuple(
        Picture.from_json({**get({"_": k}, "_", dict, where), "path": p}, where)
        for p, k in zip(paths, known, strict=True)
    )
    provenance = get(extra, "provenance", dict, where, None) if "provenance" in extra else None
    return Conversation(
        id=id,
        images=images,
        turns=tuple(replace(t, form=get({"form": f}, "form", str, where)) for t, f in zip(turns, forms, strict=True)),
        provenance=Provenance.from_json(provenance, where) if provenance is not None else FOREIGN,
        meta={**meta, **get(extra, "meta", dict, where, {})},
    )


def safe_path(value: Any, where: str) -> str:
    """A picture's path as written in a row, refused (DataError) unless it is relative and stays below its root."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise DataError(f"a picture's path is {str(value)[:80]!r}, text is needed", where=where)
    if _REMOTE.match(value):
        raise DataError(
            f"the picture {value[:80]!r} is remote or inline", where=where,
            remedy="download it and refer to the file: nothing is fetched from addresses in data",
        )  # fmt: skip
    if _ABSOLUTE.match(value) or ".." in re.split(r"[/\\]", value):
        raise DataError(
            f"the picture path {value[:80]!r} leaves its root", where=where,
            remedy="write it relative to the image root, without '..'",
        )  # fmt: skip
    return value


def row_id(row: Any, number: int, meta: dict[str, Any], where: str) -> str:
    """The row's id as text. A number is kept in `meta`, so that the way back writes a number; no id becomes one.

    Raises DataError for a row that is no object and for an id that is neither text nor a number.
    """
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, found {type(row).__name__}", where=where)
    value = row.get("id")
    if value is None:
        return f"row-{number:07d}"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError(f"'id' is {type(value).__name__}, text or a number is meant", where=where)
    if not isinstance(value, str):
        meta["id"] = value
    return str(value)
