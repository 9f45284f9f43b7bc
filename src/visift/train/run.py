"""One training run, from a model and datasets to a model folder; killed at any moment, the same call goes on exactly.

OUT/data/             foreign files as datasets of ours
OUT/run.json          what decides the result; a folder of another run is refused
OUT/plan.{json,safetensors}  lengths of all rows;  OUT/rejected.jsonl  rows left out, with reasons
OUT/census.json       what trains
OUT/train_log.jsonl   one line a step
OUT/checkpoints/      the last two
OUT/model/            the result in plain Hugging Face layout (lora: merged, and OUT/adapter; vpgc: adapter in model/vpgc)
OUT/result.json       written last
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PrinterCallback, TrainingArguments
from transformers.utils import logging as hf_logging

import visift
from visift.core.dataset import Dataset
from visift.core.errors import UsageError, VisiftError
from visift.core.files import begun_with, read_json, write_atomic, write_json
from visift.core.progress import progress
from visift.models import Renderer, Vlm, fingerprint, load, vpgc
from visift.models.pictures import Pictures
from visift.models.precision import fast_bf16
from visift.train import checkpoint, sharding
from visift.train.flops import own_peak, work_of
from visift.train.foreign import open_data
from visift.train.model_card import census_line, model_card
from visift.train.pack import PackedCollator, check_packing, even
from visift.train.plan import Plan, joint_order, make_plan, order, padding_share
from visift.train.rows import Collator, Rows
from visift.train.settings import TrainSettings
from visift.train.stages import Staged, prepare
from visift.train.trainer import StepLog, VlmTrainer


def train(
    model: str, data: Sequence[Path], stage: str, out: Path, settings: TrainSettings,
    image_roots: dict[str, str] | None = None, foreign_root: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fine-tune `model` (folder or hub id) on datasets and return what result.json says.

    A foreign file among `data` is first taken over into OUT/data; its pictures lie under `foreign_root`, or beside it.

    Raises UsageError when `out` holds another run, DataError for an unusable model or dataset, VisiftError when too many
    rows are unusable, the loss is no number, or the disk is full.
    """
    if not data:
        raise UsageError("no data to train on", remedy="pass --data DIR")
    with _first_process_first():
        datasets = [open_data(Path(d), out, image_roots, foreign_root) for d in data]
    if settings.joint and (len(settings.joint) != len(datasets) or sum(settings.joint) != settings.batch_size):
        raise UsageError(
            f"joint {list(settings.joint)} for {len(datasets)} datasets and batch_size {settings.batch_size}",
            remedy="one number a --data, in their order; together they are batch_size",
        )
    identity = {
        "model": fingerprint(model), "data": [d.card["content_sha256"] for d in datasets], "stage": stage,
        "settings": settings.identity(),
    }  # fmt: skip
    done = (out / "result.json").exists() or checkpoint.latest(out / "checkpoints") is not None
    with _first_process_first():
        same = begun_with(out / "run.json", identity, done=done)
    if not same:
        raise UsageError(
            "holds a run of another model, data, stage or settings",
            where=out,
            remedy="choose another --out or remove it",
        )
    if (out / "result.json").exists():
        shutil.rmtree(out / "checkpoints", ignore_errors=True)  # a kill right after the last line may have left them
        return dict(read_json(out / "result.json"))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()

    vlm = load(model, train=True)
    renderer = Renderer(vlm)
    one_turn = stage == "vpgc" or vpgc.attached(vlm.model) is not None  # the end of a row's one prompt guides it
    with _first_process_first():
        plan = make_plan(out, datasets, renderer, settings.max_length, settings.max_rejected, one_turn=one_turn)
    staged = prepare(vlm, stage, settings)
    write_json(out / "census.json", staged.census)
    say(census_line(staged.census))
    if plan.counts["rejected"]:
        say(f"{plan.counts['rejected']} rows are left out, see {out / 'rejected.jsonl'}")
    return _train(vlm, staged, plan, datasets, renderer, out, settings, model)


