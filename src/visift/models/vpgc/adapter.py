"""What both variants share: the hooks, which visual token follows which guidance token, and the re-injection."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import nn

from visift.core.errors import UsageError
from visift.models.vpgc.places import guidance_places

NAME = "vpgc"  # the adapter's name in its model
GUIDANCE = ("prompt", "zero", "shuffled")


@dataclass
class Call:
    """What is known of one forward pass before it reaches the adapter's layer, or of the prompt of a `generate`."""

    visual: torch.Tensor | None = None  # bool (B, T): placeholders; None: a cached step, nothing to enrich
    at: torch.Tensor | None = None  # int64 (B, T): column of the guidance token
    seen: Any = None  # what the variant kept of the pictures


class Adapter(nn.Module):
    """V~ = V + reinject(re-extracted(guidance(h), pictures)) before block `layer`; h is the guidance token's state.

    The model's own forward runs unchanged around it. Only a prefill is enriched: cached steps hold no picture. Below
    the layer nothing trains, so autograd keeps nothing there.
    """

    variant = ""

    def __init__(self, model: Any, layer: int | None, guidance: str) -> None:
        super().__init__()
        object.__setattr__(self, "model", model)  # not as a submodule: the model holds this one
        configs = (model.config, model.config.get_text_config())
        if any(getattr(c, "is_encoder_decoder", False) for c in configs):
            raise UsageError("VPG-C needs a decoder-only language model: here the pictures stand in an encoder",
                             where=type(model).__name__, remedy="use a checkpoint over OPT, Llama or Vicuna")  # fmt: skip
        self.image_id = getattr(model.config, "image_token_id", None)
        blocks = _blocks(model)
        if self.image_id is None or blocks is None:
            what = "image_token_id in its configuration" if self.image_id is None else "list of decoder blocks"
            raise UsageError(f"VPG-C cannot be attached: no {what}", where=type(model).__name__)
        self.layer = len(blocks) // 2 if layer is None else layer
        if not 0 <= self.layer < len(blocks):
            raise UsageError(f"no layer {layer}", where=type(model).__name__, remedy=f"0 to {len(blocks) - 1}")
        self.guided_by = guidance
        self.call: Call | None = None
        self.prompt: Call | None = None  # of the `generate` that runs
        self.handles: list[Any] = []

    # ---- what a variant says ----

    def parts(self) -> dict[str, list[nn.Parameter]]:
        raise NotImplementedError

    def extracted(self, guidance: torch.Tensor, group: torch.Tensor, seen: Any, like: torch.Tensor) -> torch.Tensor:
        """What is read from the pictures again, (V, m): `guidance` (S, m) of each guidance token, `group` (V,) in 0..S-1."""
        raise NotImplementedError

    def picked(self, seen: Any, which: torch.Tensor) -> Any:
        """`seen` for the visual tokens `which` (V,) of those it was noted for."""
        raise NotImplementedError

    def noted(self, seen: Any) -> None:
        """A variant's hook saw the pictures."""
        call = self.call or self.prompt
        if call is not None and call.visual is not None and call.seen is None:
            call.seen = seen

    # ---- for users ----

    def census(self) -> dict[str, int]:
        """Parameters by part, and their total."""
        counts = {name: sum(p.numel() for p in parameters) for name, parameters in self.parts().items()}
        return counts | {"total": sum(counts.values())}

    def remove(self) -> None:
        """Take the adapter out of its model, which is as before; the adapter keeps its weights."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.model._modules.pop(NAME, None)
        vars(self.model).pop("generate", None)

    # ---- hooks ----

    def hook(self) -> None:
        model = self.model
        self.handles += [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._end, always_call=True),
            _blocks(model)[self.layer].register_forward_pre_hook(self._enrich, with_kwargs=True),
        ]
        self.names = list(inspect.signature(model.forward).parameters)
        model.generate = MethodType(_generate, model)

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Note where pictures and guidance stand. `guidance_at` (B, T) may be passed to the model; labels say it, too."""
        kwargs = dict(kwargs)
        at = kwargs.pop("guidance_at", None)
        given = dict(zip(self.names, args, strict=False)) | kwargs
        ids, past = given.get("input_ids"), given.get("past_key_values")
        if ids is None or given.get("inputs_embeds") is not None:
            raise UsageError("VPG-C cannot see in inputs_embeds where the pictures are", where=type(module).__name__,
                             remedy="pass input_ids, or remove() the adapter")  # fmt: skip
        visual = ids == self.image_id
        self.call = Call()
        if past is not None and int(past.get_seq_length()) > 0:
            if visual.any():
                raise UsageError(
                    "pictures after a cached beginning: its guidance is gone", where=type(module).__name__,
                    remedy="give the whole conversation without past_key_values",
                )  # fmt: skip
        else:
            if at is None:
                mask, positions = given.get("attention_mask"), given.get("position_ids")
                if self.prompt is None and positions is None and mask is not None and getattr(mask, "ndim", 0) != 2:
                    raise UsageError("packed rows do not say where their conversations start", where=type(module).__name__,
                                     remedy="pass position_ids that start anew, or guidance_at")  # fmt: skip
                at = guidance_places(ids, given.get("labels"), mask, positions)
            self.call.visual, self.call.at = visual, at
        return args, kwargs

    def _end(self, *_: Any) -> None:
        self.call = None

    def _enrich(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self.call or self.prompt
        if call is None:
            raise UsageError("the language model was called past the model around it: VPG-C does not know its pictures",
                             remedy="call the model itself with input_ids, or remove() the adapter")  # fmt: skip
        hidden = args[0] if args else kwargs["hidden_states"]  # (B, T, d)
        if call.visual is None or hidden.shape[1] < call.visual.shape[1]:  # a cached step
            return None
        if self.prompt is not None:
            call = self._prompted(call, *hidden.shape[:2])
        enriched = self._enriched(hidden, call)
        return ((enriched, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": enriched})

    def _prompted(self, call: Call, rows: int, longest: int) -> Call:
        """In `generate` the guidance stays that of the prompt, and pictures may have been read before rows became beams."""
        prompt = self.prompt
        visual, at = (grown(x, rows, longest) for x in (prompt.visual, prompt.at))
        if call.seen is not None and call is not prompt:
            return Call(visual, at, call.seen)
        number = prompt.visual.flatten().cumsum(0).view_as(prompt.visual) - 1  # (b, t): which visual token
        return Call(
            visual, at, None if prompt.seen is None else self.picked(prompt.seen, grown(number, rows, longest)[visual])
        )

    def _enriched(self, hidden: torch.Tensor, call: Call) -> torch.Tensor:
        rows, columns = call.visual.to(hidden.device).nonzero(as_tuple=True)  # (V,)
        if not len(rows) and not torch.is_grad_enabled():
            return hidden
        tokens = rows * hidden.shape[1] + call.at.to(hidden.device)[rows, columns]  # (V,), in hidden laid flat
        tokens, group = tokens.unique(return_inverse=True)  # (S,), (V,)
        states = hidden.flatten(0, 1)[tokens].to(self.reinject.weight.dtype)  # (S, d)
        if self.guided_by == "shuffled":
            states = states.roll(1, 0) if len(states) > 1 else hidden[rows[:1], columns[:1]].to(states.dtype)
        g = self.guidance(states) * (0.0 if self.guided_by == "zero" else 1.0)  # (S, m)
        added = self.reinject(self.extracted(g, group, call.seen, hidden))  # (V, d)
        return hidden.index_put((rows, columns), added.to(hidden.dtype), accumulate=True)


def _generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The model's own `generate`, told where the prompt ends: without a cache every step would find its end elsewhere."""
    adapter = getattr(model, NAME)
    settings = kwargs.get("generation_config") or model.generation_config
    if kwargs.get("prefill_chunk_size", getattr(settings, "prefill_chunk_size", None)):
        raise UsageError("VPG-C enriches a prompt's pictures at once", where=type(model).__name__,
                         remedy="leave prefill_chunk_size out")  # fmt: skip
    ids = next((kwargs[k] for k in ("input_ids", "inputs") if kwargs.get(k) is not None), args[0] if args else None)
    if ids is not None and ids.dim() == 2:
        at = guidance_places(ids, None, kwargs.get("attention_mask"))
        adapter.prompt = Call(ids == adapter.image_id, at)
    try:
        return type(model).generate(model, *args, **kwargs)
    finally:
        adapter.prompt = adapter.call = None


def grown(places: torch.Tensor, rows: int, longest: int) -> torch.Tensor:
    """(b, t) -> (rows, longest): rows repeated for beams, columns added for what was generated."""
    wide = nn.functional.pad(places, (0, longest - places.shape[1]))
    return wide.repeat_interleave(rows // len(places), 0)


def decoder_of(model: Any) -> Any:
    """What holds the decoder's blocks."""
    decoder = model.get_decoder()
    while (inner := getattr(decoder, "model", None) or getattr(decoder, "decoder", None)) is not None:
        decoder = inner  # a language model with its head
    return decoder


def _blocks(model: Any) -> nn.ModuleList | None:
    """The decoder's blocks."""
    return getattr(decoder_of(model), "layers", None)


def zeroed(inputs: int, outputs: int, device: torch.device) -> nn.Linear:
    """A linear layer whose weights and biases are zero, as both ends of the adapter start."""
    made = nn.Linear(inputs, outputs, device=device, dtype=torch.float32)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)
    return made
