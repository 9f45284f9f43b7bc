"""How much of the device the run uses (MFU): the model's own arithmetic on real tokens over what the device could do.

Counted are the language model's matrix products alone, 2 operations a parameter forward, 2 for the gradient that passes
through and 2 for the weight's own where it trains; not attention's products, the vision tower, padding or what gradient
checkpointing repeats. So the share is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from visift.models import Vlm

# Dense bf16 operations a second of one device, from the makers' data sheets; the longest name that fits counts.
PEAKS = {
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H800": 989e12, "H20": 148e12,
    "GH200": 989e12, "A100": 312e12, "A800": 312e12, "A40": 150e12, "A30": 165e12, "A10": 125e12, "A10G": 70e12,
    "RTX A6000": 155e12, "L40": 181e12, "L40S": 362e12, "L4": 121e12, "RTX 6000 Ada": 364e12, "RTX 4090": 165e12,
    "RTX 3090": 71e12, "MI250X": 383e12, "MI300X": 1307e12,
}  # fmt: skip


def peak(device_name: str) -> float | None:
    """bf16 operations a second of the device that calls itself so; None when it is not known."""
    words = device_name.replace("-", " ").split()
    fitting = [name for name in PEAKS if _in_order(name.split(), words)]
    return PEAKS[max(fitting, key=len)] if fitting else None


def _in_order(name: list[str], words: list[str]) -> bool:
    """Whether the words of `name` occur in that order: "H100 PCIe" in "NVIDIA H100 80GB PCIe"."""
    left = iter(words)
    return all(word in left for word in name)


def own_peak(bf16: bool) -> float | None:
    """Of the device this process trains on; None on CPUs and outside bf16."""
    return peak(torch.cuda.get_device_name()) if bf16 and torch.cuda.is_available() else None


@dataclass(frozen=True, slots=True)
class Work:
    """Operations forward and backward: `token` for every real token, `learnt` once more where a token is predicted."""

    token: float
    learnt: float

    def of(self, tokens: int, learnt: int) -> float:
        return self.token * tokens + self.learnt * learnt


def work_of(vlm: Vlm) -> Work:
    """Of a staged model: its weights already say whether they train."""
    family, model = vlm.family, vlm.model
    head = model.get_output_embeddings().weight
    ends = {id(head), id(model.get_input_embeddings().weight)}
    known = tuple(prefix for prefixes in family.parts.values() for prefix in prefixes)
    passing = 2 * any(p.requires_grad and name.startswith(known) for name, p in model.named_parameters())
    token = sum(
        p.numel() * (2 + passing + 2 * p.requires_grad)
        for name, p in model.named_parameters()
        if name.startswith(family.parts["llm"]) and id(p) not in ends and p.dim() > 1
    )
    return Work(float(token), float(head.numel() * (2 + passing + 2 * head.requires_grad)))
