"""`transformers.Trainer` with our batches, loss, schedule, log and checkpoints; everything else of it stays as it is."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from visift.core.errors import UsageError, VisiftError
from visift.core.files import appending, cut_log
from visift.core.progress import Ticker
from visift.models import vpgc
from visift.train import checkpoint, sharding
from visift.train.flops import Work
from visift.train.lr_schedule import factor
from visift.train.rows import IGNORE, Collator, MicroBatches, Rows
from visift.train.settings import TrainSettings
from visift.train.stages import Staged


class LearntPositions:
    """Hands the output layer only the positions whose next token is learnt: the loss is the same, the work less.

    `idle` names weights, as (module, attribute), that a batch may pass by: with `touch` they get a gradient of zero, not
    none. It is asked for in here because sharded weights are whole only while the model runs.
    """

    def __init__(self, head: torch.nn.Module, idle: Sequence[tuple[torch.nn.Module, str]] = ()) -> None:
        self.keep: torch.Tensor | None = None  # bool (B, T - 1)
        self.idle, self.touch = list(idle), False
        head.register_forward_pre_hook(self._select)

    def _select(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor] | None:
        if self.keep is None:
            return None
        hidden = args[0][:, :-1][self.keep]  # (B, T, H) -> (learnt, H)
        return (hidden + sum(getattr(m, name).sum() * 0.0 for m, name in self.idle) if self.touch else hidden,)


class StepLog(TrainerCallback):
    """One JSON line a step in train_log.jsonl, and the progress bar. After a resume the lines of lost steps are dropped, and
    the line that a kill or a full disk tore. Raises DataError for a line that no kill leaves."""

    def __init__(self, path: Path, sources: Sequence[str], tick: Ticker, every: int, resumed_at: int) -> None:
        self.path, self.sources, self.tick, self.every = path, sources, tick, every
        self.work, self.peak = Work(0.0, 0.0), 0.0  # of all devices, operations a second; 0 = not known
        self.joint = False  # the loss is the sum of the datasets' means
        self.clear()
        if int(os.environ.get("RANK", "0")) == 0:
            cut_log(path, resumed_at)

    def _over_processes(self) -> None:
        """Sums what the processes saw of this step."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            sums = torch.tensor(
                [self.loss, self.learnt, self.real, self.places, *self.by_source.ravel()], dtype=torch.float64
            )
            sums = sums.to("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
            torch.distributed.all_reduce(sums)
            self.loss, *counts = sums[:4].tolist()
            self.learnt, self.real, self.places = map(int, counts)
            self.by_source = sums[4:].view(2, -1).cpu().numpy()

    def clear(self) -> None:
        self.loss, self.learnt, self.real, self.places = 0.0, 0, 0, 0
        self.by_source = np.zeros((2, len(self.sources)))
        self.waited, self.started, self.grad_norm, self.lr = 0.0, time.perf_counter(), 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every and state.global_step != state.max_steps:
            self.tick(1)
            return
        self._over_processes()
        if not state.is_world_process_zero:
            self.clear()
            return
        seconds = time.perf_counter() - self.started
        row = {
            "step": state.global_step, "loss": self.loss / max(self.learnt, 1), "lr": self.lr, "grad_norm": self.grad_norm,
            "learnt": self.learnt, "tokens": self.real, "padding": round(1 - self.real / max(self.places, 1), 4),
            "tokens_per_s": round(self.real / seconds), "data_wait": round(self.waited / seconds, 4), "seconds": round(seconds, 4),
        }  # fmt: skip
        if len(self.sources) > 1:
            row["sources"] = {n: s / c for n, s, c in zip(self.sources, *self.by_source.tolist(), strict=True) if c}
            if self.joint:
                row["loss"] = sum(row["sources"].values())
        if self.peak:
            row["mfu"] = round(self.work.of(self.real, self.learnt) / seconds / self.peak, 4)
        with appending(self.path) as add:
            add(json.dumps(row).encode() + b"\n")
        self.tick(1, note_of(row))
        self.clear()


def note_of(row: dict[str, Any]) -> str:
    """A logged step in the words of the progress line."""
    parts = ", ".join(f"{name} {loss:.3f}" for name, loss in row.get("sources", {}).items())
    used = f", MFU {row['mfu']:.1%}" if "mfu" in row else ""
    return (
        f"loss {row['loss']:.3f}{f' ({parts})' if parts else ''}, {row['tokens_per_s']:,} tokens/s{used}, "
        f"padding {row['padding']:.1%}, waits for data {row['data_wait']:.1%}"
    )


class VlmTrainer(Trainer):
    """Trains a staged model on planned batches.

    The loss of a step is the sum over all learnt tokens of the step divided by their number, whatever the micro-batches
    and processes. Raises VisiftError with the rows' ids on a loss that is no number and on a batch without labels.
    """

    def __init__(
        self, staged: Staged, args: TrainingArguments, settings: TrainSettings, rows: Rows, collator: Collator,
        batches: np.ndarray, log: StepLog, checkpoints: Path, start: int,
    ) -> None:  # fmt: skip
        super().__init__(model=staged.model, args=args, train_dataset=rows, data_collator=collator, callbacks=[log])
        if self.is_deepspeed_enabled:
            raise UsageError(
                "DeepSpeed is not supported", remedy="shard with FSDP2: accelerate launch --use_fsdp --fsdp_version 2"
            )
        self.staged, self.settings, self.batches = staged, settings, batches
        self.step_log, self.checkpoints, self.start = log, checkpoints, start
        if self.is_fsdp_enabled:
            sharding.prepare(self.accelerator, staged.model)
        seeing = [n for n, part in staged.parts.items() if part != "llm"]
        idle = [(staged.model.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in seeing]
        self.positions = LearntPositions(staged.model.get_output_embeddings(), idle)
        self.model_accepts_loss_kwargs = True  # so that the step's number of learnt tokens is counted
        self.loss_is_scaled_for_ga = True  # and the loss below already divided by it

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = sharding.asked_for(self.accelerator)

    def get_train_dataloader(self) -> DataLoader:
        world, rank = self.args.world_size, self.args.process_index
        sampler = MicroBatches(self.batches, self.args.per_device_train_batch_size, self.start, rank, world)
        workers = self.settings.workers
        return DataLoader(
            self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator, num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # its own: the global one belongs to dropout
        )  # fmt: skip

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        before = time.perf_counter()
        found = super().get_batch_samples(*args, **kwargs)
        self.step_log.waited += time.perf_counter() - before
        return found

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        for module in self.staged.frozen:
            module.eval()
        inputs = dict(inputs)
        labels, ids, sources, real = (inputs.pop(k) for k in ("labels", "row_ids", "sources", "real"))
        learnt = labels[:, 1:] != IGNORE  # (B, T - 1)
        if not learnt.any():
            raise VisiftError("no token of the batch is learnt", where=f"rows {', '.join(ids[:8])}")
        guided = vpgc.guided(self.staged.model, inputs | {"labels": labels})
        self.positions.keep = learnt
        # text only: whatever sees pictures is passed by; and several processes wait for every gradient
        self.positions.touch = "pixel_values" not in inputs or self.args.world_size > 1
        try:
            outputs = model(**inputs, **guided, use_cache=False)
        finally:
            self.positions.keep = None
        each = F.cross_entropy(outputs.logits.float(), labels[:, 1:][learnt], reduction="none")  # (learnt,)
        of = sources.expand_as(learnt)[learnt]  # (learnt,): from which dataset
        if self.settings.joint:
            loss = (each / self._learnt_by_source()[of]).sum()
        else:
            loss = each.sum() / num_items_in_batch
        self._note(each.detach(), of, ids, real, labels.numel())
        if self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return (loss, outputs) if return_outputs else loss

    def _learnt_by_source(self) -> torch.Tensor:
        """Learnt tokens of each dataset in this step, over all its micro-batches and processes, float (datasets,)."""
        rows, plan = self.batches[self.state.global_step], self.train_dataset.plan
        counts = np.bincount(plan.source[rows], plan.learnt[rows], len(self.settings.joint))
        return torch.tensor(counts, dtype=torch.float32, device=self.args.device)

    def _note(self, each: torch.Tensor, of: torch.Tensor, ids: list[str], real: int, places: int) -> None:
        log, total = self.step_log, float(each.sum())
        if not math.isfinite(total):
            raise VisiftError(
                f"the loss is {total} at step {self.state.global_step + 1}", where=f"rows {', '.join(ids[:8])}",
                remedy="lower lr, raise warmup, or look at these rows; the last checkpoint is whole",
            )  # fmt: skip
        log.loss += total
        log.learnt += len(each)
        log.real += real
        log.places += places
        log.lr = self.settings.lr * factor(self.settings, self.state.max_steps, self.state.global_step)
        if len(log.sources) > 1:
            each_of, values = of.cpu().numpy(), each.cpu().numpy()
            log.by_source += [np.bincount(each_of, w, len(log.sources)) for w in (values, None)]

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            target = model or self.model
            decayed = set(self.get_decay_parameter_names(target))
            groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
            for name, parameter in target.named_parameters():
                if parameter.requires_grad:
                    rate = self.settings.module_lr.get(
                        self.staged.parts[name.removeprefix("module.")], self.settings.lr
                    )
                    groups.setdefault((rate, self.settings.weight_decay if name in decayed else 0.0), []).append(
                        parameter
                    )
            self.optimizer = torch.optim.AdamW(
                [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
                lr=self.settings.lr, betas=self.settings.betas, eps=self.settings.eps, fused=True,
            )  # fmt: skip
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: factor(self.settings, num_training_steps, step)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        self.step_log.grad_norm = float(sharding.whole(grad_norm)) if grad_norm is not None else 0.0
        return grad_norm

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # it would walk the whole model each step

    # ---- checkpoints: ours, see checkpoint.py ----

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        states = checkpoint.random_tensors()  # of every process
        weights, moments = checkpoint.trained_whole(self.model), checkpoint.optimizer_tensors(self.optimizer)
        if self.args.should_save:
            checkpoint.save(self.checkpoints, self.state.global_step, weights, moments, self.state, states)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint.load_weights(Path(resume_from_checkpoint), model or self.model)

    def _load_optimizer_and_scheduler(self, checkpoint_folder: str | None) -> None:
        if checkpoint_folder is None:
            return
        checkpoint.load_optimizer(Path(checkpoint_folder), self.optimizer)
        scheduler, step = self.lr_scheduler, self.start
        scheduler.last_epoch, scheduler._step_count = step, step + 1
        rates = [base * factor(self.settings, self.state.max_steps, step) for base in scheduler.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates

    def _load_rng_state(self, checkpoint_folder: str | None) -> None:
        if checkpoint_folder is not None:
            checkpoint.load_random(Path(checkpoint_folder), self.args.process_index)

    # ---- the hub: Trainer's upload, of the result as it lies on disk ----

    def upload(self, folder: Path) -> None:
        """Trainer's `push_to_hub` of `folder` to `hub_model_id`. Raises VisiftError when the hub does not take it."""
        self.args.output_dir = str(folder)
        try:
            self.push_to_hub()
        except (OSError, httpx.HTTPError) as e:
            raise VisiftError(
                f"the hub does not take the model ({e})", where=self.args.hub_model_id,
                remedy="log in (hf auth login) and run the same command again: only the upload is left to do",
            ) from e  # fmt: skip

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Nothing: `run` has written the result, merged and under names that load."""

    def create_model_card(self, *given: Any, **named: Any) -> None:
        """Nothing: the result has its card."""
