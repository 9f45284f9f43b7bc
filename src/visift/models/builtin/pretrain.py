"""Make the base weights of the built-in model from nothing: lessons without end, text loss plus dense patch labels.

The lessons are drawn as training goes (no picture is seen twice), so this is a loop of its own and not the Trainer's.
First the tower and the projector learn what each patch shows, then the model tells what it sees, then it is asked everything. `visift run recipes/builtin_base.yaml` calls it.
"""

from __future__ import annotations

import io
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

from visift.core.errors import UsageError, VisiftError
from visift.core.files import appending, cut_log, read_json, write_atomic, write_json
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

# layer, head: attention heads that are taught where to look
POINTING = ((2, 0), (3, 0), (3, 1), (4, 0))  # before an answer, or a name in it: at what it is about
FINDING = ((1, 0), (2, 1))  # from the word for a shape, a colour, a size or a sign: at the patches that show it
GATHERING = ((1, 1), (3, 2))  # before an answer: at such words in its question
LABELS = (SHAPES, tuple(COLOURS), tuple(SIZES), signs.SIGNS[1:])  # what a patch may show; class 0 of each is nothing


class Pointer:
    """Keeps the attention weights of the taught heads of the last forward pass."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        self.weights: dict[tuple[int, int], torch.Tensor] = {}  # (layer, head) -> (B, T, T)
        for layer, head in POINTING + FINDING + GATHERING:
            attention = model.model.language_model.layers[layer].self_attn
            attention.register_forward_hook(partial(self._keep, layer, head))

    def _keep(
        self, layer: int, head: int, module: nn.Module, args: Any, output: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        self.weights[layer, head] = output[1][:, head]

    def pointing(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """-log of the attention that falls on the patches of what is asked about or named next, at the token before;
        the mean over looks and taught heads."""
        return self._fallen(POINTING, batch["pointing"], batch["pointed"])

    def finding(self, batch: dict[str, torch.Tensor], shown: torch.Tensor) -> torch.Tensor:
        """-log of the attention from each word of a label on the patches of the row's pictures that show it; the mean over
        words that have such patches. shown (V, 2): the label and class of a token, -1 where it is none."""
        ids, pictures = batch["input_ids"], batch["is_picture"]  # (B, T)
        dense = torch.zeros(*ids.shape, len(LABELS), dtype=torch.long, device=ids.device)
        dense[pictures] = batch["dense"].flatten(0, 1)  # (B, T, labels)
        at = (shown[ids][..., 0] >= 0).nonzero()  # (L, 2)
        label, kind = shown[ids[at[:, 0], at[:, 1]]].unbind(-1)  # (L,)
        found = dense[at[:, 0], :, label] == kind.unsqueeze(1)  # (L, T)
        some = found.any(1)
        return self._fallen(FINDING, at[some], found[some])

    def gathering(self, batch: dict[str, torch.Tensor], shown: torch.Tensor) -> torch.Tensor:
        """-log of the attention from where an answer begins on the words of labels in its question; the mean over questions
        that have such words. shown as for `finding`."""
        words = (shown[batch["input_ids"]][..., 0] >= 0)[batch["asking"][:, 0]] & batch["question"]  # (Q, T)
        some = words.any(1)
        return self._fallen(GATHERING, batch["asking"][some], words[some])

    def _fallen(self, heads: tuple[tuple[int, int], ...], at: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """at (L, 2): row and position that looks; cells bool (L, T): where it should."""
        if not len(at):
            return cells.new_zeros((), dtype=torch.float32)
        row, position = at.unbind(1)
        fallen = torch.stack([(self.weights[h][row, position].float() * cells).sum(-1) for h in heads])  # (heads, L)
        return -(fallen + 1e-6).log().mean()


class Words(nn.Module):
    """Names what a patch shows by likeness to the model's own words: its place in the embedding against those of ` red`, ` moon`, …

    So tower and projector lay a red moon where these words lie, and the language model can find by content what a question
    names. With labels on the tower alone it has to discover that likeness, which took thousands of steps (docs/notebook.md).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, width: int) -> None:
        super().__init__()
        self.ids = [[_token_of(tokenizer, word) for word in words] for words in LABELS]
        self.none = nn.Parameter(0.02 * torch.randn(len(LABELS), width))
        self.scale = nn.Parameter(torch.zeros(len(LABELS)))
        self.shown = torch.full((len(tokenizer), 2), -1)  # token -> label, class; -1 of other tokens
        for label, ids in enumerate(self.ids):
            for kind, token in enumerate(ids, 1):
                self.shown[token] = torch.tensor([label, kind])

    def forward(self, projected: torch.Tensor, embedding: torch.Tensor) -> list[torch.Tensor]:
        """projected (P, patches, D), embedding (V, D) -> logits (P, patches, classes) of each label."""
        x = nn.functional.layer_norm(projected, projected.shape[-1:])
        logits = []
        for none, scale, ids in zip(self.none, self.scale, self.ids, strict=True):
            words = nn.functional.normalize(torch.cat([none.unsqueeze(0), embedding[ids]]), dim=-1)  # (classes, D)
            logits.append((scale.exp() * x @ words.T).float())
        return logits


