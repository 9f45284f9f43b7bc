"""Foreign files as training data: taken over into a dataset of ours, every row or an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from visift.core.dataset import Dataset, Made, build
from visift.core.errors import UsageError
from visift.core.files import sha256_file
from visift.core.types import Conversation
from visift.formats import EMBEDDING, read, recognise


def open_data(path: Path, out: Path, roots: Mapping[str, str] | None = None, foreign: Path | None = None) -> Dataset:
    """`path` if it is a dataset of ours, else its copy at OUT/data/NAME, made when it is not there yet.

    Pictures stay where they are, under `foreign` or beside the file. Raises DataError naming the first row that cannot be
    read or whose picture is missing, UsageError for a format that carries its pictures and for two files of one name.
    """
    if path.is_dir() and (path / "dataset.json").exists():
        return Dataset(path, roots)
    format = recognise(path)
    if format == "visift" or format in EMBEDDING:
        raise UsageError(f"{format} is no format to train on", where=path, remedy="take it over with `visift mix`")
    name, root = path.stem, (foreign or path.parent).resolve()

    def make(conversation: Conversation) -> Made:
        images = tuple(replace(p, path=f"{name}:{p.path}") for p in conversation.images)
        return Made([conversation.with_images(images)])

    build(
        out / "data" / name, kind="foreign", items=read(path, format, root), make=make, roots={name: str(root)},
        settings={"file": path.name, "format": format, "sha256": sha256_file(path)},
    )  # fmt: skip
    return Dataset(out / "data" / name, roots)
