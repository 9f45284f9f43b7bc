"""InstructBLIP: a Q-Former reads each picture with the words of the turn that shows it, into a fixed number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import AutoTokenizer

from visift.core.errors import DataError
from visift.models.families.family import Family, Pixels


class InstructBlip(Family):
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "vision": ("vision_model.",),
        "projector": ("qformer.", "query_tokens", "language_projection."),
        "llm": ("language_model.",),
    }
    # Its own format: query tokens before BOS, question, answer.
    template: ClassVar[str | None] = (
        "{% for m in messages %}{% for p in m['content'] if p['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
        "{% if loop.first %}{{ bos_token }}{% endif %}{{ ' ' if m['role'] == 'assistant' }}"
        "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
        "{{ eos_token if m['role'] == 'assistant' }}{% endfor %}"
    )
    picture_text: ClassVar[str] = "<image>"
    starts_with_bos: ClassVar[bool] = False
    shares_prefix: ClassVar[bool] = False

    def setup(self, model: Any) -> None:
        if not self.config.use_decoder_only_language_model:
            raise DataError("InstructBLIP over an encoder-decoder is not supported", where=model.name_or_path,
                            remedy="use one of its Vicuna checkpoints")  # fmt: skip
        self.tokens = int(self.config.num_query_tokens)
        self.words = AutoTokenizer.from_pretrained(model.name_or_path, subfolder="qformer_tokenizer")
        self.side = int(self.config.vision_config.image_size)

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        return {"pixel_values": self.image_processor(picture, return_tensors="pt")["pixel_values"][0]}

    def with_words(self, pixels: Pixels, text: str) -> Pixels:
        limit = int(self.config.qformer_config.max_position_embeddings) - self.tokens
        return {**pixels, "words": torch.tensor(self.words(text, truncation=True, max_length=limit).input_ids)}

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Where no row has a picture, a blank one that no placeholder asks for: the model wants the inputs."""
        flat = [p for row in rows for p in row]
        if not flat:
            flat = [self.with_words({"pixel_values": torch.zeros(3, self.side, self.side)}, "")]
        longest = max(len(p["words"]) for p in flat)
        ids = torch.full((len(flat), longest), int(self.words.pad_token_id))
        mask = torch.zeros(len(flat), longest, dtype=torch.long)
        for k, p in enumerate(flat):
            ids[k, : len(p["words"])], mask[k, : len(p["words"])] = p["words"], 1
        values = torch.stack([p["pixel_values"] for p in flat]).to(dtype)
        return {"pixel_values": values, "qformer_input_ids": ids, "qformer_attention_mask": mask}
