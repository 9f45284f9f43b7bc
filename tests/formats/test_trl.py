"""Our exports train in TRL's SFTTrainer as they are (extra `trl`), with the built-in model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from visift.formats.convert import convert
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("format", ["messages", "parquet"])
def test_five_steps_of_sft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    trl = pytest.importorskip("trl", reason="the extra `trl` is not installed")
    from datasets import Image, List, load_dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor

    synthesise("dialog", Tabletop(8), tmp_path / "data", rounds=4)
    out = tmp_path / ("d.jsonl" if format == "messages" else "d.parquet")
    root = convert(tmp_path / "data", format, out)["image_root"]
    table: Any = load_dataset(
        "json" if format == "messages" else format, data_files=str(out), split="train", cache_dir=str(tmp_path / "c")
    )
    if format == "messages":  # pictures are named there: this opens them, below the folder that convert reports
        monkeypatch.chdir(root)
        table = table.cast_column("images", List(Image()))
    weights = str(files("visift.models.builtin") / "weights")
    processor = AutoProcessor.from_pretrained(weights)
    model = AutoModelForImageTextToText.from_pretrained(weights, attn_implementation="eager", dtype="float32")
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "run"), max_steps=5, per_device_train_batch_size=2, learning_rate=1e-4, logging_steps=1, max_length=None,
        assistant_only_loss=True, report_to=[], save_strategy="no", bf16=False, use_cpu=True, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=model, args=settings, train_dataset=table, processing_class=processor)
    batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[1]])
    labelled = (batch["labels"] != -100).sum(dim=1)
    assert all(0 < n < 0.6 * batch["labels"].shape[1] for n in labelled.tolist())  # answers alone
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 5 and all(0 < loss < 20 for loss in losses)
