"""Files that others read and write: LLaVA JSON, messages + images, ShareGPT, chat rows, WebDataset, parquet.

`read` streams conversations, `write` streams them out; the position of every picture survives both. What a format cannot
hold is refused with the reason. See docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_bytes, under
from visift.core.types import Conversation, Picture
from visift.formats import messages, parquet, placeholder, webdataset
from visift.formats.normal import normal
from visift.formats.pictures import Sample, keep, read_picture
from visift.formats.rows import read_rows, row_writer

Decode = Callable[[Any, int, str], Conversation]
Encode = Callable[[Conversation], dict[str, Any]]
OnFault = Callable[[str, DataError], None]  # (row, why): called for what is left out

TEXT: dict[str, tuple[Decode, Encode]] = {
    layout.name: (partial(placeholder.decode, layout=layout), partial(placeholder.encode, layout=layout))
    for layout in (placeholder.LLAVA, placeholder.SHAREGPT, placeholder.CHAT)
} | {"messages": (messages.decode, messages.encode)}
EMBEDDING = {"webdataset": webdataset, "parquet": parquet}  # these carry the pictures' bytes
FORMATS = (*TEXT, *EMBEDDING)
LOOK = 1000  # rows looked at to recognise a format


def recognise(path: Path) -> str:
    """The format of a file or folder, by what is in it: a name in FORMATS, or `visift` for a dataset of ours.

    Raises DataError when it is none of them.
    """
    if not path.exists():
        raise DataError("no such file or folder", where=path, remedy="check the path")
    if path.is_dir():
        if (path / "dataset.json").exists() or (path / ".build").exists():
            return "visift"
        for name, kind in (("webdataset", "*.tar"), ("parquet", "*.parquet")):
            if any(path.glob(kind)):
                return name
        raise DataError("holds no dataset, shards or parquet files", where=path, remedy="name the file itself")
    with path.open("rb") as f:
        head = f.read(512)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[257:262] == b"ustar" or path.suffix == ".tar":
        return "webdataset"
    for _, row in islice(read_rows(path), LOOK):
        if not isinstance(row, DataError) and (name := format_of_row(row)):
            return name
    raise DataError("its format is not recognised", where=path, remedy=f"name it with --from: {', '.join(FORMATS)}")


def format_of_row(row: Any) -> str:
    """The text format that a JSON row is in; empty when it is in none."""
    if not isinstance(row, dict):
        return ""
    if isinstance(row.get("messages"), list):
        return "messages"
    if isinstance(row.get("conversation"), list):
        return "chat"
    if isinstance(row.get("conversations"), list):
        return "sharegpt" if "images" in row or "system" in row else "llava"
    return ""


def raw_rows(path: Path, format: str) -> Iterator[tuple[int, Any | DataError, list[bytes | None] | None]]:
    """(row number, JSON row or what is wrong with it, pictures' bytes where the format carries them)."""
    if format in EMBEDDING:
        yield from EMBEDDING[format].rows(path)
    else:
        yield from ((number, row, None) for number, row in read_rows(path))


def read(
    path: Path,
    format: str | None = None,
    image_root: Path | None = None,
    *,
    pictures: Path | None = None,
    on_fault: OnFault | None = None,
) -> Iterator[Conversation]:
    """Stream the conversations of a foreign file. Picture paths are as written there: relative to its image root.

    format      a name in FORMATS; recognised from the content when None
    image_root  when given, every picture must exist below it
    pictures    folder for the pictures that WebDataset and parquet carry; they are not unpacked when None
    on_fault    called with (row, DataError) for every row that cannot be read; without it the first one is raised
    """
    path = Path(path)
    format = format or recognise(path)
    if format not in FORMATS:
        raise UsageError(f"format {format!r} is not one of {', '.join(FORMATS)}", where=path)
    for number, row, blobs in raw_rows(path, format):
        where = f"{path}: row {number}"
        try:
            if isinstance(row, DataError):
                raise row
            conversation = decode_row(row, number, where, format)
            if blobs is not None and pictures is not None:
                _match(conversation, blobs, where)
                keep(pictures, conversation, blobs, where)
            elif blobs is None and image_root is not None:
                _resolve(conversation, image_root, where)
        except DataError as e:
            if on_fault is None:
                raise
            on_fault(f"row {number}", e)
        else:
            yield conversation


def decode_row(row: Any, number: int, where: str, format: str) -> Conversation:
    """One raw row as a conversation; rows inside WebDataset and parquet may be in any text format."""
    name = (format_of_row(row) or "messages") if format in EMBEDDING else format
    return TEXT[name][0](row, number, where)


def _match(conversation: Conversation, blobs: list[bytes | None], where: str) -> None:
    if len(conversation.images) != len(blobs):
        raise DataError(f"{len(conversation.images)} pictures are used, {len(blobs)} are stored", where=where)


def _resolve(conversation: Conversation, root: Path, where: str) -> None:
    for picture in conversation.images:
        if not under(root, picture.path).is_file():
            raise DataError(
                f"the picture {picture.path!r} is missing below {root}", where=where, remedy="check --image-root"
            )


def _bytes(picture: Picture, locate: Callable[[Picture], Path], where: str) -> bytes:
    path = locate(picture)
    data = read_picture(path, where)
    if picture.sha256 and sha256_bytes(data) != picture.sha256:
        raise DataError(
            f"{path} is not the picture that the row was made of", where=where, remedy="fetch or make it again"
        )
    return data


def write(
    out: Path,
    conversations: Iterable[Conversation],
    format: str,
    *,
    locate: Callable[[Picture], Path] | None = None,
    on_fault: OnFault | None = None,
) -> int:
    """Stream conversations into a file (a folder for `webdataset`), which appears when all are written. Returns the count.

    locate    Picture -> file; needed for the formats that carry the pictures' bytes
    on_fault  called with (id, DataError) for every conversation that the format cannot hold; without it the first one
              is raised and nothing is written
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r} is not one of {', '.join(FORMATS)}", where=out)
    embedding = EMBEDDING.get(format)
    if embedding and locate is None:
        raise UsageError(f"{format} carries the pictures themselves", where=out, remedy="say where they lie")
    encode = TEXT["messages" if embedding else format][1]

    def samples() -> Iterator[Sample]:
        for c in conversations:
            try:
                row = encode(c)
                blobs = (
                    [_bytes(p, locate, f"conversation {c.id}") for p in normal(c).images]
                    if embedding and locate
                    else []
                )
            except DataError as e:
                if on_fault is None:
                    raise
                on_fault(c.id, e)
            else:
                yield row, blobs

    if embedding:
        return int(embedding.write(out, samples()))
    count = 0
    rows = (row for row, _ in samples())
    with row_writer(out) as write_row:
        for row in messages.with_early_pictures(rows) if format == "messages" else rows:
            write_row(row)
            count += 1
    return count
