"""SAM and SAM 2 through transformers: a local folder or a hub id, without torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from visift.segment.everything import CPU_POINTS, GPU_POINTS, Prepared, Settings, everything
from visift.segment.pretrained import Pretrained, device
from visift.segment.sam2_onnx import stretched
from visift.segment.segmenter import Found


class Sam:
    """SAM. Its input keeps the picture's shape: what the picture leaves free is padding."""

    named = False
    name, kind, default = "sam", "SamModel", "facebook/sam-vit-base"

    def __init__(self, weights: str | None, **asked: Any) -> None:
        self.settings = Settings(**{"points": GPU_POINTS if device() == "cuda" else CPU_POINTS, **asked})
        self._pretrained = Pretrained(self.kind, weights or self.default)

    def describe(self) -> dict[str, Any]:
        return {"segmenter": self.name, **self._pretrained.describe(), **self.settings.describe()}

    def __call__(self, image: Image.Image) -> list[Found]:
        return everything(self, image, self.settings)

    def prepare(self, image: Image.Image) -> Prepared:
        side = self._side()
        inputs = self._pretrained.processor()(images=image, return_tensors="pt")
        high, wide = (int(v) for v in inputs["reshaped_input_sizes"][0])
        return Prepared(self._embed(inputs["pixel_values"]), (wide / side, high / side))

    def masks(self, prepared: Prepared, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        model = self._pretrained.model()
        asked = torch.from_numpy((points * self._side()).astype(np.float32)).to(model.device)
        with torch.inference_mode():
            out = model(
                image_embeddings=prepared.features,
                input_points=asked[None, :, None],  # (1, n, 1, 2)
                input_labels=torch.ones(1, len(points), 1, dtype=torch.long, device=model.device),
                multimask_output=True,
            )
        # (1, n, 3, h, w) and (1, n, 3)
        return out.pred_masks[0].float().cpu().numpy(), out.iou_scores[0].float().cpu().numpy()

    def _embed(self, pixels: Any) -> Any:
        import torch

        model = self._pretrained.model()
        with torch.inference_mode():
            return model.get_image_embeddings(pixels.to(model.device))

    def _side(self) -> int:
        """Pixels of the model's square input."""
        return int(self._pretrained.model().config.prompt_encoder_config.image_size)


class Sam2(Sam):
    """SAM 2. Its input is the picture, stretched to a square; transformers has no processor for it without torchvision."""

    name, kind, default = "sam2", "Sam2Model", "facebook/sam2-hiera-tiny"

    def prepare(self, image: Image.Image) -> Prepared:
        import torch

        return Prepared(self._embed(torch.from_numpy(stretched(image, self._side()))))
