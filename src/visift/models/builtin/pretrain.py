"""Make the base weights of the built-in model from nothing: lessons without end, text loss plus dense patch labels.

The lessons are drawn as training goes (no picture is seen twice), so this is a loop of its own and not the Trainer's.
Runs on one CPU thread in hours, or on a GPU in minutes; `visift run recipes/builtin_base.yaml` calls it.
"""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from visift.core.errors import VisiftError
from visift.core.files import write_json
from visift.core.progress import progress
from visift.core.seeds import rng, seed_of
from visift.models.builtin import lessons, signs
from visift.models.builtin.architecture import fresh_model, save
from visift.models.builtin.lessons import Row
from visift.models.builtin.tokenizer import ASSISTANT, BOS, END, IMAGE, USER, train_tokenizer
from visift.models.load import load
from visift.models.precision import fast_bf16
from visift.sources.tabletop import COLOURS, SHAPES, SIZES, draw_things, ground, place_things

PATCHES = 49
FIRST_PATCH = 2  # position of a row's first picture token: <s>, <|user|>, then the pictures
POINTING = ((2, 0), (3, 0), (3, 1), (4, 0))  # layer, head: the attention heads that are taught where to look
CLASSES = (1 + len(SHAPES), 1 + len(COLOURS), 1 + len(SIZES), len(signs.SIGNS))
SORT_OVER = 8  # batches whose rows are sorted by length together: little padding


class PretrainSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = 9000
    batch_size: int = 32
    only_seen: int = (
        32  # further rows a step of which nothing is asked: their pictures teach the vision tower by their labels
    )
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: int = 200
    decay: float = 0.3  # share of the steps at the end over which the rate falls to zero
    simple: float = 0.12  # share of the steps at the start with captions and digits only
    dense_weight: float = 0.5
    pointing_weight: float = 1.0  # of the label "look at what you are about to name"
    hard: float = 0.1  # share of scenes from levels 1 and 2
    vocab_size: int = 2048
    seed: int = 0
    start: str | None = None  # a model to go on from, with a fresh optimiser; None: from nothing
    threads: int = 1
    workers: int = 0  # processes that draw the lessons; a GPU wants as many as there are cores
    device: str = "cpu"
    save_every: int = 250


def corpus(seed: int = 0, rows: int = 6000) -> Iterator[str]:
    """Text for the tokenizer: lessons, and the words that the other rooms' templates use."""
    for index in range(rows):
        for asked in make_row(rng("corpus", seed, index), simple=False, hard=0.0).rounds:
            yield asked.question
            yield asked.answer
    for _ in range(20):
        yield from lessons.vocabulary()


