"""A stage is a contract: which part of the model trains. The census says in numbers what that means and is checked.

align  the projector (LLaVA stage 1); sft  language model and projector (papers.md §A.3); lora  low-rank adapters on the
language model; full  everything (pre-training a small model); vpgc  the VPG-C adapter (papers.md §B.3), attached here if
the model brings none. An adapter that the model brings is frozen in every other stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from visift.core.errors import DataError, UsageError
from visift.models import Vlm, vpgc
from visift.train.settings import TrainSettings

TRAINS: dict[str, frozenset[str]] = {
    "align": frozenset({"projector"}),
    "sft": frozenset({"projector", "llm"}),
    "lora": frozenset(),
    "full": frozenset({"vision", "projector", "llm"}),
    "vpgc": frozenset({"vpgc"}),
}


@dataclass
class Staged:
    """A model prepared for its stage. `model` is what the trainer sees (a PEFT model in stage `lora`)."""

    model: Any
    frozen: list[nn.Module]  # the largest modules without anything to train; kept in eval mode
    parts: dict[str, str]  # trainable parameter -> part of the model, for its learning rate
    census: dict[str, Any]


def prepare(vlm: Vlm, stage: str, settings: TrainSettings) -> Staged:
    """Freeze and thaw, in place. Raises UsageError for an unknown stage, DataError for a stage that trains nothing."""
    if stage not in TRAINS:
        raise UsageError(f"unknown stage {stage!r}", remedy=f"one of {', '.join(TRAINS)}")
    adapter = vpgc.attached(vlm.model)
    if adapter is not None and settings.vpgc_layer not in (None, adapter.layer):
        raise UsageError(f"vpgc_layer {settings.vpgc_layer}, but the model's own adapter hangs at {adapter.layer}",
                         where=vlm.path, remedy="leave it out, or start from the model without adapter")  # fmt: skip
    if stage == "vpgc" and adapter is None:
        vpgc.attach(vlm.model, settings.vpgc_layer, settings.vpgc_guidance, seed=settings.seed)
    if vlm.family.ends and (stage == "lora" or "llm" in TRAINS[stage]):  # the rows teach it to end an answer with EOS
        for said in (vlm.model.config.get_text_config(), vlm.model.generation_config):
            said.eos_token_id = vlm.tokenizer.eos_token_id
    part_of = {name: vlm.family.part_of(name) for name, _ in vlm.model.named_parameters()}
    if stage == "lora":
        model = _lora(vlm, settings)
        parts = {name: "llm" for name, p in model.named_parameters() if p.requires_grad}
    else:
        model = vlm.model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part_of[name] in TRAINS[stage])
        parts = {name: part_of[name] for name, p in model.named_parameters() if p.requires_grad}
    if not parts:
        raise DataError(f"stage {stage} trains nothing in this model", where=vlm.path)
    census = _census(model, stage, parts, part_of if stage != "lora" else {})
    return Staged(model, _frozen_roots(model), parts, census)


def _lora(vlm: Vlm, settings: TrainSettings) -> Any:
    """LoRA on every linear layer inside the language model, none in the vision tower (`all-linear` would hit it too)."""
    from peft import LoraConfig, get_peft_model

    head = vlm.model.get_output_embeddings()
    targets = [
        name for name, module in vlm.model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and vlm.family.part_of(name + ".weight") == "llm"
    ]  # fmt: skip
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout, target_modules=targets,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(vlm.model, config)


def _census(model: nn.Module, stage: str, parts: dict[str, str], part_of: dict[str, str]) -> dict[str, Any]:
    """Counts of trainable and frozen parameters, whole and by part; checked against what the stage promises."""
    trainable: dict[str, int] = {}
    frozen: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = parts.get(name) or part_of.get(name, "base")
        into = trainable if parameter.requires_grad else frozen
        into[part] = into.get(part, 0) + parameter.numel()
    promised = TRAINS[stage] or {"llm"}
    if stage != "lora" and (set(trainable) - promised or set(frozen) & promised):
        raise DataError(
            f"stage {stage} should train {sorted(promised)}, but would train {sorted(trainable)}", where="census"
        )
    return {
        "stage": stage, "trainable": sum(trainable.values()), "frozen": sum(frozen.values()),
        "trainable_by_part": trainable, "frozen_by_part": frozen,
    }  # fmt: skip


def _frozen_roots(module: nn.Module) -> list[nn.Module]:
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        return [module]
    return [m for child in module.children() for m in _frozen_roots(child)]
