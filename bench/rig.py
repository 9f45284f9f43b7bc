"""What several benchmarks share: a random model, noise for pictures, and the clock. No benchmark itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from transformers.trainer_callback import CallbackHandler

from visift.core.types import Picture
from visift.models.builtin.tokenizer import IMAGE, train_tokenizer

WORDS = "person car dog cat bus chair table bottle cup bowl red blue left of the near".split()  # noqa: SIM905
PATCH = 14
SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {  # language model, vision tower
    "tiny": (dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2),
             dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)),
    "135m": (dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3),
             dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6)),
    "1b": (dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4),
           dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)),
}  # fmt: skip


def make_model(folder: Path, side: int, words: Iterable[str] = WORDS, size: str = "135m", spread: float = 1.0) -> None:
    """A LLaVA of random weights for pictures of `side` pixels; `spread` widens the weights, so that answers differ."""
    text, vision = SIZES[size]
    tokenizer = train_tokenizer([" ".join(words)] * 5)
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision, image_size=side, patch_size=PATCH),
        text_config=LlamaConfig(**text, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE), image_seq_length=(side // PATCH) ** 2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1 and spread != 1.0:
                p.mul_(spread)
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.weight[len(tokenizer) :] = 0  # what the tokenizer has no text for is never said
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(
        folder
    )


def noise(folder: Path, name: str, random: np.random.Generator, side: int) -> Picture:
    """A picture of 8 x 8 coloured fields, written to FOLDER/images."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    fields = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(fields).resize((side, side)).save(folder / "images" / f"{name}.png")
    return Picture(f"images/{name}.png", width=side, height=side)


def clock() -> float:
    """Seconds: of the wall on a GPU, else of this process, so that neighbours disturb little (with one thread the two are one)."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@contextmanager
def step_ends() -> Iterator[list[float]]:
    """The clock at the end of each step of whatever `transformers.Trainer` runs meanwhile."""
    ends: list[float] = []
    own = CallbackHandler.on_step_end

    def stamped(self: CallbackHandler, *given: Any, **named: Any) -> Any:
        ends.append(clock())
        return own(self, *given, **named)

    CallbackHandler.on_step_end = stamped  # type: ignore[method-assign]
    try:
        yield ends
    finally:
        CallbackHandler.on_step_end = own  # type: ignore[method-assign]
