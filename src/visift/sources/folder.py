"""A plain folder of pictures: scenes without regions, in the order of their paths."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from visift.core.errors import DataError
from visift.core.files import sha256_bytes, under
from visift.core.types import Scene
from visift.sources.pictures import FORMATS, SUFFIXES, UNREAD, open_rgb, upright_size


@dataclass
class FolderSource:
    """Every picture under `images`, recursively; pictures of formats that are not read are counted on stderr.

    Raises DataError when the folder is missing, holds no picture, or one whose name is not UTF-8.
    """

    images: Path
    root: str = "images"
    _paths: list[str] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.images = Path(self.images)
        if not self.images.is_dir():
            raise DataError("is no folder of pictures", where=self.images, remedy="check --images")

    def __getstate__(self) -> dict[str, Any]:  # workers only open pictures
        return {"images": self.images, "root": self.root, "_paths": None}

    @property
    def paths(self) -> list[str]:
        """Relative paths, sorted."""
        if self._paths is None:
            files = [p for p in self.images.rglob("*") if p.suffix.lower() in SUFFIXES | UNREAD and p.is_file()]
            if passed := Counter(s for p in files if (s := p.suffix.lower()) in UNREAD):
                print(
                    f"{self.images}: pictures passed over, as their format is not read: {passed.total()} "
                    f"({', '.join(sorted(passed))}). convert them to JPEG",
                    file=sys.stderr,
                )
            paths = sorted(p.relative_to(self.images).as_posix() for p in files if p.suffix.lower() in SUFFIXES)
            for path in paths:
                if not _is_text(path):
                    raise DataError(f"the file name {path!r} is not UTF-8", where=self.images, remedy="rename it")
            if not paths:
                raise DataError("holds no picture", where=self.images, remedy="check --images")
            self._paths = paths
        return self._paths

    @property
    def roots(self) -> dict[str, str]:
        return {self.root: str(self.images.resolve())}

    def describe(self) -> dict[str, Any]:
        return {
            "source": "folder",
            "pictures": len(self.paths),
            "names_sha256": sha256_bytes("\n".join(self.paths).encode()),
        }

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Scene]:
        """A picture whose header cannot be read has width and height 0; opening it raises the reason."""
        for path in self.paths:
            width, height = _size(self.images / path)
            yield Scene(f"folder:{path}", self.root, path, width, height)

    def open(self, scene: Scene) -> Image.Image:
        return open_rgb(under(self.images, scene.path))


def _is_text(path: str) -> bool:
    """False where bytes of the name could not be decoded."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(path: Path) -> tuple[int, int]:
    """Width and height after the camera's rotation, from the header; (0, 0) when there is no readable one."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return upright_size(image)
    except Exception:  # broken headers raise anything; `open` tells the reason where it is counted
        return (0, 0)
