"""Pictures as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from visift.core.errors import DataError

LARGEST = 120_000  # bytes; what is larger is encoded again, smaller
SIDE = 640  # pixels, longest side after that
PIXELS = 50_000_000  # more are not decoded
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}  # nothing that can hold a script


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
    from PIL import Image

    try:
        with Image.open(io.BytesIO(raw)) as image:
            if image.width * image.height > PIXELS:
                raise DataError(f"has more than {PIXELS:,} pixels", where=path)
            rgb = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise DataError(f"is no picture ({e})", where=path) from e
    rgb.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    rgb.save(out, "JPEG", quality=85)
    return out.getvalue()
