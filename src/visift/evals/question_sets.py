"""What `visift answer` is asked to answer, as a dataset of questions: one of ours, a benchmark's published files, or a hub data set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from visift.core.dataset import Made, build
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_bytes, sha256_file, under, write_atomic
from visift.evals import tasks
from visift.evals.benchmark import as_dataset
from visift.evals.load_answers import LmmsEval
from visift.evals.task import Question
from visift.formats import parquet

HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(/[\w./-]+)?$")
SPLITS = ("test", "testdev", "validation", "val", "dev")  # the first that a folder has is asked
SUFFIX = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif"}


def question_set(
    task: str, given: str, work: Path, *, references: Path | None = None, images: Path | None = None
) -> Path:
    """The dataset folder for `given`: itself where it is one, else `work`, made from it (and kept: run again it is found).

    given   a dataset folder; a benchmark's question or label file; a folder of parquet files as hubs lay them out; or a
            hub id, `owner/name` or `owner/name/folder`
    images  the folder that a benchmark's picture paths are relative to

    Raises UsageError for what is none of these; DataError where files are not what they should be.
    """
    path = Path(given)
    if (path / "dataset.json").exists():
        return path
    if not path.exists() and HUB_ID.match(given):
        path = _fetched(given)
    if not path.exists():
        raise UsageError(
            "is no file, folder or hub id", where=given, remedy="name a dataset folder or a benchmark's file"
        )
    if path.is_dir() and (files := _parquet_files(path)):
        of_hub(task, path, files, work)
    else:
        as_dataset(task, work, questions=path, references=references, images=images)
    return work


def _fetched(hub_id: str) -> Path:
    """The hub data set's parquet files, fetched once, as the folder that they lie in."""
    from huggingface_hub import snapshot_download

    owner, name, *folder = hub_id.split("/", 2)
    wanted = [f"{folder[0]}/*.parquet", f"{_pictures_of(folder[0])}/*.parquet"] if folder else ["**/*.parquet"]
    try:
        found = Path(snapshot_download(f"{owner}/{name}", repo_type="dataset", allow_patterns=wanted))
    except Exception as e:  # the hub client raises what its transports do
        raise DataError(
            f"cannot be fetched from the hub ({type(e).__name__})", where=hub_id, remedy="fetch it and name its folder"
        ) from e
    return found / folder[0] if folder else found


def _pictures_of(folder: str) -> str:
    """GQA keeps its pictures in a folder of their own."""
    return folder.replace("instructions", "images")


def _parquet_files(path: Path) -> list[Path]:
    """The files of the split to ask: of `data/` where there is one, else of all folders."""
    found = sorted((path / "data").glob("*.parquet")) or sorted(path.rglob("*.parquet"))
    named = {split: [f for f in found if re.match(rf"{split}(?![a-z])", f.name)] for split in SPLITS}
    return next((files for files in named.values() if files), found)


def of_hub(task: str, folder: Path, files: list[Path], out: Path) -> dict[str, Any]:
    """A dataset of the questions in parquet files with lmms-eval's columns; ids are row numbers from 0, as in its logs."""
    reader = tasks.get(task).readers.get("lmms-eval")
    if not isinstance(reader, LmmsEval):
        raise UsageError(f"task {task} has no known columns on hubs", where=folder, remedy="name its published files")
    apart = Path(_pictures_of(str(folder)))
    pictures = {} if apart == folder else dict(_pictures(sorted(apart.rglob("*.parquet"))))

    def make(item: tuple[int, dict[str, Any], list[bytes | None]]) -> Made:
        number, row, blobs = item
        where = f"{folder}: row {number + 1}"
        try:
            question = reader.of_doc(row, str(number))
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise UsageError(f"lacks a column that {task} needs ({type(e).__name__}: {e})", where=where) from e
        given = [b for b in blobs if b] or [pictures[i] for i in (str(row.get("imageId")),) if i in pictures]
        return Made([_with(question, given, out).conversation(task)])

    rows = chain.from_iterable(parquet.rows(f) for f in files)
    return build(
        out, kind=task, items=((k, row, blobs) for k, (_, row, blobs) in enumerate(rows)), make=make,
        settings={"task": task, "files": [sha256_file(f) for f in files]},
    )  # fmt: skip


def _pictures(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        for _, row, blobs in parquet.rows(file):
            if blobs and blobs[0]:
                yield str(row.get("id")), blobs[0]


def _with(question: Question, blobs: list[bytes], out: Path) -> Question:
    """The question on those pictures, each written once under `out`."""
    paths = []
    for data in blobs:
        path = f"images/{sha256_bytes(data)[:24]}{SUFFIX.get(data[:2], '.img')}"
        if not under(out, path).exists():
            write_atomic(under(out, path), data)
        paths.append(path)
    return replace(question, images=tuple(paths))
