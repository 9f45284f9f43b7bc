"""Real tokens a second while fine-tuning, on the same rows in one run: trl.SFTTrainer unpacked (where trl is installed),
transformers.Trainer on batches grouped by length, and ours both ways.

A random 135M-class VLM in float32 on a CPU, a 1B-class one in bf16 on a GPU (there with MFU on real tokens). Rows have 1-4
pictures of 64 tokens and 20-400 words, many short and few long. The rows are whole batches of a plan of 50 batches
grouped by length, spread over its lengths: the grouped arm gets them as they are, the others shuffled. A batch of the
shortest rows warms up and is not counted.
On a CPU with 8 rows a batch SFTTrainer's arm took more than 10 GB: it keeps the logits of every position.
Usage: OMP_NUM_THREADS=1 python bench/train.py [--size 135m] [--steps 6] [--batch 4] [--pack 1536] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from rig import SIZES, WORDS, make_model, noise, step_ends
from torch.utils.data import Dataset as TorchDataset
from transformers import AutoProcessor, LlavaProcessor, Trainer, TrainingArguments

from visift.core.dataset import Dataset, Made, build
from visift.core.seeds import rng
from visift.core.types import Conversation, Part, Provenance, Turn, assistant
from visift.models import Renderer, load
from visift.models.pictures import Pictures
from visift.train.plan import make_plan, padding_share
from visift.train.rows import OURS, Collator, Row, Rows
from visift.train.run import keep_freed_memory, train
from visift.train.settings import TrainSettings

SIDE, SLOT, WINDOW = 112, 64, 50  # pixels, tokens a picture, batches


def make_rows(folder: Path, steps: int, batch: int) -> None:
    """The warm-up's batch, then `steps` batches of rows of like length."""
    random = rng("bench train")
    pictures = random.integers(1, 5, WINDOW * batch)
    words = np.exp(random.uniform(np.log(20), np.log(400), WINDOW * batch)).astype(int)
    grouped = np.argsort(pictures * SLOT + words, kind="stable").reshape(WINDOW, batch)
    chosen = grouped[[0, *((np.arange(steps) + 0.5) * WINDOW / steps).astype(int)]].ravel()

    def make(k: int) -> Made:
        random = rng("bench train", k)
        shown = tuple(noise(folder, f"{k}-{j}", random, SIDE) for j in range(pictures[chosen[k]]))
        asked = (*(Part(image=j) for j in range(len(shown))), Part(text="List the objects."))
        answer = assistant(" ".join(random.choice(WORDS, words[chosen[k]])))
        return Made([Conversation(f"{k}", shown, (Turn("user", asked), answer), Provenance("bench"))])

    build(folder, kind="bench", items=range(len(chosen)), make=make, settings={"steps": steps, "batch": batch})


def shuffled(grouped: np.ndarray) -> np.ndarray:
    """The same rows in other batches; the first, which warms up, stays."""
    rest = rng("bench train", "shuffled").permutation(grouped[1:].ravel())
    return np.concatenate([grouped[:1], rest.reshape(grouped[1:].shape)])


def plain_arguments(out: Path, settings: TrainSettings) -> dict[str, Any]:
    return {
        "output_dir": str(out), "max_steps": settings.steps, "per_device_train_batch_size": settings.batch_size, "bf16": settings.bf16,
        "learning_rate": settings.lr, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no",
        "use_cpu": not torch.cuda.is_available(), "train_sampling_strategy": "sequential", "gradient_checkpointing": False,
        "dataloader_num_workers": settings.workers,
    }  # fmt: skip


def with_trl(root: Path, settings: TrainSettings, batches: np.ndarray) -> list[float] | None:
    """Clock at the end of each step of trl.SFTTrainer as it is; None without trl."""
    try:
        from trl import SFTConfig, SFTTrainer
    except ImportError:
        return None
    import datasets

    vlm = load(root / "model", train=True)
    LlavaProcessor(vlm.image_processor, vlm.tokenizer, patch_size=14, vision_feature_select_strategy="default",
                   num_additional_image_tokens=1, chat_template=vlm.chat_template).save_pretrained(root / "processor")  # fmt: skip
    rows = [
        {"images": [Image.open(root / "data" / p.path).convert("RGB") for p in c.images],
         "messages": [{"role": t.role, "content": [{"type": "image"} if p.text is None else {"type": "text", "text": p.text} for p in t.parts]}
                      for t in c.turns]}
        for c in Dataset(root / "data")
    ]  # fmt: skip
    trainer = SFTTrainer(
        model=vlm.model, train_dataset=datasets.Dataset.from_list([rows[int(k)] for k in batches.ravel()]),
        args=SFTConfig(**plain_arguments(root / "trl", settings), max_length=None, assistant_only_loss=True),
        processing_class=AutoProcessor.from_pretrained(root / "processor"),
    )  # fmt: skip
    with step_ends() as ends:
        trainer.train()
    return ends


