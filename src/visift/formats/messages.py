"""`messages` + `images`: what transformers, TRL and `datasets` read. Parts keep text and pictures apart, so any text is safe.

Written so that every column has one type in all rows: `datasets.load_dataset("json", data_files=…)` infers a table from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from visift.core.errors import DataError
from visift.core.types import Conversation, Part, Turn, get
from visift.formats.normal import EXTRA, assemble, exportable, extras, row_id, safe_path
from visift.formats.placeholder import PICTURE_FIELDS, SPEAKERS, picture_paths, split
from visift.formats.rows import json_bytes

INFERRED = 9 << 20  # bytes; a little less than what `datasets` looks at


def encode(conversation: Conversation) -> dict[str, Any]:
    """The row of a conversation: id, messages, images, and what has no field there as JSON text. Raises DataError."""
    c = exportable(conversation)
    held = extras(c, meta=True)
    return {
        "id": c.id,
        "messages": [
            {
                "role": t.role,
                # "text": null on pictures, because parts with different keys would not share a type
                "content": [{"type": "image" if p.text is None else "text", "text": p.text} for p in t.parts],
            }
            for t in c.turns
        ],
        "images": [p.path for p in c.images],
        EXTRA: json.dumps(held, ensure_ascii=False, allow_nan=False) if held else "",
    }


def with_early_pictures(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, refused (DataError) when the first picture comes after so much text that `datasets` calls the column null.

    It infers the types from the first 10 MiB and fails on what comes later.
    """
    before = 0
    stream = iter(rows)
    for row in stream:
        if row["images"]:
            if before > INFERRED:
                raise DataError(
                    f"{before >> 20} MiB of rows without a picture come first: `datasets` would read 'images' as null",
                    where=f"conversation {row['id']}", remedy="mix the rows (visift mix), or convert to parquet",
                )  # fmt: skip
            yield row
            yield from stream
        else:
            before += len(json_bytes(row))
            yield row


def decode(row: Any, number: int, where: str) -> Conversation:
    """The conversation of one row. Raises DataError naming the row and the field.

    Content may be a list of parts, or text: with `<image>` where pictures stand, or without, and then all pictures
    come before the first user text (as TRL reads it). A part may carry its own path.
    """
    meta: dict[str, Any] = {}
    name = row_id(row, number, meta, where)
    where = f"{where} ({name[:80]})"
    listed = picture_paths(row, where)
    inline: list[str] = []
    turns: list[Turn] = []
    odd: dict[str, Any] = {}
    seen = 0
    for k, entry in enumerate(get(row, "messages", list, where)):
        at = f"{where}, message {k + 1}"
        role = get(entry, "role", str, at)
        if role not in SPEAKERS:
            raise DataError(f"role {role[:40]!r} is unknown", where=at, remedy=f"expected one of {', '.join(SPEAKERS)}")
        parts = _parts(entry.get("content"), seen, inline, at)
        seen += sum(p.image is not None for p in parts)
        turns.append(Turn(SPEAKERS[role], tuple(parts)))
        if rest := {key: v for key, v in entry.items() if key not in ("role", "content") and v is not None}:
            odd[str(k)] = rest
    if inline and (listed or len(inline) != seen):
        raise DataError(
            "some pictures are named in the text and some beside it", where=where, remedy="name all in 'images'"
        )
    if not seen and listed and all(isinstance(m.get("content"), str) for m in row["messages"]):
        turns = _in_front(turns, len(listed), where)
        seen = len(listed)
    paths = inline or listed
    if seen != len(paths):
        raise DataError(
            f"{seen} image parts in the messages, {len(paths)} pictures listed", where=where,
            remedy='write one {"type": "image"} for each picture, in their order',
        )  # fmt: skip
    known = {"id", "messages", *PICTURE_FIELDS, EXTRA}
    meta |= {key: value for key, value in row.items() if key not in known}
    if odd:
        meta["turn_fields"] = odd
    return assemble(name, paths, turns, extra=_extra(row.get(EXTRA), where), meta=meta, where=where)


def _parts(content: Any, first: int, inline: list[str], where: str) -> list[Part]:
    if isinstance(content, str):
        return split(content, first)
    if not isinstance(content, list):
        raise DataError(f"'content' is {type(content).__name__}, expected text or a list of parts", where=where)
    parts: list[Part] = []
    for entry in content:
        kind = get(entry, "type", str, where)
        if kind == "text":
            if text := get(entry, "text", str, where):
                parts.append(Part(text=text))
        elif kind in ("image", "image_url"):
            parts.append(Part(image=first + sum(p.image is not None for p in parts)))
            if path := _inline_path(entry):
                inline.append(safe_path(path, where))
        else:
            raise DataError(
                f"part type {kind[:40]!r} is neither text nor image",
                where=where,
                remedy="only pictures and text are supported",
            )
    return parts


def _inline_path(entry: Mapping[str, Any]) -> Any:
    """The path inside an image part: transformers writes `path`, `url` or `image`, OpenAI `image_url: {"url": …}`."""
    value = next((entry[key] for key in ("path", "url", "image", "image_url") if entry.get(key)), None)
    return value.get("url") if isinstance(value, dict) else value


def _in_front(turns: list[Turn], pictures: int, where: str) -> list[Turn]:
    for k, turn in enumerate(turns):
        if turn.role == "user":
            front = tuple(Part(image=n) for n in range(pictures))
            return [*turns[:k], Turn("user", front + turn.parts), *turns[k + 1 :]]
    raise DataError("lists pictures and has no user message for them", where=where)


def _extra(value: Any, where: str) -> Any:
    if not value or isinstance(value, dict):
        return value
    try:
        return json.loads(value)
    except (json.JSONDecodeError, TypeError, RecursionError) as e:
        raise DataError(
            f"its field {EXTRA!r} is no JSON text", where=where, remedy=f"remove the field {EXTRA!r}"
        ) from e
