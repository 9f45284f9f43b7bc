"""Make the base weights of the built-in model from nothing: lessons without end, text loss plus dense patch labels.

The lessons are drawn as training goes (no picture is seen twice), so this is a loop of its own and not the Trainer's.
First the vision tower alone learns from its labels, then the whole model from lessons. `visift run recipes/builtin_base.yaml` calls it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from visift.core.errors import VisiftError
from visift.core.files import read_json, write_json
from visift.core.progress import progress
from visift.core.seeds import seed_of
from visift.models.builtin import signs
from visift.models.builtin.architecture import fresh_model, save
from visift.models.builtin.batches import Encoder, batches, corpus
from visift.models.builtin.settings import PretrainSettings
from visift.models.builtin.tokenizer import train_tokenizer
from visift.models.load import load
from visift.models.precision import fast_bf16
from visift.sources.tabletop import COLOURS, SHAPES, SIZES

POINTING = ((2, 0), (3, 0), (3, 1), (4, 0))  # layer, head: the attention heads that are taught where to look
CLASSES = (1 + len(SHAPES), 1 + len(COLOURS), 1 + len(SIZES), len(signs.SIGNS))


class Pointer:
    """Keeps the attention weights of the taught heads of the last forward pass."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        self.weights: dict[tuple[int, int], torch.Tensor] = {}  # (layer, head) -> (B, T, T)
        for layer, head in POINTING:
            attention = model.model.language_model.layers[layer].self_attn
            attention.register_forward_hook(partial(self._keep, layer, head))

    def _keep(
        self, layer: int, head: int, module: nn.Module, args: Any, output: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        self.weights[layer, head] = output[1][:, head]

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """-log of the attention that falls on the patches of what is asked about or named next, at the token before;
        the mean over looks and taught heads."""
        row, at = batch["pointing"].unbind(1)  # (L,) each
        if not len(row):
            return batch["weights"].new_zeros(())
        fallen = torch.stack(
            [(w[row, at].float() * batch["pointed"]).sum(-1) for w in self.weights.values()]
        )  # (heads, L)
        return -(fallen + 1e-6).log().mean()


def losses(
    model: LlavaForConditionalGeneration, heads: nn.ModuleList, batch: dict[str, torch.Tensor], pointer: Pointer
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weighted mean of the text loss, mean dense loss per patch, mean pointing loss; where nothing is asked only the dense one is
    not 0. Logits only where there is a weight."""
    pixels = batch["pixels"].permute(0, 3, 1, 2).float() / 127.5 - 1  # (P, 3, S, S) in -1..1
    features = model.model.vision_tower(pixels.contiguous()).last_hidden_state  # (P, patches, D)
    seen = [head(features).float() for head in heads]
    seen[3] = of_its_kind(seen[3], batch["dense"][..., 3])
    dense = torch.stack([_dense(logits, batch["dense"][..., k]) for k, logits in enumerate(seen)]).sum()
    if "input_ids" not in batch:
        return dense.new_zeros(()), dense, dense.new_zeros(())
    embeds = model.get_input_embeddings()(batch["input_ids"])  # (B, T, D)
    at = (batch["input_ids"] == model.config.image_token_id).unsqueeze(-1).expand_as(embeds)
    embeds = embeds.masked_scatter(at, model.model.multi_modal_projector(features).to(embeds.dtype))
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=batch["attention_mask"], use_cache=False)
    weights = batch["weights"][:, 1:]  # (B, T-1)
    keep = weights > 0
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][keep])  # (learnt, V)
    each = nn.functional.cross_entropy(logits.float(), batch["input_ids"][:, 1:][keep], reduction="none")
    text = (each * weights[keep]).sum() / weights.sum()
    return text, dense, pointer.loss(batch)


def _dense(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Patches that show something count as much as the many that do not; -1 counts nowhere. logits (P, patches, C), labels
    (P, patches)."""
    each = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=-1)
    shown, empty = labels.flatten() > 0, labels.flatten() == 0
    return 0.5 * each[shown].sum() / shown.sum().clamp(min=1) + 0.5 * each[empty].sum() / empty.sum().clamp(min=1)


def of_its_kind(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The signs' logits with letters out of the question where a digit stands, and digits where a letter stands: letters stand
    on things here and digits never do, which must not teach that what stands on a thing is no digit."""
    digit = torch.arange(logits.shape[-1], device=logits.device) <= signs.MAX_DIGIT  # (C,)
    other = torch.where((labels > signs.MAX_DIGIT).unsqueeze(-1), digit, ~digit)  # (P, patches, C)
    other = other & (labels > 0).unsqueeze(-1)
    other[..., 0] = False
    return logits.masked_fill(other, float("-inf"))


def rate(step: int, s: PretrainSettings) -> float:
    """Warm-up, and once more where the lessons begin; constant, then linear decay."""
    tail, since = s.steps * s.decay, step - s.first_asked if step >= s.first_asked else step
    return s.lr * min(1.0, (since + 1) / s.warmup, max(0.0, (s.steps - step) / tail))


def pretrain(out: Path, settings: PretrainSettings) -> dict[str, float]:
    """Train into `out` (a Hugging Face folder, fp16), from nothing or from `settings.start`, and return the last losses.

    Resumes from out/state.pt. With several processes losses are those of the first one's part of the batch.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tokenizer.json").exists():  # a resumed run keeps the one it began with
        made = load(settings.start).tokenizer if settings.start else None
        (made or train_tokenizer(corpus(settings.seed), settings.vocab_size)).save_pretrained(out)
    if settings.processes == 1:
        _train(0, out, settings)
    else:
        (out / "meeting").unlink(missing_ok=True)  # of a killed run
        torch.multiprocessing.spawn(_train, (out, settings), settings.processes)
    return read_json(out / "pretrain.json")["losses"]


def _train(rank: int, out: Path, settings: PretrainSettings) -> None:
    """The loop, as process `rank` of `settings.processes`; the first one keeps the log, the state and the result."""
    torch.set_num_threads(settings.threads)
    if settings.processes > 1:
        where = f"file://{(out / 'meeting').absolute()}"
        dist.init_process_group("gloo", init_method=where, rank=rank, world_size=settings.processes)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    model = fresh_model(tokenizer, seed_of("model", settings.seed) % 2**31).to(settings.device)
    if settings.start:
        model.load_state_dict(load(settings.start).model.state_dict())
    heads = nn.ModuleList(nn.Linear(model.config.vision_config.hidden_size, n) for n in CLASSES).to(settings.device)
    pointer = Pointer(model)
    named = [*model.named_parameters(), *heads.named_parameters()]
    decayed = [p for _, p in named if p.ndim > 1]
    plain = [p for _, p in named if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
    state, start = out / "state.pt", 0
    if state.exists():
        kept = torch.load(state, map_location=settings.device, weights_only=True)
        model.load_state_dict(kept["model"])
        heads.load_state_dict(kept["heads"])
        optimiser.load_state_dict(kept["optimiser"])
        start = kept["step"]
    model.train()
    kind, bf16 = torch.device(settings.device).type, fast_bf16(settings.device)
    drawn = zip(range(start, settings.steps), batches(settings, Encoder(tokenizer), start, rank), strict=False)
    with Watch(out, settings, start) if rank == 0 else nullcontext() as watch:
        for step, batch in drawn:
            batch = {k: v.to(settings.device) for k, v in batch.items()}
            for group in optimiser.param_groups:
                group["lr"] = rate(step, settings)
            with torch.autocast(kind, torch.bfloat16, enabled=bf16):
                text, dense, pointing = losses(model, heads, batch, pointer)
            (text + settings.dense_weight * dense + settings.pointing_weight * pointing).backward()
            if settings.processes > 1:
                _average([p.grad for _, p in named if p.grad is not None], settings.processes)
            nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if not torch.isfinite(text + dense):
                raise VisiftError(
                    f"the loss is {(text + dense).item()} at step {step}", where=out, remedy="lower the learning rate"
                )
            if watch is None:
                continue
            told = {"text": text.item(), "dense": dense.item(), "pointing": pointing.item()}
            watch.note(step, told, len(batch["pixels"]))
            # never after the last step: who is killed between it and the result goes back to the state before
            if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
                part = state.with_suffix(".part")
                kept = {
                    "model": model.state_dict(),
                    "heads": heads.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                }
                torch.save(kept, part)
                part.replace(state)
    if rank == 0:
        write_json(out / "pretrain.json", {"settings": settings.model_dump(), "losses": told})
        save(model, tokenizer, out)
    if settings.processes > 1:
        dist.destroy_process_group()


def _average(grads: list[torch.Tensor], processes: int) -> None:
    """Each gradient becomes its mean over the processes."""
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for g, mean in zip(grads, (flat / processes).split([g.numel() for g in grads]), strict=True):
        g.copy_(mean.view_as(g))


class Watch:
    """The progress bar, and a line of out/pretrain_log.jsonl every 50 steps: means over them."""

    def __init__(self, out: Path, settings: PretrainSettings, start: int) -> None:
        self.log = (out / "pretrain_log.jsonl").open("a")
        self.bar = progress("pretrain", settings.steps, "steps", done=start)
        self.processes, self.sums = settings.processes, Counter[str]()

    def __enter__(self) -> Self:
        self.tick, self.begun = self.bar.__enter__(), time.monotonic()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.bar.__exit__(*raised)
        self.log.close()

    def note(self, step: int, losses: dict[str, float], pictures: int) -> None:
        self.sums.update({**losses, "pictures": pictures * self.processes})
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - self.begun
            means = {name: round(self.sums[name] / 50, 4) for name in losses}
            row = {"step": step + 1, **means, "pictures_per_s": round(self.sums["pictures"] / seconds, 1)}
            self.log.write(json.dumps(row) + "\n")
            self.log.flush()
            self.sums, self.begun = Counter(), time.monotonic()
        self.tick(1, f"text {losses['text']:.3f} dense {losses['dense']:.3f}")