class InOrder(TorchDataset):
    def __init__(self, rows: Rows, batches: np.ndarray) -> None:
        self.rows, self.order = rows, batches.ravel()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, k: int) -> Row:
        return self.rows[int(self.order[k])]


def with_trainer(root: Path, settings: TrainSettings, batches: np.ndarray) -> list[float]:
    """Clock at the end of each step of transformers.Trainer with the model's own loss, on rows rendered by us."""
    vlm, dataset = load(root / "model", train=True), Dataset(root / "data")
    renderer = Renderer(vlm)
    plan = make_plan(root / "plan", [dataset], renderer, settings.max_length, 0.0)
    rows = InOrder(Rows(plan, [dataset], renderer, [Pictures(dataset, vlm.family)]), batches)
    collate = Collator(vlm.family, int(vlm.tokenizer.pad_token_id))
    trainer = Trainer(
        model=vlm.model, args=TrainingArguments(**plain_arguments(root / "trainer", settings), remove_unused_columns=False),
        train_dataset=rows, data_collator=lambda some: {k: v for k, v in collate(some).items() if k not in OURS},
    )  # fmt: skip
    with step_ends() as ends:
        trainer.train()
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu = torch.cuda.is_available()
    parser.add_argument("--size", choices=SIZES, default="1b" if gpu else "135m")
    parser.add_argument("--steps", type=int, default=12 if gpu else 6, help="that count; one more warms up")
    parser.add_argument("--batch", type=int, default=32 if gpu else 4)
    parser.add_argument("--pack", type=int, default=4096 if gpu else 1536, help="tokens of a packed row")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = TrainSettings(
        steps=args.steps + 1, batch_size=args.batch, bf16=gpu, lr=1e-5, save_every=10**6, group_by_length=False,
        pack_tokens=args.pack, workers=4 if gpu else 0,
    )  # fmt: skip
    keep_freed_memory()  # for every arm
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model", SIDE, size=args.size)
        make_rows(root / "data", args.steps, args.batch)
        renderer = Renderer(load(root / "model"))
        lengths = np.array([len(renderer.row(c).input_ids) for c in Dataset(root / "data")])
        grouped = np.arange(len(lengths)).reshape(args.steps + 1, args.batch)
        mixed = shuffled(grouped)
        counted = int(lengths[args.batch :].sum())
        print(f"{args.size}, {counted:,} real tokens an arm, {counted / grouped[1:].size:.0f} a row", flush=True)
        arms: dict[str, dict[str, float]] = {}

        def note(way: str, ends: list[float], padding: float, **more: float) -> None:
            arms[way] = {"tokens_per_s": counted / (ends[-1] - ends[0]), "padding": padding, **more}
            first = next(iter(arms.values()))
            times = arms[way]["tokens_per_s"] / first["tokens_per_s"]
            used = f", MFU {more['mfu']:.1%}" if "mfu" in more else ""
            print(
                f"{way}: {arms[way]['tokens_per_s']:.0f} real tokens/s, {times:.2f}x, padding {padding:.1%}{used}",
                flush=True,
            )

        if ends := with_trl(root, settings, mixed):
            note("trl.SFTTrainer, unpacked", ends, padding_share(lengths, mixed[1:]))
        note("Trainer, grouped by length", with_trainer(root, settings, grouped), padding_share(lengths, grouped[1:]))
        for way, batches, pack in (("packed", mixed, args.pack), ("grouped by length", grouped, 0)):
            out = root / way
            with step_ends() as ends, patch("visift.train.run.order", return_value=batches):
                train(
                    str(root / "model"), [root / "data"], "full", out, settings.model_copy(update={"pack_tokens": pack})
                )
            rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()][1:]
            assert sum(r["tokens"] for r in rows) == counted
            places = sum(r["tokens"] / (1 - r["padding"]) for r in rows)
            seconds = sum(r["seconds"] for r in rows)
            mfu = {"mfu": sum(r["mfu"] * r["seconds"] for r in rows) / seconds} if "mfu" in rows[0] else {}
            note(f"visift, {way}", ends, 1 - counted / places, **mfu)
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "tokens": counted, "arms": arms, "threads": torch.get_num_threads()}, indent=2) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
