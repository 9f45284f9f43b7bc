"""PaliGemma: pictures first, then the question as a prefix that sees itself whole, then the answer."""

from __future__ import annotations

from typing import ClassVar

import torch

from visift.models.families.family import Family


class PaliGemma(Family):
    # Its own format, pictures before BOS; a later question follows the answer before it.
    template: ClassVar[str | None] = (
        "{% for m in messages %}{% for p in m['content'] if p['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
        "{% if loop.first %}{{ bos_token }}{% endif %}{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}"
        "{{ eos_token if m['role'] == 'assistant' else '\n' }}{% endfor %}"
    )
    starts_with_bos: ClassVar[bool] = False
    packs: ClassVar[bool] = False  # the prefix's mask is the model's own
    shares_prefix: ClassVar[bool] = False
    picture_text: ClassVar[str] = "<image>"

    def extra(self, input_ids: torch.Tensor, first_learnt: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """token_type_ids (B, T): 0 in the prefix, 1 from the first answer on. A prompt is all prefix."""
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        ends = torch.full((len(input_ids),), input_ids.shape[1]) if first_learnt is None else first_learnt
        return {"token_type_ids": (places >= ends[:, None]).long()}
