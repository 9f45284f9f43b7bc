"""LLaVA-NeXT and LLaVA-OneVision: a picture is a base view and a grid of tiles, its padding cut off, a newline a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

from visift.models.families.family import Family, Pixels


class LlavaNext(Family):
    sized: ClassVar[bool] = True
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        **Family.parts,
        "projector": ("model.multi_modal_projector.", "model.image_newline"),
    }

    def setup(self, model: Any) -> None:
        vision = self.config.vision_config
        self.side = vision.image_size // vision.patch_size  # of a tile, in tokens
        self.base = self.side**2 + (self.config.vision_feature_select_strategy == "full")
        self.tile = vision.image_size  # pixels

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens (rows, columns) of the tiled view once the model has cut its padding off."""
        rows, columns = get_anyres_image_grid_shape((height, width), self.config.image_grid_pinpoints, self.tile)
        view = torch.empty(1, rows * self.side, columns * self.side, device="meta")
        return tuple(unpad_image(view, (height, width)).shape[1:])

    def slot(self, width: int, height: int, count: int) -> list[int]:
        rows, columns = self.grid(height, width)
        return [self.image_id] * (self.base + rows * (columns + 1))

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        made = self.image_processor([picture], return_tensors="pt")
        return {
            "pixel_values": made["pixel_values"][0],
            "image_sizes": made["image_sizes"][0],
        }  # (tiles, 3, S, S), (2,)

    def visual(self, pixels: Pixels) -> int:
        height, width = pixels["image_sizes"].tolist()
        return len(self.slot(width, height, 1))

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        flat = [p for row in rows for p in row]
        if not flat:
            return {}
        most = max(len(p["pixel_values"]) for p in flat)
        tiles = torch.zeros(
            len(flat), most, *flat[0]["pixel_values"].shape[1:], dtype=dtype
        )  # (pictures, tiles, 3, S, S)
        for k, p in enumerate(flat):
            tiles[k, : len(p["pixel_values"])] = p["pixel_values"]
        return {"pixel_values": tiles, "image_sizes": torch.stack([p["image_sizes"] for p in flat])}


class LlavaOnevision(LlavaNext):
    """As LLaVA-NeXT, but large grids are scaled down, and several pictures in a conversation get the base view only."""

    def setup(self, model: Any) -> None:
        super().setup(model)
        self.base = self.side**2
        self.most = int(self.config.vision_aspect_ratio.removeprefix("anyres_max_"))  # tiles' worth of tokens

    def grid(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = super().grid(height, width)
        ratio = math.sqrt(rows * columns / (self.most * self.side**2))
        return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)

    def slot(self, width: int, height: int, count: int) -> list[int]:
        return super().slot(width, height, count) if count == 1 else [self.image_id] * (self.base + 1)

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        made = self.image_processor([[picture] * min(count, 2)], return_tensors="pt")
        tiles = made["pixel_values"][0] if count == 1 else made["pixel_values"][0][:1]
        return {"pixel_values": tiles, "image_sizes": made["image_sizes"][0]}

    def visual(self, pixels: Pixels) -> int:
        return super().visual(pixels) if len(pixels["pixel_values"]) > 1 else self.base + 1

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        made = super().batch(rows, dtype)
        if not made:
            return {}
        # the model tiles pictures of groups of one: say of each picture which kind it is
        alone = [len(p["pixel_values"]) > 1 for row in rows for p in row]
        counts: list[int] = []
        for k, single in enumerate(alone):
            if single or not k or alone[k - 1]:
                counts.append(1 if single else 0)
            counts[-1] += not single
        return made | {"batch_num_images": torch.tensor(counts)}
