"""Large JSON files read element by element: the arrays inside the top-level object, never the whole tree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from visift.core.errors import DataError

CHUNK = 1 << 20  # bytes read at a time; doubled while one element does not fit
SPACE = re.compile(r"[ \t\r\n]*")


def elements(
    path: Path, numbers_only: frozenset[str] = frozenset(), lists: bool = False
) -> Iterator[tuple[str, Any, int, int]]:
    """(key, element, byte offset, byte length) for every element of every array in the top-level object. With `lists` the top
    level may be an array itself; its key is ''.

    Under the keys in `numbers_only` text is read as Latin-1, which is fast and leaves numbers and ASCII right. Values
    that are no arrays are skipped.
    Raises DataError naming the byte: not an object, malformed, cut short, not UTF-8.
    """
    try:
        with path.open("rb") as file:
            yield from _Parser(path, file, numbers_only, lists).run()
    except FileNotFoundError as e:
        raise DataError("no such file", where=path, remedy="check the path") from e
    except IsADirectoryError as e:
        raise DataError("is a folder, not a JSON file", where=path, remedy="name the file inside it") from e


class _Parser:
    """Holds a stretch of the file as Latin-1, so that a character is a byte and offsets are right."""

    def __init__(self, path: Path, file: Any, numbers_only: frozenset[str], lists: bool = False) -> None:
        self.path, self.file, self.numbers_only, self.lists = path, file, numbers_only, lists
        self.text, self.base, self.pos, self.ended = "", 0, 0, False
        self.decode = json.JSONDecoder().raw_decode

    def run(self) -> Iterator[tuple[str, Any, int, int]]:
        if self.peek() == "[" and self.lists:
            yield from self.array("")
            if self.peek():
                raise self.error("more text follows the array")
            return
        if self.peek() != "{":
            raise self.error("a JSON object is expected here")
        self.pos += 1
        while self.peek() != "}":
            key = self.value()[0]
            if not isinstance(key, str) or self.peek() != ":":
                raise self.error('"key": is expected here')
            self.pos += 1
            if self.peek() == "[":
                yield from self.array(key)
            else:
                self.value()
            self.comma("}")
        self.pos += 1
        if self.peek():
            raise self.error("more text follows the object")

    def array(self, key: str) -> Iterator[tuple[str, Any, int, int]]:
        self.pos += 1
        while self.peek() != "]":
            value, start = self.value()
            length = self.base + self.pos - start
            if key not in self.numbers_only:
                value = self.as_utf8(self.pos - length)
            yield key, value, start, length
            self.comma("]")
        self.pos += 1

    def as_utf8(self, start: int) -> Any:
        """The value that ends here, parsed again from what its bytes are in UTF-8."""
        try:
            return json.loads(self.text[start : self.pos].encode("latin-1").decode("utf-8"))
        except UnicodeDecodeError as e:
            raise self.error("not UTF-8 text", start - self.pos) from e

    def comma(self, closing: str) -> None:
        found = self.peek()
        if found == ",":
            self.pos += 1
            if self.peek() != closing:
                return
        elif found == closing:
            return
        raise self.error(f"',' or '{closing}' is expected here")

    def peek(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            self.pos = SPACE.match(self.text, self.pos).end()  # type: ignore[union-attr]  # matches the empty string
            if self.pos < len(self.text):
                return self.text[self.pos]
            if self.ended:
                return ""
            self.more(CHUNK)

    def more(self, size: int) -> None:
        chunk = self.file.read(size)
        self.ended = not chunk
        self.base += self.pos
        self.text, self.pos = self.text[self.pos :] + chunk.decode("latin-1"), 0
        if self.base == 0:
            self.text = (
                self.text.replace("\xef\xbb\xbf", "   ", 1) if self.text.startswith("\xef\xbb\xbf") else self.text
            )

    def value(self) -> tuple[Any, int]:
        """The next value and its byte offset; reads on while it is cut off by the end of the buffer."""
        self.peek()
        size = CHUNK
        while True:
            try:
                value, end = self.decode(self.text, self.pos)
                if end < len(self.text) or self.ended:
                    start, self.pos = self.base + self.pos, end
                    return value, start
            except json.JSONDecodeError as e:
                cut = e.msg.startswith("Unterminated") or e.pos > len(self.text) - 16
                if self.ended or not cut:
                    raise self.error(e.msg, e.pos - self.pos) from e
            except (ValueError, RecursionError) as e:  # absurdly long numbers, absurdly deep nesting
                raise self.error("unreadable value") from e
            self.more(size)
            size *= 2

    def error(self, what: str, further: int = 0) -> DataError:
        return DataError(
            f"is not the JSON expected ({what})", where=f"{self.path}: byte {self.base + self.pos + further}",
            remedy="a COCO file is one JSON object with arrays; fix or re-download it",
        )  # fmt: skip
