"""Checkpoints that are whole or absent, and loaded strictly: trained weights, optimiser, random states, step.

    OUT/checkpoints/step-00000200/{weights,optimizer,random}.safetensors, trainer_state.json, whole.json

The base model is not in it: it is named by the run. `transformers.Trainer` itself writes a LLaVA's weights under names
that its own resume does not recognise, and goes on from the initial ones with only a warning.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from visift.core.errors import DataError, VisiftError
from visift.core.files import read_json, write_json
from visift.train import sharding

KEEP = 2


def save(
    folder: Path, step: int, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], state: Any,
    states: dict[str, torch.Tensor],
) -> None:  # fmt: skip
    """Write `folder/step-…` under another name, then rename it. Older ones than the last two are removed afterwards.

    `moments` are the optimiser's, `states` the random states of all processes. Raises VisiftError when the disk is full;
    the last whole checkpoint stays.
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f".{final.name}.part"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_contiguous(weights), partial / "weights.safetensors")
        save_file(_contiguous(moments), partial / "optimizer.safetensors")
        save_file(states, partial / "random.safetensors")
        write_json(partial / "random.json", {"python": _python_state(), "numpy": _numpy_state()})
        state.save_to_json(str(partial / "trainer_state.json"))
        sizes = {p.name: p.stat().st_size for p in sorted(partial.iterdir())}
        write_json(partial / "whole.json", {"step": step, "files": sizes})
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except (OSError, SafetensorError) as e:
        shutil.rmtree(partial, ignore_errors=True)
        raise VisiftError(
            f"cannot write the checkpoint ({e})", where=final,
            remedy="free some space and run the same command again: it goes on from the last whole checkpoint",
        ) from e  # fmt: skip
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are named on stderr and passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            files = read_json(path / "whole.json")["files"]
            bad = [n for n, size in files.items() if not (path / n).is_file() or (path / n).stat().st_size != size]
        except (DataError, KeyError, AttributeError) as e:
            bad = [str(e)]
        if not bad:
            return path
        print(f"checkpoint {path} is damaged ({', '.join(bad)}): falling back to the one before it", file=sys.stderr)
    return None


def step_of(checkpoint: Path) -> int:
    return int(read_json(checkpoint / "whole.json")["step"])


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What training changes: parameters that require a gradient, and the buffers beside them that are saved at all."""
    weights = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    owners = {n.rpartition(".")[0] for n in weights}
    kept = set(model.state_dict().keys())
    return weights | {n: b for n, b in model.named_buffers() if n in kept and n.rpartition(".")[0] in owners}


def trained_whole(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The same, gathered from all processes where they are sharded: every process has to ask."""
    return {n: sharding.whole(t) for n, t in trained(model).items()}


def load_weights(checkpoint: Path, model: torch.nn.Module) -> None:
    """Strict: exactly the trained weights, no more, no less. Raises DataError naming the first difference."""
    put(load_file(checkpoint / "weights.safetensors"), model, checkpoint)


def put(found: dict[str, torch.Tensor], model: torch.nn.Module, checkpoint: Path) -> None:
    """Weights of `checkpoint` into the model, as strictly."""
    wanted = trained(model)
    if odd := sorted(set(found) ^ set(wanted)):
        raise DataError(f"{len(odd)} weights do not match this run, the first is {odd[0]}", where=checkpoint)
    with torch.no_grad():
        for name, tensor in wanted.items():
            if tensor.shape != found[name].shape:
                raise DataError(f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}", where=checkpoint)
            tensor.copy_(sharding.like(found[name], tensor))


def load_optimizer(checkpoint: Path, optimizer: Any) -> None:
    """Strict: a state for every parameter that had one. Raises DataError when they do not fit."""
    found = load_file(checkpoint / "optimizer.safetensors")
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    if state and max(state) >= len(parameters):
        raise DataError(f"optimiser has {max(state) + 1} parameters, this run {len(parameters)}", where=checkpoint)
    for number, entry in state.items():
        state[number] = {k: sharding.like(t, parameters[number]) if t.dim() else t for k, t in entry.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_random(checkpoint: Path, rank: int = 0) -> None:
    tensors, others = load_file(checkpoint / "random.safetensors"), read_json(checkpoint / "random.json")
    torch.set_rng_state(tensors["cpu"][rank].clone())  # a piece of a larger tensor would crash it
    if torch.cuda.is_available() and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"][rank].clone())
    version, internal, gauss = others["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = others["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: t.contiguous() for n, t in tensors.items()}


def optimizer_tensors(optimizer: Any) -> dict[str, torch.Tensor]:
    """`NUMBER.KEY` of every parameter's state, gathered from all processes where it is sharded."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": sharding.whole(torch.as_tensor(value))
        for number, entry in state.items()
        for key, value in entry.items()
    }


def random_tensors() -> dict[str, torch.Tensor]:
    """uint8 (processes, bytes) for each device; python's and numpy's states are not used while training."""
    states = {"cpu": torch.get_rng_state()} | (
        {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    )
    return {name: _of_all(state) for name, state in states.items()}


def _of_all(state: torch.Tensor) -> torch.Tensor:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return state[None]
    here = state.to("cuda") if torch.distributed.get_backend() == "nccl" else state
    found = [torch.empty_like(here) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(found, here)
    return torch.stack(found).cpu()


def _python_state() -> list[Any]:
    version, internal, gauss = random.getstate()
    return [version, list(internal), gauss]


def _numpy_state() -> list[Any]:
    name, keys, position, has_gauss, cached = np.random.get_state()
    return [name, [int(k) for k in keys], position, has_gauss, cached]
