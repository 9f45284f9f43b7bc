"""How much a model attends to each region of a picture (papers.md B.1.1): what it ignores is what difference pairs edit.

The map of a picture is the model's attention over its patches while it reads "Describe the picture.":
* a model with a Q-Former: its cross-attention, averaged over heads, queries and all cross-attention layers, as in the paper;
* a model with a projector: the attention of the text after the picture, averaged over heads, tokens and the middle third of
  the blocks, where pictures are read (below everything attends everywhere, above to whatever is a sink).
A region's significance is the mean of the map inside its mask, each patch weighing as much as the mask covers of it, over the
mean of the whole map: 1 is as much as the picture gets on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from visift.core.errors import DataError
from visift.core.types import Conversation, Picture, Provenance, Region, Scene, assistant, user
from visift.models.image_attention import Array, PatchGrid, query_attention, text_attention
from visift.models.load import Vlm, fingerprint, load
from visift.models.render import Renderer
from visift.sources.source import Wrapping

PROMPT = "Describe the picture."
LEAST_COVER = 0.05  # patches, in all: a region that the model's view holds less of has no significance


@dataclass
class Diagnosed(Wrapping):
    """The scenes of `source`, each region with its significance to `model`, a folder or hub id. Picklable without the model."""

    model: str
    diagnosed: ClassVar[bool] = True
    _vlm: Vlm | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_vlm": None}

    def describe(self) -> dict[str, Any]:
        return {**self.source.describe(), "significance": fingerprint(self.model)}

    def __iter__(self) -> Iterator[Scene]:
        if self._vlm is None:
            self._vlm = load(self.model)
            self._vlm.model.set_attn_implementation("eager")  # the others keep no weights
            self._vlm.model.to("cuda" if torch.cuda.is_available() else "cpu")
        for scene in self.source:
            try:
                picture = self.source.open(scene)
            except DataError:  # whoever makes something of the scene will say so
                yield scene
                continue
            yield replace(scene, regions=significances(self._vlm, scene, picture))


def significances(vlm: Vlm, scene: Scene, picture: Image.Image) -> tuple[Region, ...]:
    """The scene's regions with their significance; None for one that is malformed or outside the model's view."""
    weights = attention_map(vlm, picture)  # (patches,)
    grid = PatchGrid(vlm.family, picture.width, picture.height)

    def diagnosed(region: Region) -> Region:
        try:
            cover = grid.cover(region.mask(scene.height, scene.width))  # (patches,)
        except DataError:
            return region
        return replace(
            region, significance=float(cover @ weights / cover.sum()) if cover.sum() >= LEAST_COVER else None
        )

    return tuple(diagnosed(region) for region in scene.regions)


def attention_map(vlm: Vlm, picture: Image.Image) -> Array:
    """The model's attention over the patches of a picture, mean 1, float (patches,). Attention must be eager."""
    shown = Picture("", width=picture.width, height=picture.height)
    asked = Conversation("", (shown,), (user(0, PROMPT), assistant("")), Provenance("significance"))
    row = Renderer(vlm).prompt(asked)
    pixels = [vlm.family.with_words(vlm.family.pixels(picture), PROMPT)]
    if hasattr(vlm.model, "qformer"):
        found = query_attention(vlm, row.input_ids, pixels)  # (queries, layers, patches)
    else:
        after = max(k for k, i in enumerate(row.input_ids) if i == vlm.family.image_id) + 1
        found = text_attention(
            vlm, row.input_ids, pixels, range(after, len(row.input_ids))
        )  # (tokens, layers, patches)
        found = found[:, middle_third(found.shape[1])]
    weights: Array = found.mean((0, 1), dtype=np.float64)
    return weights / weights.mean()


def middle_third(layers: int) -> slice:
    """Of 32 blocks those from 10 to 21, of 6 the two in the middle."""
    return slice(layers // 3, layers - layers // 3)
