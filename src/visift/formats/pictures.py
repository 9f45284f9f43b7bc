"""Picture files on their way in and out of formats that carry the bytes: kept under one folder, never fetched, checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from visift.core.errors import DataError, VisiftError
from visift.core.files import sha256_bytes, under, write_atomic
from visift.core.types import Conversation
from visift.formats.normal import safe_path

Sample = tuple[dict[str, Any], list[bytes]]  # a `messages` row and its pictures, encoded, in order of use

_SUFFIXES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def suffix_of(data: bytes) -> str:
    """The file name ending of an encoded picture, by its first bytes; empty when they are no known picture's."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "")


def read_picture(path: Path, where: str) -> bytes:
    """The file's bytes. Raises DataError when it is missing or no picture."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(
            f"the picture cannot be read ({e.strerror}): {path}", where=where, remedy="check --image-root"
        ) from e
    if not suffix_of(data):
        raise DataError(f"is no picture (JPEG, PNG, WebP, GIF or BMP): {path}", where=where, remedy="replace the file")
    return data


def keep(folder: Path, conversation: Conversation, blobs: list[bytes | None], where: str) -> None:
    """Write the pictures that came with a row under `folder`, at the paths that the row gives them.

    Raises DataError when a blob is missing, is not what its hash says, or differs from what already lies there.
    """
    for picture, blob in zip(conversation.images, blobs, strict=True):
        if blob is None:
            raise DataError(f"the row holds no bytes for {picture.path!r}", where=where)
        if picture.sha256 and sha256_bytes(blob) != picture.sha256:
            raise DataError(f"{picture.path!r} is not what its sha256 says", where=where, remedy="fetch the file again")
        path = under(folder, safe_path(picture.path, where))
        if not path.exists():
            write_atomic(path, blob)
        elif path.read_bytes() != blob:
            raise DataError(
                f"two different pictures are called {picture.path!r}", where=where, remedy="rename one of them"
            )


def place(source: Path, folder: Path, relative: str, where: str) -> None:
    """Put a picture at `folder/relative` without its bytes taking room twice where the file system allows it."""
    target = under(folder, relative)
    if target.exists():
        if not target.samefile(source) and target.read_bytes() != read_picture(source, where):
            raise DataError(f"another picture lies at {target}", where=where, remedy="choose another --out")
        return
    if not source.is_file():
        raise DataError(f"the picture is missing: {source}", where=where, remedy="check --image-root")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, part)
            os.replace(part, target)
    except OSError as e:
        raise VisiftError(
            f"cannot place a picture ({e.strerror})", where=target, remedy="free some space or choose another --out"
        ) from e
