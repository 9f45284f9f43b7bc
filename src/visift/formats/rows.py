"""Rows of a JSON array or of JSON Lines, in and out, one at a time: a file of a million rows never stands in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from visift.core.errors import DataError, UsageError
from visift.core.files import atomic

CHUNK = 1 << 20  # characters read at a time
LONGEST = 1 << 26  # characters one row may have; more means that this is no list of conversations
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
NEAR_END = 16  # an error this close to what has been read may only be the cut: "tru", "\u12", "-"


def read_rows(path: Path) -> Iterator[tuple[int, Any | DataError]]:
    """(row number from 1, value) for every row of a JSON array or JSON Lines file, told apart by the first character.

    A line that is no JSON comes as a DataError in place of the value, and reading goes on. Raises DataError where it
    cannot go on: no such file, no text, a broken array.
    """
    try:
        with path.open(encoding="utf-8-sig") as f:
            first = _first_character(f)
            f.seek(0)
            if first == "[":
                yield from _array(f, path)
            elif first == "{":
                yield from _lines(f, path)
            elif first:
                raise DataError(
                    "holds neither a JSON array nor JSON Lines", where=path, remedy="name the format with --from"
                )
    except UnicodeDecodeError as e:
        raise DataError("is not UTF-8 text", where=path, remedy="name the format with --from if it is no JSON") from e
    except OSError as e:
        raise DataError(f"cannot be read ({e.strerror})", where=path, remedy="check the path") from e


def _first_character(f: TextIO) -> str:
    while text := f.read(1024):
        if text.strip():
            return text.strip()[0]
    return ""


def _lines(f: TextIO, path: Path) -> Iterator[tuple[int, Any | DataError]]:
    number = 0
    for line_number, line in enumerate(f, 1):
        if not line.strip():
            continue
        number += 1
        try:
            yield number, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as e:
            if line_number == 1 and line.strip() == "{":
                raise DataError("is one JSON object, a list of rows is needed", where=path) from e
            why = e.msg if isinstance(e, json.JSONDecodeError) else "nested too deeply"
            yield (
                number,
                DataError(f"is not valid JSON ({why})", where=f"{path}:{line_number}", remedy="one JSON object a line"),
            )


def _array(f: TextIO, path: Path) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    text, number, more = f.read(CHUNK).lstrip()[1:], 0, True
    at = 0

    def fail(why: str) -> DataError:
        return DataError(
            f"is not a valid JSON array ({why})", where=f"{path}: row {number + 1}", remedy="fix or re-download it"
        )

    while True:
        at = _skip(text, at, " \t\r\n")
        if at < len(text) and text[at] == "]" and number == 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
            after = _skip(text, end, " \t\r\n")
            if after == len(text) and more:  # the next chunk may go on with the same number
                raise json.JSONDecodeError("cut", text, after)
        except json.JSONDecodeError as e:
            cut = e.pos >= len(text) - NEAR_END or e.msg.startswith("Unterminated string")
            if not more or not cut:
                raise fail("the file ends in the middle" if cut else e.msg) from e
            if len(text) - at > LONGEST:
                raise fail(f"longer than {LONGEST} characters") from e
            # Doubling keeps the work linear in the length of a long row.
            new = f.read(max(CHUNK, len(text) - at))
            text, at, more = text[at:] + new, 0, bool(new)
            continue
        except RecursionError as e:
            raise fail("nested too deeply") from e
        number += 1
        yield number, value
        if after < len(text) and text[after] == "]":
            if text[after + 1 :].strip() or f.read(1024).strip():
                raise fail("something follows the closing bracket")
            return
        if after >= len(text) or text[after] != ",":
            raise fail("a comma or a closing bracket is missing")
        at = after + 1


def _skip(text: str, at: int, what: str) -> int:
    while at < len(text) and text[at] in what:
        at += 1
    return at


@contextmanager
def row_writer(path: Path) -> Iterator[Callable[[Any], None]]:
    """Yield `write(row)`: a JSON array for `.json`, JSON Lines for `.jsonl`. The file appears when the block ends."""
    if path.suffix not in (".json", ".jsonl"):
        raise UsageError(
            f"cannot tell the container from {path.suffix!r}",
            where=path,
            remedy="end --out in .json (an array) or .jsonl (a row a line)",
        )
    lines = path.suffix == ".jsonl"
    with atomic(path) as f:
        separator = b"" if lines else b"[\n"

        def write(row: Any) -> None:
            nonlocal separator
            f.write(separator + json_bytes(row))
            separator = b"\n" if lines else b",\n"

        yield write
        if not lines:
            f.write(b"[]\n" if separator == b"[\n" else b"\n]\n")
        elif separator:
            f.write(separator)


def json_bytes(row: dict[str, Any]) -> bytes:
    """A row as UTF-8 JSON. Raises DataError naming the row for what JSON cannot say."""
    try:
        return _ENCODE(row).encode()
    except (ValueError, TypeError) as e:  # NaN, half of a surrogate pair, bytes
        raise DataError(f"holds what JSON cannot say ({e})", where=f"conversation {row.get('id')}") from e
