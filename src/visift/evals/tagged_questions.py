"""Numbers on the pictures of a question set: the same questions, asked of tagged pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.types import Conversation, Picture
from visift.sources.chosen import Chosen
from visift.sources.source import Source, outlines

ROOT = "tags"  # the image root of the drawn pictures


def folder_of(dataset: Dataset) -> Path:
    """The one folder that all pictures of the questions lie in. Raises DataError when there are several."""
    found = {dataset.picture_path(p).parent for c in dataset for p in c.images}
    if len(found) != 1:
        raise DataError(
            f"its pictures lie in {len(found)} folders, annotations are for one", where=dataset.path,
            remedy="tag them with `visift mark`, and name its folder",
        )  # fmt: skip
    return found.pop()


def draw(dataset: Dataset, source: Source, out: Path) -> dict[str, Any]:
    """Tag the questions' pictures that `source` knows, as `visift mark` does, at `out`; returns the card."""
    from visift.synth.frame import synthesise

    asked = {_name(p.path) for c in dataset for p in c.images}
    known = [_name(s.path) for s in outlines(source) if _name(s.path) in asked]
    if not known:
        raise DataError("none of the questions' pictures is in the source of tags", where=dataset.path)
    return synthesise("mark", Chosen(source, tuple(known)), out)


def tagged(drawn: Path) -> Callable[[Conversation], Conversation]:
    """What puts the drawn pictures of that folder in place of a conversation's own, by file name; those it lacks stay untagged."""
    manifest = {_name(t.source): t for t in Dataset(drawn).tagged()}

    def swap(picture: Picture) -> Picture:
        found = manifest.get(_name(picture.path))
        return (
            Picture(f"{ROOT}:{found.image}", found.sha256, width=found.width, height=found.height) if found else picture
        )

    return lambda c: c.with_images(tuple(map(swap, c.images)))


def _name(path: str) -> str:
    return PurePosixPath(path.rpartition(":")[2]).name
