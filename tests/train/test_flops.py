"""The share of the device that a run uses, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_vlm

from visift.core.progress import progress
from visift.models import load
from visift.train.flops import Work, peak, work_of
from visift.train.settings import TrainSettings
from visift.train.stages import prepare
from visift.train.trainer import StepLog, note_of

pytestmark = pytest.mark.integration

BODY = 2 * (4 * 64 * 64 + 3 * 64 * 128)  # of tiny_vlm: two layers' attention and MLP


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12), ("NVIDIA GeForce RTX 4090", 165e12), ("Some Chip 9000", None), ("NVIDIA A1000", None),
    ],
)  # fmt: skip
def test_a_device_is_known_by_its_name(name: str, operations: float | None) -> None:
    assert peak(name) == operations


@pytest.mark.parametrize(("stage", "times", "head"), [("align", 4, 4), ("sft", 6, 6), ("full", 6, 6)])
def test_the_work_of_a_token_follows_what_trains(tmp_path: Path, stage: str, times: int, head: int) -> None:
    vlm = load(tiny_vlm.llava(tmp_path), train=True)
    prepare(vlm, stage, TrainSettings())
    assert work_of(vlm) == Work(times * BODY, head * vlm.model.lm_head.weight.numel())


def test_lora_weights_count_beside_the_frozen_ones(tmp_path: Path) -> None:
    vlm = load(tiny_vlm.llava(tmp_path), train=True)
    census = prepare(vlm, "lora", TrainSettings(lora_rank=4)).census
    assert work_of(vlm).token == 4 * BODY + 6 * census["trainable"]


def test_the_log_and_the_line_say_it(tmp_path: Path) -> None:
    with progress("t", 1) as tick:
        log = StepLog(tmp_path / "log.jsonl", ["a", "b"], tick, 1, 0)
    row = {"loss": 1.25, "tokens_per_s": 1200, "padding": 0.031, "data_wait": 0.2, "sources": {"a": 1.0, "b": 1.5}}
    assert note_of(row) == "loss 1.250 (a 1.000, b 1.500), 1,200 tokens/s, padding 3.1%, waits for data 20.0%"
    assert "MFU 38.0%" in note_of({**row, "mfu": 0.38})
    log.work, log.peak = Work(10.0, 100.0), 1e3
    assert log.work.of(20, 3) == 500
