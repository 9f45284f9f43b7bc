"""Tiny random VLMs in plain Hugging Face layout, built in a second for the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}{{ '<image>' }}{% else %}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ p['text'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ p['text'] }}{% endif %}"
    "{% endif %}{% endfor %}{% if m['role'] != 'assistant' %}{{ '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = (
    "<s>",
    "</s>",
    "<pad>",
    "<image>",
    "<|im_start|>",
    "<|im_end|>",
    "[INST]",
    "[/INST]",
    "<start_of_turn>",
    "<end_of_turn>",
)
CORPUS = (
    "1. large red circle\n2. small blue square\n3. green star\nList the objects one by one. What colour is it? yes no "
    "USER: ASSISTANT: user assistant system A chat between a curious human and an artificial intelligence assistant."
)


def tokenizer(template: str | None = CHATML, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred tokens; `extra` adds special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*SPECIALS, *extra],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([CORPUS] * 3, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>", padding_side="left"
    )
    made.chat_template = template
    return made


def llava(folder: Path, template: str | None = CHATML, *, seed: int = 0, layers: int = 2, width: int = 64) -> Path:
    """CLIP (28 px pictures, 2 x 2 patches = 4 tokens) + Llama, some 150 k parameters."""
    torch.manual_seed(seed)
    tok = tokenizer(template)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
        ),
        text_config=LlamaConfig(
            vocab_size=len(tok), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=0, eos_token_id=1, pad_token_id=2,
        ),
        image_token_index=tok.convert_tokens_to_ids("<image>"), image_seq_length=4, vision_feature_layer=-1,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder
