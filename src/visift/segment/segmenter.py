"""What every segmenter offers, and which there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from PIL import Image

from visift.core.errors import UsageError
from visift.core.types import RLE

SEGMENTERS = {  # name -> module:class; each takes `weights` and `points`, None = its default
    "sam2-onnx": "visift.segment.sam2_onnx:Sam2Onnx",
    "sam": "visift.segment.sam:Sam",
    "sam2": "visift.segment.sam:Sam2",
    "panoptic": "visift.segment.panoptic:Panoptic",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A mask of the whole picture, how sure the model is of it (0..1), and what it is (empty = the model does not say)."""

    rle: RLE
    score: float
    category: str = ""


class Segmenter(Protocol):
    """Picklable; weights are loaded when the first picture comes."""

    named: bool  # whether its masks have categories

    def describe(self) -> dict[str, Any]:
        """What decides the masks: name, weights by sha256, settings. JSON."""
        ...

    def __call__(self, image: Image.Image) -> list[Found]:
        """The masks of an RGB picture, surest first."""
        ...


def segmenter_from(name: str, weights: str | None = None, points: int | None = None) -> Segmenter:
    """`weights` is a folder, or a hub id for the models of transformers. Raises UsageError for an unknown name."""
    if name not in SEGMENTERS:
        raise UsageError(f"segmenter {name!r} is not one of {', '.join(SEGMENTERS)}")
    if points is not None and not 1 <= points <= 256:
        raise UsageError(f"--points {points}: 1 to 256 are possible")
    module, _, kind = SEGMENTERS[name].partition(":")
    found: Segmenter = getattr(import_module(module), kind)(weights, points)
    return found
