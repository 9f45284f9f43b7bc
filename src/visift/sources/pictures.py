"""Opening strangers' pictures and writing our own: the one place where pixels meet files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from visift.core.errors import DataError
from visift.core.files import sha256_bytes, write_atomic

MAX_PIXELS = 80_000_000  # checked before decoding; 80 megapixels are 240 MB of RGB
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # none that starts another program
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"})
UNREAD = frozenset({".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".nef", ".arw"})  # pictures of other formats
ORIENTATION = 0x0112  # EXIF: how the camera was held


def open_rgb(
    path: Path, size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS, rough: int = 0
) -> Image.Image:
    """The picture as 8-bit RGB, upright; transparent parts become white.

    `size` (width, height) is what annotations were made for; 0 is unknown. A camera's rotation is not applied where it
    contradicts that size: the annotator's tool then ignored it too. `rough` pixels a side of brightness are enough: JPEG
    is decoded smaller and grey then.

    Raises DataError: missing, no picture, more than `max_pixels` (before decoding), truncated, of another size.
    """
    if size is not None and not all(size):
        size = None
    if not path.is_file():
        raise DataError("picture is missing", where=path, remedy="check the picture folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; ours follows
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise DataError(
                        f"picture has {image.width}x{image.height} pixels, more than {max_pixels}", where=path
                    )
                if rough:
                    image.draft("L", (rough, rough))
                image.load()
                rotate = size is None or image.size != size or upright_size(image) == size
                if rotate:
                    ImageOps.exif_transpose(image, in_place=True)
                rgb = _to_rgb(image)
    except UnidentifiedImageError as e:
        raise DataError("is not a picture of a known format", where=path) from e
    except DataError:
        raise
    except Exception as e:  # a decoder fed with broken bytes may raise anything
        raise DataError(f"picture cannot be decoded ({type(e).__name__})", where=path) from e
    if size is not None and rgb.size != size:
        raise DataError(
            f"picture is {rgb.width}x{rgb.height}, its annotations are for {size[0]}x{size[1]}", where=path,
            remedy="do the annotations belong to this folder?",
        )  # fmt: skip
    return rgb


def is_rotated(path: Path) -> bool:
    """Whether the file asks for a rotation that some readers apply and others do not."""
    with Image.open(path, formats=FORMATS) as image:
        return image.getexif().get(ORIENTATION, 1) != 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height after the camera's rotation."""
    turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey, 32-bit grey, float
        return _deep_grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8: 16-bit values lose their low byte, floats of 0..1 are stretched to 0..255."""
    import numpy as np

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    top = values.max(initial=0)
    factor = 255.0 if image.mode == "F" and top <= 1 else 1 / 256 if top > 255 else 1.0
    return Image.fromarray(np.clip(values * factor, 0, 255).astype(np.uint8))


def jpeg_bytes(image: Image.Image) -> bytes:
    """JPEG, quality 95, 4:4:4: colour is not halved, so thin digits keep their edges."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def write_jpeg(image: Image.Image, path: Path) -> str:
    """Write the picture atomically and return the sha256 of its bytes."""
    data = jpeg_bytes(image)
    write_atomic(path, data)
    return sha256_bytes(data)
