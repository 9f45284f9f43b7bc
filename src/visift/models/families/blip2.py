"""BLIP-2: a Q-Former reads each picture, without the question, into a fixed number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image

from visift.core.errors import DataError
from visift.models.families.family import Family, Pixels


class Blip2(Family):
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "vision": ("vision_model.",),
        "projector": ("qformer.", "query_tokens", "language_projection."),
        "llm": ("language_model.",),
    }
    # Its own format: query tokens before BOS, then questions and answers in a line.
    template: ClassVar[str | None] = (
        "{% for m in messages %}{% for p in m['content'] if p['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
        "{{ bos_token if loop.first else ' ' }}{{ 'Question: ' if m['role'] == 'user' }}"
        "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
        "{{ ' Answer:' if m['role'] == 'user' else eos_token if m['role'] == 'assistant' }}{% endfor %}"
    )
    picture_text: ClassVar[str] = "<image>"
    starts_with_bos: ClassVar[bool] = False
    shares_prefix: ClassVar[bool] = False  # every call wants pictures, those behind a cached beginning, too

    def setup(self, model: Any) -> None:
        if not self.config.use_decoder_only_language_model:
            raise DataError(f"{self.config.model_type} over an encoder-decoder is not supported", where=model.name_or_path,
                            remedy="use a checkpoint over OPT or Vicuna")  # fmt: skip
        self.tokens = int(self.config.num_query_tokens)
        self.side = int(self.config.vision_config.image_size)

    @property
    def ends(self) -> set[int]:
        """What the language model's configuration says: over OPT the newline, until training teaches it EOS (train/stages.py)."""
        own = self.config.get_text_config().eos_token_id
        return set(own) if isinstance(own, list) else {own} - {None}

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        return {"pixel_values": self.image_processor(picture, return_tensors="pt")["pixel_values"][0]}

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Where no row has a picture, a blank one that no placeholder asks for: the model wants the inputs."""
        flat = [p["pixel_values"] for row in rows for p in row] or [torch.zeros(3, self.side, self.side)]
        return {"pixel_values": torch.stack(flat).to(dtype)}
