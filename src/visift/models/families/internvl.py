"""InternVL: a picture is a canvas of square tiles and a thumbnail, between a start and an end token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image

from visift.models.families.family import Family, Pixels


class InternVl(Family):
    sized: ClassVar[bool] = True

    def setup(self, model: Any) -> None:
        vision = self.config.vision_config
        size, patch = ((v[0] if isinstance(v, (list, tuple)) else v) for v in (vision.image_size, vision.patch_size))
        self.tokens = int((size // patch) ** 2 * self.config.downsample_ratio**2)  # of a tile
        names = [getattr(self.tokenizer, f"{k}_image_token", None) for k in ("start", "end")]
        self.edges = self.tokenizer.convert_tokens_to_ids([names[0] or "<img>", names[1] or "</img>"])

    def _slot(self, tiles: int) -> list[int]:
        return [self.edges[0], *[self.image_id] * (self.tokens * tiles), self.edges[1]]

    @property
    def picture_text(self) -> str:  # type: ignore[override]
        return self.marker + "\n"

    def slot(self, width: int, height: int, count: int) -> list[int]:
        return self._slot(self.image_processor.get_number_of_image_patches(height, width, {"crop_to_patches": True}))

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        made = self.image_processor([picture], return_tensors="pt", crop_to_patches=True)
        return {"pixel_values": made["pixel_values"]}  # (tiles, 3, S, S)

    def visual(self, pixels: Pixels) -> int:
        return len(self._slot(len(pixels["pixel_values"])))

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        flat = [p["pixel_values"] for row in rows for p in row]
        return {"pixel_values": torch.cat(flat).to(dtype)} if flat else {}
