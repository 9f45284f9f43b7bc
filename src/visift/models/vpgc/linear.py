"""`linear`: a gated filter on the image features, for models with a projector (papers.md §B.2.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visift.core.errors import DataError
from visift.models.vpgc.adapter import Adapter, _blocks, zeroed

# The module whose input is the image features X, one vector a visual token in the text's order. Other models reorder,
# resample or interleave what they projected; there X is the visual tokens as the language model gets them.
RAW = {
    "llava": "model.multi_modal_projector", "paligemma": "model.multi_modal_projector", "internvl": "model.multi_modal_projector",
    "idefics3": "model.connector.modality_projection", "smolvlm": "model.connector.modality_projection",
    "qwen3_vl": "model.visual.merger.linear_fc1",
}  # fmt: skip
WIDEST = 1024  # of the filter


class Linear(Adapter):
    """reinject((1 + gate(guidance(h))) * filter(X)); guidance and reinject start at zero, gate and filter as usual.

    The "1 +" is ours: with both ends at zero the printed formula has no gradient anywhere.
    """

    variant = "linear"

    def __init__(self, model: Any, layer: int | None, guidance: str) -> None:
        super().__init__(model, layer, guidance)
        width, device = int(model.config.get_text_config().hidden_size), model.device
        self.source = RAW.get(model.config.model_type)
        features = width
        if self.source is not None:
            tap = model.get_submodule(self.source)
            features = next(m.in_features for m in tap.modules() if isinstance(m, nn.Linear))
        inner = min(features, WIDEST)
        self.guidance = zeroed(width, inner, device)
        self.gate = nn.Linear(inner, inner, bias=False, device=device, dtype=torch.float32)  # W1
        self.filter = nn.Linear(features, inner, bias=False, device=device, dtype=torch.float32)  # W2
        self.reinject = zeroed(inner, width, device)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        return {k: list(getattr(self, k).parameters()) for k in ("guidance", "gate", "filter", "reinject")}

    def hook(self) -> None:
        if self.source is not None:
            tap = self.model.get_submodule(self.source)
            self.handles.append(tap.register_forward_pre_hook(self._see))
        else:
            first = _blocks(self.model)[0]
            self.handles.append(first.register_forward_pre_hook(self._see_tokens, with_kwargs=True))
        super().hook()

    def _see(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.noted(args[0].flatten(0, -2))  # (V, features)

    def _see_tokens(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.call is not None and self.call.visual is not None:
            hidden = args[0] if args else kwargs["hidden_states"]
            self.noted(hidden[self.call.visual.to(hidden.device)])  # (V, d)

    def picked(self, seen: Any, which: torch.Tensor) -> Any:
        return seen[which]

    def extracted(self, guidance: torch.Tensor, group: torch.Tensor, seen: Any, like: torch.Tensor) -> torch.Tensor:
        x = like.new_zeros(0, self.filter.in_features) if seen is None else seen
        if len(x) != len(group):
            raise DataError(f"{len(x)} image features for {len(group)} visual tokens", where=type(self.model).__name__,
                            remedy="pass pixel_values with the input_ids")  # fmt: skip
        return (1 + self.gate(guidance))[group] * self.filter(x.to(self.filter.weight.dtype))  # (V, m)
