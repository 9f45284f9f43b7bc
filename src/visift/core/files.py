"""Files that are whole or absent: atomic writes, canonical JSON, JSON lines, hashes, paths kept under a root."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from visift.core.errors import DataError, VisiftError

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, UTF-8; NaN and infinity are refused (ValueError)."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    return sha256_bytes(canonical_json(value).encode())


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")  # what can name a model on the hub: owner/name


def model_hashes(folder: Path) -> dict[str, str | int]:
    """What the model in `folder` is known by: file name -> SHA-256 of its weights, configurations and templates (above 1 GB
    the size in bytes). Empty where there is no such folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(p, p.stat()) for p in files if p.suffix in (".safetensors", ".json", ".jinja")]
    return {p.name: _sha256_once(p, s.st_size, s.st_mtime_ns) if s.st_size < 1 << 30 else s.st_size for p, s in found}


@lru_cache(maxsize=256)  # several question sets are put to one model in a row
def _sha256_once(path: Path, size: int, changed: int) -> str:
    return sha256_file(path)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing so that no reader, and no restart after a kill, ever sees half of it.

    The file appears when the block ends. An exception in the block leaves an older file at `path` as it was. Raises
    VisiftError when the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as e:
        raise _unwritable(path, e) from e
    try:
        with os.fdopen(fd, "wb") as f:
            yield f
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as e:
        Path(name).unlink(missing_ok=True)
        if e.filename not in (None, name):  # the block failed on a file of its own
            raise
        raise _unwritable(path, e) from e
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def appending(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that adds bytes to the end of `path`, at once. A kill may tear the last of them. Raises VisiftError as
    `atomic` does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        f = path.open("ab")
    except OSError as e:
        raise _unwritable(path, e) from e

    def add(data: bytes) -> None:
        try:
            f.write(data)
            f.flush()
        except OSError as e:
            raise _unwritable(path, e) from e

    try:
        yield add
    finally:
        with suppress(OSError):  # the flush that failed, tried once more
            f.close()


def cut_log(path: Path, step: int) -> None:
    """Keep the lines of a log of steps (JSONL) up to `step`, from which a run goes on, without the one that a kill or a full disk
    tore. Raises DataError for a line that neither leaves."""
    if not path.exists():
        return
    whole, newline, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        write_atomic(path, whole + newline)
    kept = []
    for number, row in read_jsonl(path):
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            remedy = "remove the line; the run goes on without it"
            raise DataError("is no logged step", where=f"{path}:{number}", remedy=remedy)
        if row["step"] <= step:
            kept.append(json.dumps(row) + "\n")
    write_atomic(path, "".join(kept))


def _unwritable(path: Path, e: OSError) -> VisiftError:
    return VisiftError(
        f"cannot write ({e.strerror or e})",
        where=path,
        remedy="free some space or choose another --out; what was finished stays",
    )


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `path` whole, as `atomic` does."""
    with atomic(path) as f:
        f.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Pretty, key-sorted JSON, written atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """One JSON value a line in the order given, written atomically and in a stream. Key order is the row's own. Raises
    ValueError for NaN and infinity."""
    with atomic(path) as f:
        for row in rows:
            line = msgspec.json.format(_encode(row), indent=0)  # on one line, with spaces, as json.dumps writes it
            if b"null" in line:
                json.dumps(row, allow_nan=False)  # msgspec writes NaN as null
            f.write(line + b"\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises DataError naming the file, line and column."""
    try:
        with path.open(encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError as e:
        raise DataError("no such file", where=path, remedy="check the path") from e
    except IsADirectoryError as e:
        raise DataError("is a folder, not a JSON file", where=path, remedy="name the file inside it") from e
    except UnicodeDecodeError as e:
        raise DataError("is not UTF-8 text", where=path, remedy="is it a JSON file?") from e
    except RecursionError as e:
        raise DataError("is nested too deeply", where=path, remedy="is it a JSON file of the expected kind?") from e
    except json.JSONDecodeError as e:
        raise DataError(
            f"is not valid JSON ({e.msg})", where=f"{path}:{e.lineno}:{e.colno}", remedy="fix or re-download it"
        ) from e
    except ValueError as e:
        raise DataError("holds a number of thousands of digits", where=path, remedy="fix or re-download it") from e


def _decoded(line: bytes) -> Any:
    """json.loads of a line, in a third of the time. What msgspec refuses goes to json: NaN and half a surrogate pair are read
    all the same, and what is no JSON is named."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(line)


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for every non-empty line, streamed. Raises DataError naming file and line."""
    number = 0
    try:
        with path.open("rb") as f:
            for number, line in enumerate(f, 1):
                if line.strip():
                    yield number, _decoded(line)
    except FileNotFoundError as e:
        raise DataError("no such file", where=path, remedy="check the path") from e
    except IsADirectoryError as e:
        raise DataError("is a folder, not a JSON Lines file", where=path, remedy="name the file inside it") from e
    except UnicodeDecodeError as e:
        raise DataError("is not UTF-8 text", where=f"{path}:{number}", remedy="is it a JSON Lines file?") from e
    except (ValueError, RecursionError) as e:  # no JSON, or a number of thousands of digits
        raise DataError(
            "is not valid JSON", where=f"{path}:{number}", remedy="one JSON value a line is expected"
        ) from e


def under(root: Path, relative: str) -> Path:
    """`root/relative`, refused (DataError) when it leaves `root`: absolute paths, `..`, links that point outside."""
    try:
        if any(len(name.encode()) > 255 for name in relative.split("/")):
            raise ValueError("a name is longer than 255 bytes")
        base = root.resolve()
        path = (base / relative).resolve()
    except (OSError, ValueError, RuntimeError) as e:
        raise DataError(f"is no usable path ({e})", where=repr(relative[:200])) from e
    if not path.is_relative_to(base):
        raise DataError("leads outside its root", where=repr(relative), remedy=f"paths must stay under {root}")
    return path


def begun_with(path: Path, value: Any, *, done: bool) -> bool:
    """Keep in `path` what a folder is begun with. False where something else lies there by which work is `done`; what nothing
    came of, a command that failed, is replaced."""
    kept = read_json(path) if path.exists() else None
    if kept is not None and canonical_json(kept) == canonical_json(value):
        return True
    if kept is not None and done:
        return False
    write_json(path, value)
    return True


def once(path: Path, make: Callable[[], Any]) -> Any:
    """The JSON kept at `path`, or the result of `make`, kept there. What a resumed command uses for finished steps."""
    if path.exists():
        return read_json(path)
    value = make()
    write_json(path, value)
    return value