def make_row(gen: np.random.Generator, simple: bool, hard: float) -> Row:
    """One lesson. `simple` leaves only captions and digits; `hard` is the share of scenes of levels 1 and 2."""
    row, kind = Row(), gen.random()

    def scene() -> tuple[lessons.Scene, list[signs.Lettered]]:
        level = int(gen.integers(1, 3)) if gen.random() < hard else 0
        things = place_things(gen, level)
        picture = draw_things(gen, things, level)[0]
        found = signs.paste_stickers(gen, picture, things) if gen.random() < 0.6 else []
        row.pictures.append(picture)
        row.labels.append(signs.patch_labels(things, [(f.sign, f.x, f.y) for f in found]))
        return lessons.scene_of(things), found

    if kind < (0.35 if simple else 0.28):
        things = place_things(gen, 0)[: int(gen.integers(0, 4))]
        picture = draw_things(gen, things, 0)[0] if things else np.clip(ground(gen), 0, 255).astype(np.uint8)
        digits = signs.paste_digits(gen, picture, [(t.x, t.y, t.diameter // 2 + 1) for t in things])
        row.pictures.append(picture)
        row.labels.append(signs.patch_labels(things, digits))
        row.rounds = signs.digit_rounds(gen, digits)
        if things:
            row.rounds.append(lessons.described(gen, lessons.scene_of(things)))
    elif simple:
        row.rounds = [lessons.described(gen, scene()[0])]
    elif kind < 0.35:
        row.rounds = lessons.several_pictures(gen, [scene()[0] for _ in range(int(gen.integers(2, 5)))])
    elif kind < 0.37:
        row.rounds = [lessons.difference_sentences(gen)]
    else:
        one, found = scene()
        read = signs.letter_rounds(gen, one, found)
        row.rounds = lessons.one_picture(gen, one, int(gen.integers(1, 4) if read else gen.integers(3, 9)))
        at = int(gen.integers(len(row.rounds) + 1))
        row.rounds[at:at] = read
    return row


class Encoder:
    """Rows to ids and loss weights, spelled as the chat template spells them (a test holds the two together)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.pad = tokenizer.pad_token_id
        self.seen: dict[str, tuple[list[int], list[int]]] = {}
        self.one = {t: tokenizer.convert_tokens_to_ids(t) for t in (BOS, END, IMAGE, USER, ASSISTANT)}

    def text(self, text: str) -> tuple[list[int], list[int]]:
        """ids, and behind which character of the text each ends."""
        if text not in self.seen:
            told = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            if len(self.seen) > 100_000:
                self.seen.clear()
            self.seen[text] = (told["input_ids"], [end for _, end in told["offset_mapping"]])
        return self.seen[text]

    def __call__(self, row: Row) -> tuple[list[int], list[float], list[tuple[int, tuple[int, ...]]]]:
        """ids and loss weights, both (T,), and where to look: (position of a token, positions of patches).

        Weights are 0 where nothing is learnt; those of one answer sum to 1, so that a caption of thirty tokens does not
        drown an answer of one.
        """
        ids, weights, looks = [self.one[BOS]], [0.0], []
        for k, (question, answer, asked_looks) in enumerate(row.rounds):
            pictures = [self.one[IMAGE]] * PATCHES * len(row.pictures) if k == 0 else []
            prompt = [self.one[USER], *pictures, *self.text(question)[0], self.one[ASSISTANT]]
            answer_ids, ends = self.text(answer)
            reply = [*answer_ids, self.one[END]]
            ids += prompt
            for character, cells in asked_looks:  # the token before the one that holds the character
                looks.append((len(ids) - 1 + bisect_right(ends, character), tuple(FIRST_PATCH + c for c in cells)))
            ids += reply
            weights += [0.0] * len(prompt) + [1 / len(reply)] * len(reply)
        return ids, weights, looks


class Groups(Dataset[list[dict[str, torch.Tensor]]]):
    """Group `index` holds the batches of steps SORT_OVER * index and after: the same in every run."""

    def __init__(self, settings: PretrainSettings, encode: Encoder) -> None:
        self.settings, self.encode = settings, encode

    def __len__(self) -> int:
        return math.ceil(self.settings.steps / SORT_OVER)

    def __getitem__(self, index: int) -> list[dict[str, torch.Tensor]]:
        s, first, rows = self.settings, index * SORT_OVER, []
        for k in range(SORT_OVER * s.batch_size):
            simple = first + k // s.batch_size < s.simple * s.steps
            row = make_row(rng("pretrain", s.seed, index, k), simple, s.hard)
            rows.append((*self.encode(row), row))
        rows.sort(key=lambda r: len(r[0]))
        order = rng("order", s.seed, index).permutation(SORT_OVER)
        return [
            collate(
                rows[k * s.batch_size : (k + 1) * s.batch_size],
                self.encode.pad,
                [make_row(rng("seen", s.seed, index, k, n), False, s.hard) for n in range(s.only_seen)],
            )
            for k in order.tolist()
        ]


def batches(settings: PretrainSettings, encode: Encoder, start: int) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of steps `start` to the last, drawn by `settings.workers` processes (0: in this one)."""
    groups = Groups(settings, encode)
    todo = range(start // SORT_OVER, len(groups))
    skip = start % SORT_OVER
    for group in DataLoader(groups, batch_size=None, sampler=todo, num_workers=settings.workers):
        yield from group[skip:]
        skip = 0


def collate(rows: list[Any], pad: int, only_seen: Sequence[Row] = ()) -> dict[str, torch.Tensor]:
    """Rows as (ids, weights, looks, Row), padded on the right; behind their pictures those of the rows only seen."""
    drawn = [*(row for *_, row in rows), *only_seen]
    width = max(len(ids) for ids, *_ in rows)
    looks = [(b, at, cells) for b, (_, _, found, _) in enumerate(rows) for at, cells in found]
    pointed = torch.zeros(len(looks), width, dtype=torch.bool)
    for k, (_, _, cells) in enumerate(looks):
        pointed[k, list(cells)] = True
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, *_ in rows]),  # (B, T)
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, *_ in rows]),
        "weights": torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights, *_ in rows]),
        "pixels": torch.from_numpy(np.stack([p for row in drawn for p in row.pictures])),  # uint8 (P, S, S, 3)
        "pointing": torch.tensor([(b, at) for b, at, _ in looks]).view(-1, 2),  # (L, 2)
        "pointed": pointed,  # (L, T)
        "dense": torch.from_numpy(np.stack([x for row in drawn for x in row.labels])),  # (P, patches, 4)
    }


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
    """Weighted mean of the text loss, mean dense loss per patch, mean pointing loss. Logits only where there is a weight."""
    pixels = batch["pixels"].permute(0, 3, 1, 2).float() / 127.5 - 1  # (P, 3, S, S) in -1..1
    features = model.model.vision_tower(pixels.contiguous()).last_hidden_state  # (P, patches, D)
    embeds = model.get_input_embeddings()(batch["input_ids"])  # (B, T, D)
    at = (batch["input_ids"] == model.config.image_token_id).unsqueeze(-1).expand_as(embeds)
    told = int(at[..., 0].sum()) // PATCHES  # pictures that text is about; those behind them have labels alone
    projected = model.model.multi_modal_projector(features[:told]).to(embeds.dtype)
    embeds = embeds.masked_scatter(at, projected)
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=batch["attention_mask"], use_cache=False)
    weights = batch["weights"][:, 1:]  # (B, T-1)
    keep = weights > 0
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][keep])  # (learnt, V)
    each = nn.functional.cross_entropy(logits.float(), batch["input_ids"][:, 1:][keep], reduction="none")
    text = (each * weights[keep]).sum() / weights.sum()
    seen = [head(features).float() for head in heads]
    seen[3] = of_its_kind(seen[3], batch["dense"][..., 3])
    dense = sum(_dense(logits, batch["dense"][..., k]) for k, logits in enumerate(seen))
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
    """Warm-up, constant, then linear decay."""
    tail = s.steps * s.decay
    return s.lr * min(1.0, (step + 1) / s.warmup, max(0.0, (s.steps - step) / tail))


