"""Pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.files import under
from visift.core.types import Picture

LARGEST = 120_000  # bytes; what is larger is encoded again, smaller
SIDE = 640  # pixels, longest side after that
PIXELS = 50_000_000  # more are not decoded
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}  # nothing that can hold a script


class Album:
    """The pictures that questions name: those of their dataset, else those in a folder, under the whole path or the bare name."""

    def __init__(self, dataset: Dataset | None, folder: Path | None = None) -> None:
        self.dataset, self.folder = dataset, folder

    def uri(self, name: str) -> str:
        """The picture as data; empty where it is not at hand. Raises DataError for what is no picture."""
        return next((data_uri(path) for path in self._paths(name) if path.is_file()), "")

    def _paths(self, name: str) -> Iterator[Path]:
        root, _, rest = name.rpartition(":")
        if self.dataset is not None and (not root or root in self.dataset.roots):
            yield self.dataset.picture_path(Picture(name))
        if self.folder is not None:
            yield from (under(self.folder, rest), under(self.folder, Path(rest).name))


def data_uri(path: Path) -> str:
    """The picture file as `data:image/…;base64,…`: its own bytes where they are few, else a smaller JPEG.

    Raises DataError when it cannot be read as a picture.
    """
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise DataError(f"cannot be read ({e.strerror})", where=path, remedy="is the run folder whole?") from e
    mime = next((name for magic, name in MAGIC.items() if raw.startswith(magic)), "")
    if not mime or len(raw) > LARGEST:
        raw, mime = _smaller(path, raw), "image/jpeg"
    return f"data:{mime};base64,{base64.b64encode(raw).decode()}"


def _smaller(path: Path, raw: bytes) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(raw)) as image:
            if image.width * image.height > PIXELS:
                raise DataError(f"has more than {PIXELS:,} pixels", where=path)
            rgb = ImageOps.exif_transpose(image).convert("RGB")  # as a browser shows the file itself
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise DataError(f"is no picture ({e})", where=path) from e
    rgb.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    rgb.save(out, "JPEG", quality=85)
    return out.getvalue()
