"""FSDP2 through accelerate: weights, gradients and optimiser in pieces, one a process.

Asked for as accelerate has it: `accelerate launch --use_fsdp --fsdp_version 2 …`, or ACCELERATE_USE_FSDP=true and
FSDP_VERSION=2 under torchrun. Checkpoints hold whole tensors, so that a run may go on sharded or not.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor, distribute_tensor

from visift.core.errors import UsageError


def asked_for(accelerator: Any) -> bool:
    """Whether this run is sharded. Raises UsageError for FSDP1.

    On CPUs accelerate takes no notice of being asked and replicates the model instead; sharding itself works there.
    """
    state = accelerator.state
    wanted = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if wanted and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, FullyShardedDataParallelPlugin()
    plugin = getattr(state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version != 2:
        raise UsageError("FSDP1 is not supported", remedy="add --fsdp_version 2 (FSDP_VERSION=2)")
    return plugin is not None


def prepare(accelerator: Any, model: torch.nn.Module) -> None:
    """Shard by layers of the language model, and all the rest as one piece.

    The vision tower must not be sharded by layers: a process whose rows have no picture would not run them, and the others
    would wait for it for ever.
    """
    layers = [m for n, m in model.named_modules() if n.split(".")[-2:-1] == ["layers"] and _of_text(n)]
    accelerator.state.fsdp_plugin.auto_wrap_policy = "transformer_based_wrap"
    accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = sorted({type(m).__name__ for m in layers})


def _of_text(name: str) -> bool:
    return not any(part in name for part in ("vision", "visual", "qformer"))


def is_sharded(model: torch.nn.Module) -> bool:
    return any(isinstance(p, DTensor) for p in model.parameters())


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with all its pieces, in main memory where it was in pieces. Every process has to ask."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The whole `tensor`, cut as `other` is."""
    if not isinstance(other, DTensor):
        return tensor
    # every process has the whole tensor: it cuts its own piece, nothing is sent
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)
