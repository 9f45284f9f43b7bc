"""Masks on disk, one small JSON file a picture and settings: a segmenter is asked once, whatever is made of its masks."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from visift.core.errors import DataError
from visift.core.files import canonical_json, read_json, sha256_bytes, sha256_json, write_atomic
from visift.segment.segmenter import Found, Segmenter

VERSION = 1  # of what this room makes of a model's output


def default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visift" / "masks"


class MaskCache:
    """Files are named by the sha256 of the picture's pixels and of what decides the masks. Safe for many processes."""

    def __init__(self, folder: Path, segmenter: Segmenter) -> None:
        self.folder, self.segmenter = folder, segmenter
        self._settings = {"version": VERSION, **segmenter.describe()}
        self._one_at_a_time = threading.Lock()  # threads that ask a teacher share one model

    def __getstate__(self) -> tuple[Path, Segmenter]:
        return self.folder, self.segmenter

    def __setstate__(self, state: tuple[Path, Segmenter]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def masks(self, image: Image.Image) -> list[Found]:
        """Of an RGB picture: from the file, or from the segmenter. A file that is no list of masks counts as absent."""
        key = sha256_json({**self._settings, "size": image.size, "pixels": sha256_bytes(image.tobytes())})
        path = self.folder / key[:2] / f"{key}.json"
        kept = _read(path) if path.is_file() else None
        if kept is None:
            with self._one_at_a_time:
                kept = self.segmenter(image)
            rows = [{"category": f.category, "rle": f.rle, "score": f.score} for f in kept]
            write_atomic(path, canonical_json({"masks": rows, "settings": self._settings}) + "\n")
        return kept


def _read(path: Path) -> list[Found] | None:
    try:
        content: Any = read_json(path)
        return [Found(row["rle"], float(row["score"]), str(row["category"])) for row in content["masks"]]
    except (DataError, KeyError, TypeError, ValueError):
        return None
