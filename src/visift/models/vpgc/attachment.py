"""An adapter gets into a model and out of it again; on disk it is a folder of its own, apart from the model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

import visift
from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, write_atomic, write_json
from visift.models.vpgc.adapter import GUIDANCE, NAME, Adapter
from visift.models.vpgc.linear import Linear
from visift.models.vpgc.places import guidance_places
from visift.models.vpgc.qformer import QFormer

WEIGHTS, CONFIG = "adapter.safetensors", "config.json"


def attach(model: Any, layer: int | None = None, guidance: str = "prompt", *, seed: int = 0) -> Adapter:
    """Hang an untrained adapter into `model` (a PEFT model too), as its submodule `vpgc`. Weights are float32.

    layer     the block, from 0, before which the visual tokens are enriched; None = the middle
    guidance  "prompt": the state of the prompt's last token; "zero": none; "shuffled": that of another row of the batch
              (a row alone: of its own first visual token), the two controls. What "shuffled" answers depends on
              who shares the batch, by its nature

    The variant follows from the model: `qformer` where it has a Q-Former, else `linear`. Raises UsageError for a model
    that has an adapter, a layer it does not have, an unknown guidance, and a model it cannot work on, saying why.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if attached(base) is not None:
        raise UsageError("the model has a VPG-C adapter already", remedy="remove() that one first")
    if guidance not in GUIDANCE:
        raise UsageError(f"unknown guidance {guidance!r}", remedy=f"one of {', '.join(GUIDANCE)}")
    kind = QFormer if hasattr(base, "qformer") else Linear
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = kind(base, layer, guidance)
    base.add_module(NAME, adapter)
    adapter.hook()
    return adapter


def attached(model: Any) -> Adapter | None:
    """The adapter that hangs in the model, a PEFT or parallel wrapping of it included, or None."""
    base = getattr(model, "module", model)
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    return getattr(base, NAME, None)


def guided(model: Any, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What a model called without `labels` wants to know beside the batch's inputs: {} where no adapter hangs in it."""
    if attached(model) is None:
        return {}
    return {
        "guidance_at": guidance_places(
            *(batch.get(k) for k in ("input_ids", "labels", "attention_mask", "position_ids"))
        )
    }


def save(adapter: Adapter, folder: str | Path) -> None:
    """Write the adapter's weights and what it needs to be attached again."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / WEIGHTS, to_bytes({n: t.contiguous() for n, t in adapter.state_dict().items()}))
    write_json(folder / CONFIG, {
        "adapter": "vpgc", "variant": adapter.variant, "layer": adapter.layer, "guidance": adapter.guided_by,
        "model_type": adapter.model.config.model_type, "census": adapter.census(), "visift": visift.__version__,
    })  # fmt: skip


def load(model: Any, folder: str | Path) -> Adapter:
    """Attach a saved adapter, strictly. Raises DataError when it is incomplete or made for another model."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    try:
        wanted, layer, guidance, kind = (config[k] for k in ("variant", "layer", "guidance", "model_type"))
        found = load_file(folder / WEIGHTS)
        if type(layer) is not int:
            raise ValueError(f"layer {layer!r}")
        if broken := [n for n, t in found.items() if not t.isfinite().all()]:
            raise ValueError(f"{broken[0]} holds what is no number")
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as e:
        raise DataError(f"is no VPG-C adapter ({e})", where=folder, remedy=f"it needs {CONFIG} and {WEIGHTS}") from e
    adapter = attach(model, layer, guidance)
    shapes = {n: tuple(t.shape) for n, t in adapter.state_dict().items()}
    if (
        kind != model.config.model_type
        or adapter.variant != wanted
        or shapes != {n: tuple(t.shape) for n, t in found.items()}
    ):
        adapter.remove()
        raise DataError(f"the {wanted} adapter of a {kind} model does not fit this {model.config.model_type} model", where=folder,
                        remedy="it belongs to the model it was trained on")  # fmt: skip
    adapter.load_state_dict(found)
    return adapter
