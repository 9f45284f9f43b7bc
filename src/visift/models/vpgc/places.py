"""Where the guidance token of every token stands."""

from __future__ import annotations

import torch

IGNORE = -100


def guidance_places(
    input_ids: torch.Tensor,
    labels: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Column of each token's guidance token, int64 (B, T) like `input_ids` and `labels`.

    It is the token before the conversation's first label, or without labels its last real token. With a 2D mask (B, T) a
    row is one conversation; otherwise a conversation starts wherever `position_ids`, (B, T) or (axes, B, T), start anew.
    """
    rows, longest = input_ids.shape
    column = torch.arange(longest, device=input_ids.device).expand(rows, -1)  # (B, T)
    starts = column == 0
    real = torch.ones_like(starts)
    if isinstance(attention_mask, torch.Tensor) and attention_mask.dim() == 2:
        real = attention_mask[:, -longest:].bool()
    elif position_ids is not None and position_ids.shape[-1] == longest:
        starts = starts | (position_ids.reshape(-1, position_ids.shape[-2], longest) == 0).all(0)
    segment = starts.cumsum(1) - 1 + longest * torch.arange(rows, device=input_ids.device)[:, None]  # (B, T), unique

    def extreme(chosen: torch.Tensor, how: str, empty: int) -> torch.Tensor:
        """First or last chosen column of each segment, (B * T,)."""
        made = torch.full((rows * longest,), empty, device=input_ids.device)
        return made.scatter_reduce(0, segment[chosen], column[chosen], how)

    place = extreme(real, "amax", 0)
    if labels is not None:
        learnt = (labels.to(input_ids.device) != IGNORE) & ~starts  # nothing predicts a conversation's first token
        first = extreme(learnt, "amin", longest)
        place = torch.where(first < longest, first - 1, place)
    return place[segment]
