"""A panoptic model through transformers: every pixel at most once, and every mask with a name."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from visift.core.errors import UsageError
from visift.core.rle import encode_rle
from visift.segment.pretrained import Pretrained
from visift.segment.segmenter import Found, flag


class Panoptic:
    """Mask2Former, MaskFormer, EoMT and their like. `threshold` is the least certainty of a mask, 0..1."""

    named = True

    def __init__(self, weights: str | None, threshold: float = 0.5, **asked: Any) -> None:
        if asked:
            raise UsageError("panoptic is not asked about points", remedy=f"leave {', '.join(map(flag, asked))} out")
        self.threshold = threshold
        self._pretrained = Pretrained(
            "AutoModelForUniversalSegmentation", weights or "facebook/mask2former-swin-tiny-coco-panoptic"
        )

    def describe(self) -> dict[str, Any]:
        return {"segmenter": "panoptic", **self._pretrained.describe(), "threshold": self.threshold}

    def __call__(self, image: Image.Image) -> list[Found]:
        import torch

        with torch.inference_mode():
            model, processor = self._pretrained.model(), self._pretrained.processor()
            inputs = processor(images=image, return_tensors="pt").to(model.device)
            (seen,) = processor.post_process_panoptic_segmentation(
                model(**inputs), threshold=self.threshold, target_sizes=[(image.height, image.width)]
            )
        ids = seen["segmentation"].cpu().numpy()  # (height, width), a segment's id at each pixel
        names = model.config.id2label
        found = [
            Found(encode_rle(ids == s["id"]), round(float(s["score"]), 4), _plain(names[s["label_id"]]))
            for s in seen["segments_info"]
            if np.any(ids == s["id"])
        ]
        return sorted(found, key=lambda f: -f.score)


def _plain(name: str) -> str:
    """`sky-other-merged` -> `sky`, `wall-brick` -> `brick wall`, `coffee_table` -> `coffee table`, as one would say it."""
    parts = [p for p in name.replace("_", " ").split("-") if p not in ("merged", "other", "stuff")]
    return " ".join(parts[::-1]) or name
