"""What VPG-C costs: prefill time with and without the adapter (both variants), and training samples a second of stage vpgc
beside full fine-tuning, LLaVA's (stage sft) and LoRA on the same rows, in one run.

Random 135M-class VLMs (30 x 576 LM; ViT 12 x 384), two pictures and some 60 words a row, AdamW, float32 on CPU or bf16 on
a GPU. On a CPU seconds are the process's own (with one thread the wall's on an idle machine), so that neighbours disturb
little. Usage: OMP_NUM_THREADS=1 python bench/vpgc.py [--steps 3] [--rounds 2] [--repeats 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rig import WORDS, clock, make_model, noise, step_ends
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, LlamaConfig

from visift.core.dataset import Dataset, Made, build
from visift.core.seeds import rng
from visift.core.types import Conversation, Provenance, assistant, user
from visift.models import Renderer, load, vpgc
from visift.models.pictures import Pictures
from visift.train.run import train
from visift.train.settings import TrainSettings

STAGES = ("full", "sft", "lora", "vpgc")


def make_rows(folder: Path, count: int) -> None:
    """What changed between two pictures: some 200 tokens, 128 of them visual."""

    def make(k: int) -> Made:
        random = rng("bench vpgc", k)
        pictures = tuple(noise(folder, f"{k}-{j}", random, 112) for j in range(2))
        said = [" ".join(random.choice(WORDS, n)) for n in (20, 40)]
        turns = (user(0, 1, f"What changed? {said[0]}"), assistant(said[1]))
        return Made([Conversation(f"{k}", pictures, turns, Provenance("bench"))])

    build(folder, kind="bench", items=range(count), make=make, settings={"count": count})


def instructblip() -> Any:
    torch.manual_seed(0)
    text = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                       num_key_value_heads=3, tie_word_embeddings=True)  # fmt: skip
    config = InstructBlipConfig(
        vision_config=dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6, image_size=112,
                           patch_size=14),
        qformer_config=dict(vocab_size=1000, encoder_hidden_size=384), text_config=text, num_query_tokens=32, image_token_index=5,
    )  # fmt: skip
    return InstructBlipForConditionalGeneration(config).eval()


def blip_batch(rows: int) -> dict[str, torch.Tensor]:
    words = torch.randint(6, 900, (rows, 70))
    ids = torch.cat([torch.full((rows, 64), 5), words], 1)
    asked = torch.randint(6, 900, (2 * rows, 20))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(2 * rows, 3, 112, 112),
            "qformer_input_ids": asked, "qformer_attention_mask": torch.ones_like(asked)}  # fmt: skip


def llava_batch(root: Path, rows: int) -> tuple[Any, dict[str, torch.Tensor]]:
    vlm = load(root / "model")
    dataset, renderer = Dataset(root / "data"), Renderer(vlm)
    pictures = Pictures(dataset, vlm.family)
    asked = [c for _, c in zip(range(rows), dataset, strict=False)]
    texts = [renderer.prompt(c) for c in asked]
    longest = max(len(t.input_ids) for t in texts)
    ids = torch.tensor([[0] * (longest - len(t.input_ids)) + t.input_ids for t in texts])
    mask = torch.tensor([[0] * (longest - len(t.input_ids)) + [1] * len(t.input_ids) for t in texts])
    pixels = vlm.family.batch([pictures.of(c, t.slots) for c, t in zip(asked, texts, strict=True)])
    return vlm.model, {"input_ids": ids, "attention_mask": mask, **pixels}


def timed(work: Callable[[], Any]) -> float:
    started = clock()
    work()
    return clock() - started


def prefill(model: Any, batch: dict[str, torch.Tensor], repeats: int) -> dict[str, float]:
    """Seconds of one generated token without and with the adapter, in turns; the share is the median of the pairs."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    given = {k: v.to(device, model.dtype) if v.is_floating_point() else v.to(device) for k, v in batch.items()}

    def work() -> Any:
        return model.generate(**given, max_new_tokens=1, do_sample=False, pad_token_id=0)

    pairs = []
    for _ in range(repeats + 1):  # the first warms up
        without = timed(work)
        adapter = vpgc.attach(model)
        pairs.append((without, timed(work)))
        census = adapter.census()["total"]
        adapter.remove()
    pairs = pairs[1:]
    return {"seconds": statistics.median(a for a, _ in pairs), "overhead": statistics.median(b / a for a, b in pairs) - 1,
            "best": min(b for _, b in pairs) / min(a for a, _ in pairs) - 1, "parameters": census}  # fmt: skip


def training(root: Path, settings: TrainSettings, rounds: int) -> dict[str, float]:
    """Samples a second of each stage: its fastest step but the first, over rounds in turns."""
    best: dict[str, float] = {}
    for k in range(rounds):
        for stage in STAGES:
            with step_ends() as ends:
                train(str(root / "model"), [root / "data"], stage, root / f"{stage}-{k}", settings)
            shutil.rmtree(root / f"{stage}-{k}")
            best[stage] = max(best.get(stage, 0.0), *(settings.batch_size / (b - a) for a, b in pairwise(ends)))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    settings = TrainSettings(
        steps=args.steps, batch_size=args.batch, bf16=torch.cuda.is_available(), lr=1e-5, save_every=10**6
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model", 112)
        make_rows(root / "data", args.steps * args.batch)
        costs = {
            "linear": prefill(*llava_batch(root, args.batch), args.repeats),
            "qformer": prefill(instructblip(), blip_batch(args.batch), args.repeats),
        }
        for variant, row in costs.items():
            print(f"prefill, {variant} ({row['parameters']:,} parameters): {row['overhead']:+.1%} of {row['seconds']:.3f} s"
                  f" (fastest against fastest {row['best']:+.1%})", flush=True)  # fmt: skip
        speed = training(root, settings, args.rounds)
        for stage, rate in speed.items():
            print(f"stage {stage}: {rate:.3f} samples/s, vpgc is {speed['vpgc'] / rate:.2f}x")
    if args.json:
        args.json.write_text(json.dumps({"prefill": costs, "samples_per_s": speed}, indent=2) + "\n")


if __name__ == "__main__":
    main()
