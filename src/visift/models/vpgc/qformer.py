"""`qformer`: the model's own frozen Q-Former reads every picture again with shifted queries (papers.md §B.2.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visift.core.errors import DataError
from visift.models.vpgc.adapter import Adapter, Call, zeroed


class QFormer(Adapter):
    """reinject(Q-Former(guidance(h) + queries, picture)); `queries` start as the model's own, both ends at zero.

    A frozen Q-Former is kept in eval mode, without dropout.
    """

    variant = "qformer"

    def __init__(self, model: Any, layer: int | None, guidance: str) -> None:
        super().__init__(model, layer, guidance)
        width, device = int(model.config.get_text_config().hidden_size), model.device
        inner = int(model.query_tokens.shape[-1])
        self.guidance = zeroed(width, inner, device)
        self.queries = nn.Parameter(model.query_tokens.detach().to(torch.float32, copy=True))  # (1, Q, m)
        self.reinject = zeroed(inner, width, device)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        ends = {k: list(getattr(self, k).parameters()) for k in ("guidance", "reinject")}
        return {"guidance": ends["guidance"], "queries": [self.queries], "reinject": ends["reinject"]}

    def hook(self) -> None:
        model = self.model
        self.handles.append(model.qformer.register_forward_pre_hook(self._see, with_kwargs=True))
        super().hook()

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.noted(kwargs)
        if module.training and not any(p.requires_grad for p in module.parameters()):
            module.eval()

    def _enriched(self, hidden: torch.Tensor, call: Call) -> torch.Tensor:
        queries, seen = self.queries.shape[1], call.seen
        count, pictures = int(call.visual.sum()), len(seen["query_embeds"]) if seen else 0
        if count and count != queries * pictures:
            raise DataError(f"{pictures} pictures of {queries} queries for {count} visual tokens", where=type(self.model).__name__,
                            remedy="pass pixel_values with the input_ids")  # fmt: skip
        return super()._enriched(hidden, call)

    def picked(self, seen: Any, which: torch.Tensor) -> Any:
        pictures = which[:: self.queries.shape[1]] // self.queries.shape[1]
        return {k: v[pictures] if isinstance(v, torch.Tensor) else v for k, v in seen.items()}

    def extracted(self, guidance: torch.Tensor, group: torch.Tensor, seen: Any, like: torch.Tensor) -> torch.Tensor:
        count = self.queries.shape[1]
        asked = guidance[group[::count]][:, None] + self.queries  # (pictures, Q, m)
        if not len(asked):
            return asked.flatten(0, 1)
        dtype = seen["query_embeds"].dtype
        read = self.model.qformer(**(seen | {"query_embeds": asked.to(dtype)}))[0][:, :count]  # (pictures, Q, m)
        return read.flatten(0, 1).to(asked.dtype)
