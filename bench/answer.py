"""Questions a second on a POPE-shaped set: one `generate` a question (the common harnesses' way) against `visift answer`.

A random 135M-class VLM (30 x 576 LM; 336-px tower, 576 visual tokens), 18 yes/no questions a picture, at most 4 new
tokens, float32 on CPU or bf16 on a GPU. Usage: python bench/answer.py [--pictures 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from visift.core.dataset import Dataset, Made, build
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.evals.answer import answer, ready
from visift.evals.engine import Engine, Question

THINGS = [
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
    "sofa",
    "train",
    "truck",
    "boat",
    "bench",
    "bird",
    "horse",
    "sheep",
]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_model(folder: Path) -> None:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<image>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    bpe.train_from_iterator([f"Is there a {t} in the image? Yes No" for t in THINGS] * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6,
                                       image_size=336, patch_size=14),
        text_config=LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                                num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # wider than at initialisation, so that answers differ
        for p in model.parameters():
            if p.dim() > 1:
                p.mul_(6)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}).save_pretrained(folder)


def make_questions(folder: Path, pictures: int) -> None:
    def make(k: int) -> Made:
        image = Picture(f"images/{k}.png", width=336, height=336)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((336, 336)).save(folder / image.path)
        rows = [
            Conversation(
                f"{k}-{t}", (image,), (user(0, f"Is there a {t} in the image?"), assistant("Yes")), Provenance("pope")
            )
            for t in THINGS
        ]
        return Made(rows)

    build(folder, kind="pope", items=range(pictures), make=make, settings={"pictures": pictures})


@torch.inference_mode()
def one_by_one(vlm: Any, questions: Path) -> tuple[dict[str, str], dict[str, float], float]:
    """(texts, smallest margin between the two best tokens, seconds): one `generate` for each question."""
    dataset = Dataset(questions)
    engine = Engine(vlm, dataset, 4, grey=False)
    texts, margins = {}, {}
    start = time.perf_counter()
    for c in dataset:
        q = Question(c, "", engine.renderer.prompt(c))
        inputs = engine._inputs([q], [engine.pictures.of(c, q.text.slots if q.text else ())])
        out = vlm.model.generate(
            **inputs, generation_config=engine.generation, output_logits=True, return_dict_in_generate=True
        )
        best = torch.stack(out.logits).topk(2).values
        margins[c.id] = float((best[..., 0] - best[..., 1]).min())
        texts[c.id] = engine._text(out.sequences[0, inputs["input_ids"].shape[1] :].tolist())[0]
    return texts, margins, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model")
        make_questions(root / "questions", args.pictures)
        vlm = ready(str(root / "model"))
        answer(
            "warm", str(root / "model"), root / "questions", root / "warm.jsonl", max_new_tokens=1, limit=18, vlm=vlm
        )
        count = 18 * args.pictures
        texts, margins, seconds = one_by_one(vlm, root / "questions")
        rows = [
            {"way": "one generate a question", "seconds": seconds, "questions_per_s": count / seconds, "times": 1.0}
        ]
        for mode in ("generate", "logits"):
            start = time.perf_counter()
            answer(
                "pope",
                str(root / "model"),
                root / "questions",
                root / f"{mode}.jsonl",
                mode=mode,
                max_new_tokens=4,
                vlm=vlm,
            )
            took = time.perf_counter() - start
            row = {
                "way": f"visift answer --mode {mode}",
                "seconds": took,
                "questions_per_s": count / took,
                "times": seconds / took,
            }
            if mode == "generate":
                found = {
                    r["id"]: r["text"] for r in map(json.loads, (root / "generate.jsonl").read_text().splitlines())
                }
                other = [k for k in texts if found[k] != texts[k]]
                row |= {"different": len(other), "of them with a margin >= 1e-4": sum(margins[k] >= 1e-4 for k in other),
                        "distinct answers": len(set(found.values()))}  # fmt: skip
            rows.append(row)
    for row in rows:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GB, {torch.get_num_threads()} threads, {vlm.model.dtype}")
    if args.json:
        args.json.write_text(
            json.dumps({"rows": rows, "peak_gb": peak, "threads": torch.get_num_threads()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
