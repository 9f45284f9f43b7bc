"""Idefics3 and SmolVLM: a picture is a grid of tiles, each named by row and column, and a global view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image

from visift.models.families.family import Family, Pixels

FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"


class Idefics3(Family):
    sized: ClassVar[bool] = True
    picture_text: ClassVar[str] = "<image>"
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "vision": ("model.vision_model.",),
        "projector": ("model.connector.",),
        "llm": ("model.text_model.", "lm_head."),
    }

    def setup(self, model: Any) -> None:
        vision = self.config.vision_config
        self.tokens = (vision.image_size // vision.patch_size) ** 2 // self.config.scale_factor**2  # of a tile

    def _slot(self, rows: int, columns: int) -> list[int]:
        image = self.marker * self.tokens
        text = ""
        for r in range(rows):
            text += "".join(f"{FAKE}<row_{r + 1}_col_{c + 1}>{image}" for c in range(columns)) + "\n"
        text += f"{'' if rows == 0 else chr(10)}{FAKE}{GLOBAL}{image}{FAKE}"
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def slot(self, width: int, height: int, count: int) -> list[int]:
        _, rows, columns = self.image_processor.get_number_of_image_patches(height, width)
        return self._slot(rows, columns)

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        made = self.image_processor([[picture]], return_tensors="pt", return_row_col_info=True)
        grid = torch.tensor([made["rows"][0][0], made["cols"][0][0]])
        return {"pixel_values": made["pixel_values"][0], "mask": made["pixel_attention_mask"][0], "grid": grid}

    def visual(self, pixels: Pixels) -> int:
        return len(self._slot(*pixels["grid"].tolist()))

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """pixel_values (B, tiles, 3, H, W), all-zero tiles being padding that the model drops, and their pixel mask."""
        flat = [p["pixel_values"] for row in rows for p in row]
        if not flat:
            return {}
        most = max(sum(len(p["pixel_values"]) for p in row) for row in rows)
        height, width = (max(p.shape[d] for p in flat) for d in (-2, -1))
        values = torch.zeros(len(rows), most, 3, height, width, dtype=dtype)
        mask = torch.zeros(len(rows), most, height, width, dtype=torch.long)
        for k, row in enumerate(rows):
            at = 0
            for p in row:
                n, _, h, w = p["pixel_values"].shape
                values[k, at : at + n, :, :h, :w] = p["pixel_values"]
                mask[k, at : at + n, :h, :w] = p["mask"]
                at += n
        return {"pixel_values": values, "pixel_attention_mask": mask}