def _token_of(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    """The one token of a word within a sentence (of a digit, the digit's)."""
    token = tokenizer(f" {word}", add_special_tokens=False)["input_ids"][-1]
    if tokenizer.decode(token).strip() != word:
        raise UsageError(f"the tokenizer has no token for {word!r}", remedy="raise pretrain.vocab_size")
    return int(token)


def losses(
    model: LlavaForConditionalGeneration, words: Words, batch: dict[str, torch.Tensor], pointer: Pointer
) -> dict[str, torch.Tensor]:
    """text: weighted mean over answers' tokens. dense: mean per patch, of the labels. pointing, finding, gathering: see
    `Pointer`. Where nothing is asked there is the dense one alone. Logits only where there is a weight."""
    pixels = batch["pixels"].permute(0, 3, 1, 2).float() / 127.5 - 1  # (P, 3, S, S) in -1..1
    features = model.model.vision_tower(pixels.contiguous()).last_hidden_state  # (P, patches, D)
    projected = model.model.multi_modal_projector(features)  # (P, patches, D)
    seen = words(projected, model.get_input_embeddings().weight)
    seen[3] = of_its_kind(seen[3], batch["dense"][..., 3])
    dense = torch.stack([_dense(logits, batch["dense"][..., k]) for k, logits in enumerate(seen)]).sum()
    if "input_ids" not in batch:
        return {"dense": dense}
    embeds = model.get_input_embeddings()(batch["input_ids"])  # (B, T, D)
    at = batch["is_picture"].unsqueeze(-1).expand_as(embeds)
    embeds = embeds.masked_scatter(at, projected.to(embeds.dtype))
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=batch["attention_mask"], use_cache=False)
    weights = batch["weights"][:, 1:]  # (B, T-1)
    keep = weights > 0
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][keep])  # (learnt, V)
    each = nn.functional.cross_entropy(logits.float(), batch["input_ids"][:, 1:][keep], reduction="none")
    text = (each * weights[keep]).sum() / weights.sum()
    shown = words.shown.to(text.device)
    return {
        "text": text, "dense": dense, "pointing": pointer.pointing(batch), "finding": pointer.finding(batch, shown),
        "gathering": pointer.gathering(batch, shown),
    }  # fmt: skip


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

    Resumes from out/state.pt, which is gone at the end. With several processes losses are those of the first one's part of the
    batch. Raises UsageError where `out` holds one made with other settings, VisiftError on a full disk and a loss that is no number.
    """
    done = out / "pretrain.json"
    if not done.exists():
        _begin(out, settings)
    made = read_json(done)
    if made["settings"] != settings.model_dump(mode="json"):
        raise UsageError(
            "holds a model made with other settings", where=out, remedy="choose another folder or remove it"
        )
    for left in ("state.pt", "meeting"):
        (out / left).unlink(missing_ok=True)
    return made["losses"]


def _begin(out: Path, settings: PretrainSettings) -> None:
    """Make the tokenizer where there is none yet, and start the processes."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tokenizer.json").exists():  # a resumed run keeps the one it began with
        made = load(settings.start).tokenizer if settings.start else None
        (made or train_tokenizer(corpus(settings.seed), settings.vocab_size)).save_pretrained(out)
    if settings.processes == 1:
        _train(0, out, settings)
    else:
        (out / "meeting").unlink(missing_ok=True)  # of a killed run
        try:
            torch.multiprocessing.spawn(_train, (out, settings), settings.processes)
        except torch.multiprocessing.ProcessRaisedException as e:  # its message is the other process's whole traceback
            raise VisiftError(str(e).strip().splitlines()[-1]) from e


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
    words = Words(tokenizer, model.config.text_config.hidden_size).to(settings.device)
    pointer = Pointer(model)
    named = [*model.named_parameters(), *words.named_parameters()]
    decayed = [p for _, p in named if p.ndim > 1]
    plain = [p for _, p in named if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
    state, start = out / "state.pt", 0
    if state.exists():
        kept = torch.load(state, map_location=settings.device, weights_only=True)
        model.load_state_dict(kept["model"])
        words.load_state_dict(kept["words"])
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
                found = losses(model, words, batch, pointer)
            loss = sum(part * (settings.dense_weight if name == "dense" else 1.0) for name, part in found.items())
            loss.backward()
            if settings.processes > 1:
                _average([p.grad for _, p in named if p.grad is not None], settings.processes)
            nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if not torch.isfinite(loss):
                raise VisiftError(
                    f"the loss is {loss.item()} at step {step}", where=out, remedy="lower the learning rate"
                )
            if watch is None:
                continue
            told = {name: part.item() for name, part in found.items()}
            watch.note(step, told, len(batch["pixels"]))
            # never after the last step: who is killed between it and the result goes back to the state before
            if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
                kept = {
                    "model": model.state_dict(),
                    "words": words.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                }
                buffer = io.BytesIO()  # torch tells of a full disk in words of its own
                torch.save(kept, buffer)
                write_atomic(state, buffer.getvalue())
    if rank == 0:
        save(model, tokenizer, out)
        write_json(out / "pretrain.json", {"settings": settings.model_dump(mode="json"), "losses": told})
    if settings.processes > 1:
        dist.destroy_process_group()


def _average(grads: list[torch.Tensor], processes: int) -> None:
    """Each gradient becomes its mean over the processes. DistributedDataParallel would want one `forward`; `losses` calls parts."""
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for g, mean in zip(grads, (flat / processes).split([g.numel() for g in grads]), strict=True):
        g.copy_(mean.view_as(g))


class Watch:
    """The progress bar, and a line of out/pretrain_log.jsonl every 50 steps: means over them."""

    def __init__(self, out: Path, settings: PretrainSettings, start: int) -> None:
        self.log = out / "pretrain_log.jsonl"
        cut_log(self.log, start)
        self.bar = progress("pretrain", settings.steps, "steps", done=start)
        self.processes, self.sums, self.steps = settings.processes, Counter[str](), Counter[str]()

    def __enter__(self) -> Self:
        self.tick, self.begun = self.bar.__enter__(), time.monotonic()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.bar.__exit__(*raised)

    def note(self, step: int, losses: dict[str, float], pictures: int) -> None:
        self.sums.update({**losses, "pictures": pictures * self.processes})
        self.steps.update(losses.keys())
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - self.begun
            means = {name: round(self.sums[name] / n, 4) for name, n in self.steps.items()}
            row = {"step": step + 1, **means, "pictures_per_s": round(self.sums["pictures"] / seconds, 1)}
            with appending(self.log) as add:
                add(json.dumps(row).encode() + b"\n")
            self.sums, self.steps, self.begun = Counter(), Counter(), time.monotonic()
        self.tick(1, " ".join(f"{name} {loss:.2f}" for name, loss in losses.items()))
