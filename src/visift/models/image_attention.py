"""Where a model looks on a picture: which patch shows which part of it, and how much attention each patch gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from visift.core.errors import UsageError
from visift.models.families.blip2 import Blip2
from visift.models.families.family import Family, Pixels
from visift.models.load import Vlm

SHOWS = 0.8  # of a patch must be picture, not padding, for it to have a place
Array = np.ndarray


class PatchGrid:
    """The patches, row by row, of a model that reads a picture of that size (pixels) as one square grid.

    What a patch shows is found by giving the image processor pictures that are known: whatever it crops, pads or stretches is
    followed. Raises UsageError for a model that cuts pictures into tiles or into grids of their own shape.
    """

    def __init__(self, family: Family, width: int, height: int) -> None:
        self.family, self.size = family, (width, height)
        self.side = _side(family)
        self.black = self._seen(Image.new("RGB", self.size))  # (3, H, W)
        self.gain = self._seen(Image.new("RGB", self.size, (255, 255, 255))) - self.black  # 0 where there is padding
        self.shown = self._pooled(self.gain[:1] != 0)[:, 0]  # (patches,): share that is picture

    def means(self, picture: Image.Image) -> Array:
        """Mean of each channel in each patch, 0..1, float (patches, 3); padding counts as black."""
        there = self.gain != 0
        scaled = np.divide(self._seen(picture) - self.black, self.gain, out=np.zeros_like(self.black), where=there)
        return self._pooled(scaled.clip(0, 1))

    def cover(self, mask: Array) -> Array:
        """How much of each patch a mask, bool (height, width), covers: 0..1, float (patches,)."""
        return self.means(Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB"))[:, 0]

    def centres(self) -> Array:
        """x and y of each patch's middle in pixels of the picture, (patches, 2); NaN for patches that show mostly padding."""
        width, height = self.size
        x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
        colours = np.stack([x * 255, y * 255, np.zeros_like(x)], axis=-1).round().astype(np.uint8)
        found = self.means(Image.fromarray(colours))[:, :2] / np.maximum(self.shown, 1e-9)[:, None]
        found[self.shown < SHOWS] = np.nan
        return found * self.size

    def _seen(self, picture: Image.Image) -> Array:
        return self.family.pixels(picture)["pixel_values"].numpy().astype(np.float64)

    def _pooled(self, values: Array) -> Array:
        """(C, H, W) -> (patches, C)."""
        rows, columns = (np.array_split(np.arange(n), self.side) for n in values.shape[1:])
        return np.array([values[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean((1, 2)) for r in rows for c in columns])


def _side(family: Family) -> int:
    if isinstance(family, Blip2):
        return family.side // int(family.config.vision_config.patch_size)
    side = round(family.tokens**0.5) if type(family).pixels is Family.pixels else 0
    if side == 0 or side * side != family.tokens:
        raise UsageError(
            f"{type(family).__name__} does not read a picture as one grid of patches", remedy="take a LLaVA-like model"
        )
    return side


@torch.inference_mode()
def text_attention(vlm: Vlm, ids: Sequence[int], pixels: Sequence[Pixels], places: Sequence[int]) -> Array:
    """Attention of the tokens at `places` to each visual token of the first picture, heads averaged: (places, layers, patches).

    The model must attend in a way that keeps its weights: `vlm.model.set_attn_implementation("eager")`. Raises UsageError for a
    model whose visual tokens are queries.
    """
    if isinstance(vlm.family, Blip2):
        raise UsageError("the visual tokens are queries, not patches", where=vlm.path, remedy="take a LLaVA-like model")
    row = torch.tensor([list(ids)])
    out = vlm.model(**_inputs(vlm, row, pixels), output_attentions=True, use_cache=False)
    image = (row[0] == vlm.family.image_id).nonzero()[: vlm.family.tokens, 0]
    kept = [a[0].float().mean(0).cpu()[list(places)][:, image] for a in out.attentions]
    return np.asarray(torch.stack(kept, 1))


@torch.inference_mode()
def query_attention(vlm: Vlm, ids: Sequence[int], pixels: Sequence[Pixels]) -> Array:
    """Cross-attention of a Q-Former's queries to the patches of the first picture, heads averaged, without the vision tower's
    class token: (queries, cross-attention layers, patches). Eager attention, as for `text_attention`."""
    kept: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda m, a, out: kept.append(out[1][0, :, :, 1:].float().mean(0).cpu()))
        for name, module in vlm.model.qformer.named_modules()
        if name.endswith("crossattention.attention")
    ]
    try:
        vlm.model(**_inputs(vlm, torch.tensor([list(ids)]), pixels), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return np.asarray(torch.stack(kept, 1))


def _inputs(vlm: Vlm, row: torch.Tensor, pixels: Sequence[Pixels]) -> dict[str, Any]:
    made = {"input_ids": row, **vlm.family.batch([pixels], vlm.model.dtype), **vlm.family.extra(row)}
    return {k: v.to(vlm.model.device) for k, v in made.items()}
