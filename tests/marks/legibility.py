"""Can the numbers still be read when a model sees them? A template matcher tries, on the picture as the model gets it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from visift.core.types import TaggedPicture
from visift.marks.draw import Look, glyph, looks_for

EDGE = 1  # pixels of the shrunk picture around a glyph that are compared too


def read_numbers(image: Image.Image, tagged: TaggedPicture, model_px: int, seen_px: int | None = None) -> list[int]:
    """What the matcher reads at each mark of the tagged RGB picture, shrunk so that its longest side is `seen_px`.

    `model_px` is what the numbers were drawn for; `seen_px` (default the same) what the reader gets. At the known place
    of each mark, every number 1..max(N, 24) is rendered as it would have been drawn, shrunk alike, and compared by
    normalised correlation; the best one counts. A mark read right is one whose pixels say its number.
    """
    seen_px = seen_px or model_px
    looks = looks_for(tagged.style, tagged.height, tagged.width, model_px)
    scale = min(1.0, seen_px / max(image.size))
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    candidates = range(1, max(len(tagged.marks), 24) + 1)
    read = []
    for mark in tagged.marks:
        # the manifest tells the box, and with it the size of the digits
        look = next(look for look in looks if glyph(look, mark.number).size == mark.glyph[2:])
        scores = {n: _score(image, small, look, n, mark.glyph) for n in candidates}
        read.append(max(scores, key=lambda n: scores[n]))
    return read


def _score(image: Image.Image, small: Image.Image, look: Look, number: int, box: tuple[int, int, int, int]) -> float:
    """Normalised correlation, -1..1, of the shrunk picture with the shrunk rendering of `number` centred on `box`."""
    sprite = glyph(look, number)
    left, top = box[0] + box[2] // 2 - sprite.width // 2, box[1] + box[3] // 2 - sprite.height // 2
    across, down = small.width / image.width, small.height / image.height
    x0, y0 = max(0, int(left * across) - EDGE), max(0, int(top * down) - EDGE)
    x1 = min(small.width, int((left + sprite.width) * across) + 1 + EDGE)
    y1 = min(small.height, int((top + sprite.height) * down) + 1 + EDGE)
    window = (x0 / across, y0 / down, x1 / across, y1 / down)
    near = (int(window[0]) - 8, int(window[1]) - 8)
    patch = Image.new("RGB", (int(window[2]) + 8 - near[0], int(window[3]) + 8 - near[1]), (128, 128, 128))
    patch.paste(sprite, (left - near[0], top - near[1]), sprite.getchannel("A"))
    shift = (window[0] - near[0], window[1] - near[1], window[2] - near[0], window[3] - near[1])
    template = patch.convert("L").resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=shift)
    return _correlation(np.asarray(template, float), np.asarray(small.crop((x0, y0, x1, y1)).convert("L"), float))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0