def pretrain(out: Path, settings: PretrainSettings) -> dict[str, float]:
    """Train into `out` (a Hugging Face folder, fp16), from nothing or from `settings.start`, and return the last losses.

    Resumes from out/state.pt.
    """
    torch.set_num_threads(settings.threads)
    out.mkdir(parents=True, exist_ok=True)
    before = load(settings.start) if settings.start else None
    if not (out / "tokenizer.json").exists():  # a resumed run keeps the one it began with
        made = before.tokenizer if before else train_tokenizer(corpus(settings.seed), settings.vocab_size)
        made.save_pretrained(out)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    model = fresh_model(tokenizer, seed_of("model", settings.seed) % 2**31).to(settings.device)
    if before:
        model.load_state_dict(before.model.state_dict())
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
    sums = {"text": 0.0, "dense": 0.0, "pointing": 0.0, "rows": 0}
    begun = time.monotonic()
    log = (out / "pretrain_log.jsonl").open("a")
    with progress("pretrain", settings.steps, "steps", done=start) as tick, log:
        for step, batch in zip(
            range(start, settings.steps), batches(settings, Encoder(tokenizer), start), strict=False
        ):
            batch = {k: v.to(settings.device) for k, v in batch.items()}
            for group in optimiser.param_groups:
                group["lr"] = rate(step, settings)
            with torch.autocast(kind, torch.bfloat16, enabled=bf16):
                text, dense, pointing = losses(model, heads, batch, pointer)
            (text + settings.dense_weight * dense + settings.pointing_weight * pointing).backward()
            nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if not torch.isfinite(text):
                raise VisiftError(
                    f"the loss is {text.item()} at step {step}", where=out, remedy="lower the learning rate"
                )
            sums["text"] += text.item()
            sums["dense"] += dense.item()
            sums["pointing"] += pointing.item()
            sums["rows"] += len(batch["input_ids"])
            if (step + 1) % 50 == 0:
                row = {
                    "step": step + 1, "text": round(sums["text"] / 50, 4), "dense": round(sums["dense"] / 50, 4),
                    "pointing": round(sums["pointing"] / 50, 4),
                    "rows_per_s": round(sums["rows"] / (time.monotonic() - begun), 1),
                }  # fmt: skip
                log.write(json.dumps(row) + "\n")
                log.flush()
                sums, begun = {"text": 0.0, "dense": 0.0, "pointing": 0.0, "rows": 0}, time.monotonic()
            tick(1, f"text {text.item():.3f} dense {dense.item():.3f}")
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
    result = {"text_loss": text.item(), "dense_loss": dense.item()}
    write_json(out / "pretrain.json", {"settings": settings.model_dump(), **result})
    save(model, tokenizer, out)
    return result
