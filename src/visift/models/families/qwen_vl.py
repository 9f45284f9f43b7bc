"""Qwen2.5-VL and Qwen3-VL: a picture keeps its shape and becomes as many tokens as it has 2 x 2 groups of patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image

from visift.models.families.family import Family, Pixels


class QwenVl(Family):
    sized: ClassVar[bool] = True
    picture_text: ClassVar[str] = "<|vision_start|><|image_pad|><|vision_end|>"
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "vision": ("model.visual.",),
        "projector": ("model.visual.merger.", "model.visual.deepstack_merger_list."),
        "llm": ("model.language_model.", "lm_head."),
    }

    def setup(self, model: Any) -> None:
        self.merge = self.image_processor.merge_size**2
        self.rope_index = model.model.get_rope_index

    def slot(self, width: int, height: int, count: int) -> list[int]:
        return [self.image_id] * (self.image_processor.get_number_of_image_patches(height, width) // self.merge)

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        made = self.image_processor([picture], return_tensors="pt")
        return {"pixel_values": made["pixel_values"], "grid": made["image_grid_thw"][0]}  # (patches, values), (3,)

    def visual(self, pixels: Pixels) -> int:
        return int(pixels["grid"].prod()) // self.merge

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        flat = [p for row in rows for p in row]
        if not flat:
            return {}
        values = torch.cat([p["pixel_values"] for p in flat]).to(dtype)
        return {"pixel_values": values, "image_grid_thw": torch.stack([p["grid"] for p in flat])}

    def positions(self, ids: Sequence[int], pixels: Sequence[Pixels]) -> torch.Tensor | None:
        """Time, height and width: (3, T)."""
        row = torch.tensor([list(ids)])
        grids = torch.stack([p["grid"] for p in pixels]) if pixels else None
        found, _ = self.rope_index(row, **self.extra(row), image_grid_thw=grids, attention_mask=torch.ones_like(row))
        return found[:, 0]

    def extra(self, input_ids: torch.Tensor, first_learnt: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"mm_token_type_ids": (input_ids == self.image_id).long()}
