"""From one format to another, pictures included: `visift convert`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import under, write_jsonl
from visift.core.progress import progress
from visift.core.types import Conversation, Picture
from visift.formats import EMBEDDING, FORMATS, TEXT, read, recognise, write
from visift.formats.pictures import place

OWN = "images"  # where a dataset keeps the pictures it drew; the sources' own roots are often called that, too
ORIGINALS = "originals"  # what such a root is called outside


def convert(
    path: Path,
    to: str,
    out: Path,
    *,
    format: str | None = None,
    image_root: Path | None = None,
    roots: Mapping[str, str] | None = None,
    skip: bool = False,
) -> dict[str, Any]:
    """Write `path` to `out` in the format `to` and return the counts and the image root of the result.

    Paths of a foreign text file stay as they are. Pictures of a dataset of ours, and those that WebDataset and parquet
    carry, are put into the folder OUT_images (hard links where possible), which is then the image root.

    image_root  where the pictures of a foreign text file lie; its own folder when not given. When given, all must exist
    roots       image roots of a dataset of ours, by name
    skip        leave out what cannot be held or read, and list it in OUT.rejected.jsonl, instead of stopping at the first

    Raises DataError for the first such row, or when nothing is left; UsageError for an unknown format.
    """
    if to not in FORMATS:
        raise UsageError(f"--to {to!r} is not one of {', '.join(FORMATS)}")
    if out.exists() and out.resolve() == path.resolve():
        raise UsageError("would overwrite its own source", where=out, remedy="choose another --out")
    source = format or recognise(path)
    rejected: list[dict[str, str]] = []

    def fault(id: str, e: DataError) -> None:
        if not skip:
            raise e
        rejected.append({"id": id, "stage": "convert", "reason": str(e)})

    beside = out.with_name(f"{out.stem}_images")
    with ExitStack() as stack, progress(f"{source} to {to}", None, "rows") as tick:
        result: Path | None = None  # the image root of what is written
        if source == "visift":
            dataset = Dataset(path, roots)
            if to in TEXT:
                stream, result = _placed(dataset, beside, fault), beside
            else:
                stream = (_renamed(c) for c in dataset)
            locate = _locate_named(dataset)
        elif source in EMBEDDING:
            folder = beside
            if to in EMBEDDING:
                out.parent.mkdir(parents=True, exist_ok=True)
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".visift-", dir=out.parent)))
            else:
                result = beside
            stream = read(path, source, pictures=folder, on_fault=fault)
            locate = _locate_under(folder)
        else:
            stream = read(path, source, image_root, on_fault=fault)
            result = image_root if to in TEXT else None
            locate = _locate_under(image_root or path.parent)
        rows = write(out, _ticked(stream, tick), to, locate=locate, on_fault=fault)
    if rejected:
        write_jsonl(out.with_name(f"{out.name}.rejected.jsonl"), rejected)
    if rejected and not rows:
        raise DataError(f"nothing of it could be converted: {rejected[0]['reason']}", where=path)
    return {
        "from": source, "to": to, "out": str(out), "rows": rows, "rejected": len(rejected),
        "image_root": str(result) if result else None,
    }  # fmt: skip


def _ticked(stream: Iterator[Conversation], tick: Callable[[int], None]) -> Iterator[Conversation]:
    for conversation in stream:
        yield conversation
        tick(1)


def _renamed(conversation: Conversation) -> Conversation:
    """`NAME:relative` becomes `NAME/relative`, `images:relative` becomes `originals/relative`: outside, all pictures have one root."""

    def outside(path: str) -> str:
        name, colon, rest = path.partition(":")
        return f"{ORIGINALS if name == OWN else name}/{rest}" if colon else path

    return conversation.with_images(tuple(replace(p, path=outside(p.path)) for p in conversation.images))


def _placed(dataset: Dataset, folder: Path, fault: Callable[[str, DataError], None]) -> Iterator[Conversation]:
    for conversation in dataset:
        renamed = _renamed(conversation)
        try:
            for picture, outside in zip(conversation.images, renamed.images, strict=True):
                place(dataset.picture_path(picture), folder, outside.path, f"conversation {conversation.id}")
        except DataError as e:
            fault(conversation.id, e)
        else:
            yield renamed


def _locate_under(folder: Path) -> Callable[[Picture], Path]:
    return lambda picture: under(folder, picture.path)


def _locate_named(dataset: Dataset) -> Callable[[Picture], Path]:
    """The way back from `_renamed`. Raises UsageError where two roots would have one name outside."""
    if {OWN, ORIGINALS} <= dataset.roots.keys():
        raise UsageError(
            f"has image roots {OWN!r} and {ORIGINALS!r}, which would fall together",
            where=dataset.path,
            remedy="call one of its roots otherwise",
        )

    def locate(picture: Picture) -> Path:
        name, _, rest = picture.path.partition("/")
        if name == OWN:
            return dataset.picture_path(picture)
        root = OWN if name == ORIGINALS and OWN in dataset.roots else name
        return dataset.picture_path(replace(picture, path=f"{root}:{rest}"))

    return locate
