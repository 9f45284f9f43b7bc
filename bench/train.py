"""Real tokens a second while fine-tuning: TRL's SFTTrainer unpacked (where trl is installed), ours padded in random
order, grouped by length, and packed, on the same rows, in one run.

A random 135M-class VLM (30 x 576 LM; 112-px tower, 64 visual tokens a picture), rows with 1-4 pictures and 20-400 text
tokens, AdamW, float32 on CPU or bf16 on a GPU. Usage: python bench/train.py [--steps 4] [--batch 8] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from visift.core.dataset import Dataset, Made, build
from visift.core.seeds import rng
from visift.core.types import Conversation, Part, Picture, Provenance, Turn, assistant
from visift.models.builtin.tokenizer import IMAGE, train_tokenizer
from visift.train.plan import order
from visift.train.run import train
from visift.train.settings import TrainSettings

WORDS = [
    "person",
    "car",
    "dog",
    "cat",
    "bus",
    "chair",
    "table",
    "bottle",
    "cup",
    "bowl",
    "red",
    "blue",
    "left",
    "of",
    "the",
    "near",
]


def make_model(folder: Path) -> None:
    tokenizer = train_tokenizer([" ".join(WORDS)] * 5)
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6,
                                       image_size=112, patch_size=14),
        text_config=LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                                num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE), image_seq_length=64,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112}).save_pretrained(folder)


def make_rows(folder: Path, count: int) -> None:
    def make(k: int) -> Made:
        random = rng("bench train", k)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        pictures = []
        for j in range(int(random.integers(1, 5))):
            pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((112, 112)).save(folder / "images" / f"{k}-{j}.png")
            pictures.append(Picture(f"images/{k}-{j}.png", width=112, height=112))
        length = int(np.exp(random.uniform(np.log(20), np.log(400))))  # many short, few long
        parts = [*(Part(image=j) for j in range(len(pictures))), Part(text="List the objects.")]
        answer = assistant(" ".join(random.choice(WORDS, length)))
        return Made([Conversation(f"{k}", tuple(pictures), (Turn("user", tuple(parts)), answer), Provenance("bench"))])

    build(folder, kind="bench", items=range(count), make=make, settings={"count": count})


def ours(root: Path, name: str, settings: TrainSettings) -> dict[str, Any]:
    train(str(root / "model"), [root / "data"], "full", root / name, settings)
    rows = [json.loads(line) for line in (root / name / "train_log.jsonl").read_text().splitlines()][
        1:
    ]  # the first warms up
    tokens, seconds = sum(r["tokens"] for r in rows), sum(r["seconds"] for r in rows)
    return {"way": name, "tokens_per_s": tokens / seconds, "padding": float(np.mean([r["padding"] for r in rows]))}


def with_trl(root: Path, settings: TrainSettings) -> dict[str, Any] | None:
    """The same rows, batch and number of steps through trl.SFTTrainer as it is."""
    try:
        from trl import SFTConfig, SFTTrainer
    except ImportError:
        return None
    import datasets
    from transformers import AutoProcessor, LlavaProcessor, TrainerCallback

    from visift.models import Renderer, load

    vlm = load(root / "model")
    lengths = np.array([len(Renderer(vlm).row(c).input_ids) for c in Dataset(root / "data")])
    processor = LlavaProcessor(vlm.image_processor, vlm.tokenizer, patch_size=14, vision_feature_select_strategy="default",
                               num_additional_image_tokens=1, chat_template=vlm.chat_template)  # fmt: skip
    processor.save_pretrained(root / "processor")
    rows = [
        {"images": [Image.open(root / "data" / p.path).convert("RGB") for p in c.images],
         "messages": [{"role": t.role, "content": [{"type": "image"} if p.text is None else {"type": "text", "text": p.text} for p in t.parts]}
                      for t in c.turns]}
        for c in Dataset(root / "data")
    ]  # fmt: skip
    picked = order(lengths, settings.steps, settings.batch_size, settings.seed, False).ravel()
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

    config = SFTConfig(
        output_dir=str(root / "trl"), max_steps=settings.steps, per_device_train_batch_size=settings.batch_size, max_length=None,
        assistant_only_loss=True, report_to="none", disable_tqdm=True, save_strategy="no", use_cpu=not torch.cuda.is_available(),
        bf16=settings.bf16, learning_rate=settings.lr, gradient_checkpointing=False,
    )  # fmt: skip
    SFTTrainer(
        model=vlm.model, args=config, train_dataset=datasets.Dataset.from_list([rows[int(k)] for k in picked]),
        processing_class=AutoProcessor.from_pretrained(root / "processor"), callbacks=[Clock()],
    ).train()  # fmt: skip
    share = (settings.steps - 1) / settings.steps
    return {"way": "trl", "tokens_per_s": float(lengths[picked].sum()) * share / (times[-1] - times[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    base = TrainSettings(
        steps=args.steps, batch_size=args.batch, bf16=gpu, lr=1e-5, save_every=10**6, group_by_length=False
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model")
        make_rows(root / "data", args.steps * args.batch)
        rows = [
            with_trl(root, base),
            ours(root, "padded", base),
            ours(root, "grouped", base.model_copy(update={"group_by_length": True})),
            ours(root, "packed", base.model_copy(update={"pack_tokens": 768})),
        ]
    found = [r for r in rows if r]
    for row in found:
        padding = f", padding {row['padding']:.1%}" if "padding" in row else ""
        print(
            f"{row['way']}: {row['tokens_per_s']:.0f} real tokens/s, {row['tokens_per_s'] / found[0]['tokens_per_s']:.2f}x{padding}"
        )
    if args.json:
        args.json.write_text(json.dumps({"rows": found, "threads": torch.get_num_threads()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
