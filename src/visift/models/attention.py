"""Plain softmax attention for CPUs, registered with transformers as `visift_plain`.

Transformers' eager attention computes its softmax in float32, and PyTorch's fused one has a slow bf16 backward on CPUs:
forward and backward at 32 x 3 x 150 x 64 in bf16 took 39 and 48 ms on one core, this takes 14 (docs/notebook.md). Numbers stay in
the dtype that comes in, so in float32 it is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

PLAIN = "visift_plain"


def plain_attention(
    module: nn.Module,
    query: torch.Tensor,  # (B, H, Q, D)
    key: torch.Tensor,  # (B, G, K, D), H a multiple of G
    value: torch.Tensor,  # (B, G, K, D)
    attention_mask: torch.Tensor | None,  # additive, (B or 1, 1, Q, >= K); or bool, True = may look
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (B, Q, H, D) and weights (B, H, Q, K)."""
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    weights = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)  # (B, H, Q, K)
    if attention_mask is not None:
        mask = attention_mask[..., : key.shape[-2]]
        if mask.dtype == torch.bool:
            weights = weights.masked_fill(~mask, torch.finfo(weights.dtype).min)
        else:
            weights += mask.to(weights.dtype)  # mixed dtypes would take a slow path
    weights = weights.softmax(-1)
    if dropout:
        weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(PLAIN, plain_attention)
AttentionMaskInterface.register(PLAIN, eager_mask)
