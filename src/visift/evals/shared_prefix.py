"""Many questions on one picture: the picture and what else they begin with is read once.

All that follows lies end to end in ONE row of the sequence behind a 4D mask, so the prefix's cache is never copied:
every token sees the prefix and its own question. Decoding goes on in the same row, one token a question and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from visift.models import vpgc
from visift.models.families.family import Family, Pixels
from visift.models.vpgc.adapter import decoder_of


def can_share(model: Any, family: Family) -> bool:
    """Whether the model reads strictly from left to right with one kind of layer, so that a prefix has one state.

    Under VPG-C that holds below the adapter's layer (guided_prefix.py), unless its guidance comes from other rows of the batch, or
    the model adds picture features above that layer again.
    """
    text = model.config.get_text_config()
    if (adapter := vpgc.attached(model)) is not None:
        deep = len(getattr(getattr(model.config, "vision_config", None), "deepstack_visual_indexes", None) or ())
        if adapter.guided_by == "shuffled" or adapter.layer <= deep or not hasattr(decoder_of(adapter.model), "norm"):
            return False
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    return family.shares_prefix and kinds == {"full_attention"} and not getattr(text, "sliding_window", None)


def common_prefix(rows: Sequence[list[int]]) -> int:
    """Length of what all rows begin with, leaving each row a token of its own."""
    first, last = min(rows), max(rows)
    shared = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(shared, min(map(len, rows)) - 1)


class SharedPrefix:
    """Questions with a common beginning. `logits`, float (questions, vocabulary), are those of each one's next token; with `everything`
    those of all tokens behind the prefix, (tokens, vocabulary), and `prefix` those in it."""

    def __init__(
        self, model: Any, family: Family, rows: Sequence[list[int]], prefix: int, pixels: Sequence[Pixels], everything: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
        self.cache = DynamicCache(config=model.config.get_text_config())
        self.owner = torch.zeros(0, dtype=torch.long, device=model.device)  # of each cached token; -1 = the prefix
        # where each row's tokens stand: (axes, T), or (1, T) where the model counts 0, 1, 2, …
        self.places = places = [
            found if (found := family.positions(r, pixels)) is not None else torch.arange(len(r))[None] for r in rows
        ]
        self.axes = len(places[0]) if family.positions(rows[0], pixels) is not None else 0
        start = torch.tensor([list(rows[0][:prefix])])
        pictures = {**family.batch([pixels], model.dtype), **family.extra(start)}
        wanted = torch.arange(prefix) if everything else prefix - 1
        self.prefix = self._forward(start[0], torch.full((prefix,), -1), places[0][:, :prefix], wanted, **pictures)
        tails = [r[prefix:] for r in rows]
        owners = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(t) for t in tails]))
        ids = torch.tensor([i for tail in tails for i in tail])
        ends = torch.arange(len(ids)) if everything else torch.tensor([len(t) for t in tails]).cumsum(0) - 1
        self.logits = self._forward(ids, owners, torch.cat([p[:, prefix:] for p in places], 1), ends)
        self.next = [int(p.max()) + 1 for p in places]

    def step(self, tokens: dict[int, int]) -> torch.Tensor:
        """One more token for some questions, {question: id} -> logits (given, vocabulary) in the order given."""
        owners = torch.tensor(list(tokens))
        where = torch.tensor([[self.next[q] for q in tokens]]).expand(max(self.axes, 1), -1)
        for q in tokens:
            self.next[q] += 1
        return self._forward(torch.tensor(list(tokens.values())), owners, where, torch.arange(len(tokens)))

    def _forward(
        self,
        ids: torch.Tensor,
        owners: torch.Tensor,
        places: torch.Tensor,
        wanted: torch.Tensor | int,
        **more: torch.Tensor,
    ) -> torch.Tensor:
        device, dtype = self.model.device, self.model.dtype
        owners = owners.to(device)
        before, new = len(self.owner), len(ids)
        self.owner = torch.cat([self.owner, owners])
        sees = (self.owner[None, :] == -1) | (self.owner[None, :] == owners[:, None])  # (new, all)
        sees &= (
            torch.arange(len(self.owner), device=device)[None, :] <= before + torch.arange(new, device=device)[:, None]
        )
        mask = torch.zeros(1, 1, new, len(self.owner), dtype=dtype, device=device)
        mask.masked_fill_(~sees, torch.finfo(dtype).min)
        positions = places[:, None, :] if self.axes else places  # (axes, 1, new) or (1, new)
        keep = torch.as_tensor(wanted).reshape(-1).to(device)
        out = self.model(
            input_ids=ids[None].to(device), attention_mask=mask, position_ids=positions.to(device), past_key_values=self.cache,
            use_cache=True, logits_to_keep=keep, **{k: v.to(device) for k, v in more.items()},
        )  # fmt: skip
        return out.logits[0].float()


def decode(shared: Any, ends: set[int], max_new_tokens: int) -> list[list[int]]:
    """Greedy continuation of every question of a shared or guided prefix, up to and with the token that ends it."""
    logits = shared.logits
    made: list[list[int]] = [[] for _ in range(len(logits))]
    active = list(range(len(made)))
    for k in range(max_new_tokens):
        chosen = dict(zip(active, logits.argmax(-1).tolist(), strict=True))
        for question, token in chosen.items():
            made[question].append(token)
        active = [q for q, token in chosen.items() if token not in ends]
        if not active or k == max_new_tokens - 1:
            break
        logits = shared.step({q: chosen[q] for q in active})
    return made
