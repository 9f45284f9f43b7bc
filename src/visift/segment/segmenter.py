"""What every segmenter offers, and which there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from PIL import Image

from visift.core.errors import UsageError
from visift.core.rle import RLE

SEGMENTERS = {  # name -> module:class; each takes `weights`, None = its default, and what of `ASKED` is given
    "sam2-onnx": "visift.segment.sam2_onnx:Sam2Onnx",
    "sam": "visift.segment.sam:Sam",
    "sam2": "visift.segment.sam:Sam2",
    "panoptic": "visift.segment.panoptic:Panoptic",
}


ASKED = {"points": (1, 256), "min_iou": (0, 1), "min_stability": (0, 1)}  # fields of everything.Settings -> their range


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


def segmenter_from(name: str, weights: str | None = None, **asked: float | None) -> Segmenter:
    """`weights` is a folder, or a hub id for the models of transformers; `asked` as in `ASKED`, None = the default.

    Raises UsageError for an unknown name and for what is out of its range.
    """
    if name not in SEGMENTERS:
        raise UsageError(f"segmenter {name!r} is not one of {', '.join(SEGMENTERS)}")
    given = {option: value for option, value in asked.items() if value is not None}
    for option, value in given.items():
        low, high = ASKED[option]
        if not low <= value <= high:
            raise UsageError(f"{flag(option)} {value}: {low} to {high} are possible")
    module, _, kind = SEGMENTERS[name].partition(":")
    found: Segmenter = getattr(import_module(module), kind)(weights, **given)
    return found


def flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
