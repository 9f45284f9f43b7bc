"""Many questions on one picture put to a model with VPG-C: the picture's features and the layers below the adapter's are read once.

From the adapter's layer on each question sees the picture in its own way: there the questions are a batch, [prefix, question, padding]
a row. Below it they lie end to end behind the one prefix (shared_prefix.py), in this first half of the model and in that second half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from transformers import DynamicCache

from visift.evals.shared_prefix import SharedPrefix
from visift.models import vpgc
from visift.models.families.family import Family, Pixels
from visift.models.vpgc.adapter import Call, decoder_of


class GuidedPrefix:
    """As SharedPrefix: `logits`, float (questions, vocabulary), are those of each one's next token, `step` gives the following ones."""

    def __init__(
        self, model: Any, family: Family, rows: Sequence[list[int]], prefix: int, pixels: Sequence[Pixels]
    ) -> None:
        self.adapter = cast(Any, vpgc.attached(model))
        self.model = cast(Any, self.adapter.model)  # without what is wrapped around it
        self.cache = DynamicCache(config=self.model.config.get_text_config())
        with _half(self.adapter, below=True), _noted(self.adapter) as seen:
            self.below = SharedPrefix(self.model, family, rows, prefix, pixels, everything=True)
        device, count = self.model.device, len(rows)
        lengths = torch.tensor([len(r) for r in rows], device=device)  # (B,)
        columns = torch.arange(int(lengths.max()), device=device)  # (T,)
        self.valid = columns < lengths[:, None]  # (B, T)
        states = self.below.prefix.new_zeros(count, len(columns), self.below.prefix.shape[1])  # (B, T, d)
        states[:, :prefix] = self.below.prefix
        states[:, prefix:][self.valid[:, prefix:]] = self.below.logits
        places = torch.zeros(len(self.below.places[0]), *self.valid.shape, dtype=torch.long, device=device)
        for k, place in enumerate(self.below.places):
            places[:, k, : len(rows[k])] = place.to(device)
        visual = torch.zeros_like(self.valid)
        visual[:, :prefix] = torch.tensor(rows[0][:prefix], device=device) == self.adapter.image_id
        each = torch.arange(int(visual[0].sum()), device=device).repeat(count)  # the same features for every question
        call = Call(visual, (lengths - 1)[:, None].expand_as(visual), self.adapter.picked(seen[0], each))
        sees = self.valid[:, None, :] & (columns[None, :] <= columns[:, None])  # (B, T, T)
        self.logits = self._above(states, sees, places, call)[torch.arange(count), lengths - 1]

    def step(self, tokens: dict[int, int]) -> torch.Tensor:
        """One more token for some questions, {question: id} -> logits (given, vocabulary) in the order given."""
        asked, count = list(tokens), len(self.valid)
        places = torch.zeros(len(self.below.places[0]), count, 1, dtype=torch.long, device=self.model.device)
        for k in asked:
            places[:, k] = self.below.next[k]
        with _half(self.adapter, below=True):
            found = self.below.step(tokens)  # (given, d)
        states = found.new_zeros(count, 1, found.shape[1])
        states[asked, 0] = found
        new = torch.zeros_like(self.valid[:, :1])
        new[asked] = True
        self.valid = torch.cat([self.valid, new], 1)
        return self._above(states, self.valid[:, None, :], places, Call())[asked, 0]

    def _above(self, states: torch.Tensor, sees: torch.Tensor, places: torch.Tensor, call: Call) -> torch.Tensor:
        """States (B, n, d) before the adapter's layer, and what each sees (B, n, all) -> float logits (B, n, vocabulary)."""
        dtype = self.model.dtype
        mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, torch.finfo(dtype).min)
        self.adapter.call = call
        try:
            with _half(self.adapter, below=False):
                out = decoder_of(self.model)(
                    inputs_embeds=states.to(dtype), attention_mask=mask[:, None], position_ids=places if self.below.axes else places[0],
                    past_key_values=self.cache, use_cache=True,
                )  # fmt: skip
        finally:
            self.adapter.call = None
        logits: torch.Tensor = self.model.get_output_embeddings()(out.last_hidden_state)
        return logits.float()


@contextmanager
def _half(adapter: Any, below: bool) -> Iterator[None]:
    """The model with the layers below the adapter's only, which gives states in place of logits; or with those from it on."""
    model, decoder = adapter.model, decoder_of(adapter.model)
    layers, norm, head = decoder.layers, decoder.norm, model.lm_head
    decoder.layers = layers[: adapter.layer] if below else layers[adapter.layer :]
    if below:
        decoder.norm, model.lm_head = nn.Identity(), nn.Identity()
    try:
        yield
    finally:
        decoder.layers, decoder.norm, model.lm_head = layers, norm, head


@contextmanager
def _noted(adapter: Any) -> Iterator[list[Any]]:
    """What the adapter kept of the pictures in the first forward pass inside the block."""
    kept: list[Any] = []
    handle = adapter.model.register_forward_hook(
        lambda *_: kept.append(adapter.call.seen) if adapter.call and not kept else None, prepend=True
    )
    try:
        yield kept
    finally:
        handle.remove()
