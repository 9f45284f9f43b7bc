"""InstructBLIP: BLIP-2 whose Q-Former reads each picture with the words of the turn that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from transformers import AutoTokenizer

from visift.models.families.blip2 import Blip2
from visift.models.families.family import Pixels


class InstructBlip(Blip2):
    # Its own format: query tokens before BOS, question, answer.
    template: ClassVar[str | None] = (
        "{% for m in messages %}{% for p in m['content'] if p['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
        "{% if loop.first %}{{ bos_token }}{% endif %}{{ ' ' if m['role'] == 'assistant' }}"
        "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
        "{{ eos_token if m['role'] == 'assistant' }}{% endfor %}"
    )

    def setup(self, model: Any) -> None:
        super().setup(model)
        self.words = AutoTokenizer.from_pretrained(model.name_or_path, subfolder="qformer_tokenizer")

    def with_words(self, pixels: Pixels, text: str) -> Pixels:
        limit = int(self.config.qformer_config.max_position_embeddings) - self.tokens
        return {**pixels, "words": torch.tensor(self.words(text, truncation=True, max_length=limit).input_ids)}

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """The words (pictures, longest) beside the pictures."""
        words = [p["words"] for row in rows for p in row] or [self.with_words({}, "")["words"]]
        ids = torch.full((len(words), max(map(len, words))), int(self.words.pad_token_id))
        mask = torch.zeros_like(ids)
        for k, w in enumerate(words):
            ids[k, : len(w)], mask[k, : len(w)] = w, 1
        return {**super().batch(rows, dtype), "qformer_input_ids": ids, "qformer_attention_mask": mask}
