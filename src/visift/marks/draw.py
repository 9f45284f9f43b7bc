"""How a number looks: the two styles, their sizes, and putting them on a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from PIL import Image, ImageDraw, ImageFont

from visift.core.errors import UsageError

Style = Literal["clear", "paper"]
STYLES: tuple[str, ...] = get_args(Style)
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

# pixels a digit is high in what the model sees; the smaller ones where it would hide things
CLEAR_DIGITS = (12.5, 9.5, 7.5)
SMALLEST_DIGIT = 12  # pixels on the drawn picture, however small that is; the smaller ones in proportion
CLEAR_PAD = 0.1  # of the digit's height, on every side; at least 1 pixel
OVERSIZE = 8  # digits are drawn this many times larger, then averaged down
BOLD = 0.05  # of the digit's height: stroke added on every side

PAPER_FONT = 25  # pixels: 18 pt at 100 dpi, on a picture whose shorter side is 640 (papers.md A.1.2)
PAPER_SHORT_SIDE = 640
PAPER_OPACITY = 0.8
PAPER_SHIFT = (2, -6)  # pixels from the peak to the middle of the text's upper edge


@dataclass(frozen=True, slots=True)
class Look:
    """A style made for one picture. `size` in pixels: the digits' height (`clear`) or the font's size (`paper`)."""

    style: str
    size: int


def looks_for(style: str, height: int, width: int, model_px: int) -> tuple[Look, ...]:
    """What a number may look like, the usual one first.

    `clear` is sized by what a model sees that shrinks the longest side to `model_px`; `paper` by the picture alone, and
    always the same.
    """
    if style == "clear":
        scale = max(max(height, width) / model_px, SMALLEST_DIGIT / CLEAR_DIGITS[0])
        return tuple(Look(style, round(digit * scale)) for digit in CLEAR_DIGITS)
    if style == "paper":
        return (Look(style, max(6, round(PAPER_FONT * min(height, width) / PAPER_SHORT_SIDE))),)
    raise UsageError(f"style {style!r} is not one of {', '.join(STYLES)}")


def glyph_size(look: Look, number: int) -> tuple[int, int]:
    """Width and height of the drawn box in pixels, both odd, so that its centre is a pixel."""
    sprite = glyph(look, number)
    return sprite.size


def put(image: Image.Image, glyphs: Iterable[tuple[Look, int, tuple[int, int]]]) -> Image.Image:
    """A copy of the RGB picture with each (look, number, (x, y) of the box's corner) drawn on it."""
    drawn = image.copy()
    for look, number, corner in glyphs:
        sprite = glyph(look, number)
        drawn.paste(sprite, corner, sprite.getchannel("A"))
    return drawn


@lru_cache(maxsize=4096)
def glyph(look: Look, number: int) -> Image.Image:
    """The number in its box as RGBA; kept, since the same few are drawn over and over."""
    return _clear(look.size, number) if look.style == "clear" else _paper(look.size, number)


def _clear(digit: int, number: int) -> Image.Image:
    """Bold white digits, exactly `digit` pixels high, on a solid black box: contrast 21:1 whatever lies beneath."""
    big = digit * OVERSIZE
    stroke = round(big * BOLD)
    font = _font(round(big * 1.35))
    text = str(number)
    top, bottom = _span(font, "0123456789", stroke)[1::2]
    left, right = _span(font, text, stroke)[::2]
    mask = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font, stroke_width=stroke)
    mask = mask.resize((max(1, round(mask.width * digit / mask.height)), digit), Image.Resampling.BOX)
    pad = max(1, round(digit * CLEAR_PAD))
    width, height = _odd(max(mask.width + 2 * pad, round(digit * 0.75))), _odd(digit + 2 * pad)
    box = Image.new("RGBA", (width, height), (*BLACK, 255))
    box.paste((*WHITE, 255), ((width - mask.width) // 2, (height - digit) // 2), mask)
    return box


def _paper(size: int, number: int) -> Image.Image:
    """White regular digits on a black box of opacity 0.8, with a one-pixel margin."""
    font, text = _font(size), str(number)
    left, top, right, bottom = _span(font, text, 0)
    width, height = _odd(right - left + 2), _odd(bottom - top + 2)
    box = Image.new("RGBA", (width, height), (*BLACK, round(255 * PAPER_OPACITY)))
    mask = Image.new("L", box.size, 0)
    ImageDraw.Draw(mask).text((1 - left, 1 - top), text, fill=255, font=font)
    box.paste((*WHITE, 255), (0, 0), mask)
    return box


def _odd(value: int) -> int:
    return value | 1


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The TrueType font that ships inside Pillow: the same bytes on every machine."""
    return ImageFont.load_default(size)


def _span(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, stroke: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox(
        (0, 0), text, font=font, stroke_width=stroke
    )
    return int(left), int(top), int(right), int(bottom)