def _train(
    vlm: Vlm, staged: Staged, plan: Plan, datasets: list[Dataset], renderer: Renderer, out: Path, settings: TrainSettings,
    model: str,
) -> dict[str, Any]:  # fmt: skip
    started = time.perf_counter()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    steps = settings.steps or math.ceil(settings.epochs * len(plan) / settings.batch_size)
    share = max(1, settings.batch_size // world)
    micro = min(settings.micro_batch or share, share)
    if settings.batch_size % (micro * world):
        raise UsageError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch {micro} x {world} processes"
        )
    by_length = settings.group_by_length and not settings.pack_tokens
    if settings.joint:
        batches = joint_order(plan, steps, settings.joint, settings.seed, by_length)
    else:
        batches = order(plan.length, steps, settings.batch_size, settings.seed, by_length)
    if settings.pack_tokens:
        batches = even(batches, plan, micro)
    padding = "packed" if settings.pack_tokens else f"padding {padding_share(plan.length, batches):.1%}"
    say(f"{len(plan):,} rows, {steps:,} steps of {settings.batch_size}, {padding}")

    memory = settings.picture_memory << 20
    pictures = [Pictures(d, vlm.family, memory // len(datasets)) for d in datasets]
    rows = Rows(plan, datasets, renderer, pictures)
    pad = vlm.tokenizer.pad_token_id
    pad_id = int(pad if pad is not None else vlm.tokenizer.eos_token_id)
    collator = Collator(vlm.family, pad_id)
    if settings.pack_tokens:
        collator = PackedCollator(vlm.family, pad_id, settings.pack_tokens, settings.pack_pictures)
        check_packing(vlm, collator, rows)
    resume = checkpoint.latest(out / "checkpoints")
    start = checkpoint.step_of(resume) if resume else 0
    if resume:
        say(f"goes on from step {start}")
    first = os.environ.get("RANK", "0") == "0"
    with progress("train", steps, "steps", done=start) if first else nullcontext(_silent) as tick:
        args = _arguments(out, settings, steps, micro, settings.batch_size // (micro * world))
        log = StepLog(out / "train_log.jsonl", _labels(datasets), tick, settings.log_every, start)
        log.joint = bool(settings.joint)
        log.work, log.peak = work_of(vlm), (own_peak(args.bf16) or 0.0) * world
        trainer = VlmTrainer(staged, args, settings, rows, collator, batches, log, out / "checkpoints", start)
        trainer.remove_callback(PrinterCallback)
        if start < steps:
            log.clear()
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        else:
            checkpoint.load_weights(resume, staged.model)
    weights = checkpoint.trained_whole(staged.model) if sharding.is_sharded(staged.model) else None
    if trainer.is_world_process_zero():
        if weights is not None:  # the sharded model is in pieces: the result is the base with the trained weights
            vlm = load(model, train=True)
            staged = prepare(vlm, staged.census["stage"], settings)
            checkpoint.put(weights, staged.model, out)
        cards = dict(zip(_labels(datasets), [d.card for d in datasets], strict=True))
        made = model_card(staged.census, plan.counts, read_json(out / "run.json"), cards, model, steps)
        _write_model(vlm, staged, out, made)
        if settings.hub_model_id:
            trainer.upload(out / "model")
        _finish(staged, plan, out, steps, model, time.perf_counter() - started)
    trainer.accelerator.wait_for_everyone()
    return dict(read_json(out / "result.json"))


def _silent(done: int = 1, note: str = "") -> None:
    """The progress of the other processes."""


def _first_process_first() -> AbstractContextManager[Any]:
    """Under torchrun the others wait until the first has written what all of them read."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available()).main_process_first()


def _arguments(out: Path, settings: TrainSettings, steps: int, micro: int, accumulate: int) -> TrainingArguments:
    hf_logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = fast_bf16(device) if settings.bf16 is None else settings.bf16
    return TrainingArguments(
        output_dir=str(out / "checkpoints"), max_steps=steps, per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate, max_grad_norm=settings.clip, seed=settings.seed, bf16=bf16,
        use_cpu=device == "cpu", save_strategy="steps", save_steps=settings.save_every,
        logging_strategy="steps" if settings.report_to else "no", logging_steps=settings.log_every,
        report_to=list(settings.report_to) or "none", disable_tqdm=True, remove_unused_columns=False,
        ignore_data_skip=True,  # our sampler starts where the run stopped; nothing is to be skipped
        hub_model_id=settings.hub_model_id or None, logging_nan_inf_filter=False, ddp_find_unused_parameters=False, **({"gradient_checkpointing": True} if settings.gradient_checkpointing else {}),
    )  # fmt: skip


def _write_model(vlm: Vlm, staged: Staged, out: Path, card: str) -> None:
    partial = out / ".model.part"
    shutil.rmtree(partial, ignore_errors=True)
    result = staged.model
    try:
        if staged.census["stage"] == "lora":
            result.save_pretrained(out / "adapter")
            result = result.merge_and_unload()
        for part in (result.config, result.config.get_text_config()):
            part.use_cache = True
        vlm.save(partial, result)
        write_atomic(partial / "README.md", card)
        shutil.rmtree(out / "model", ignore_errors=True)
        os.replace(partial, out / "model")
    except (OSError, SafetensorError) as e:
        raise VisiftError(
            f"cannot write the model ({e})", where=out / "model", remedy="free some space and run again"
        ) from e


def _finish(staged: Staged, plan: Plan, out: Path, steps: int, model: str, seconds: float) -> None:
    done = {
        "model": str(out / "model"), "base": model, "stage": staged.census["stage"], "steps": steps, "visift": visift.__version__,
        "census": staged.census, "plan": plan.counts, "loss": _last_loss(out), "seconds": round(seconds, 1),
    }  # fmt: skip
    write_json(out / "result.json", done)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def _last_loss(out: Path) -> float:
    """Mean of the last 20 logged steps."""
    lines = (out / "train_log.jsonl").read_text().splitlines()[-20:]
    return round(sum(json.loads(line)["loss"] for line in lines) / max(len(lines), 1), 6)


def _labels(datasets: Sequence[Dataset]) -> list[str]:
    """A name for each dataset in the log: its folder's, made unique."""
    names = [d.path.resolve().name for d in datasets]
    return [n if names.count(n) == 1 else f"{n}-{k}" for k, n in enumerate(names)]


def keep_freed_memory() -> None:
    """glibc hands every large tensor's pages back to the system and faults them in again; keeping them is 6 % of a CPU step."""
    if sys.platform == "linux" and not torch.cuda.is_available():
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # another C library
            return
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)
