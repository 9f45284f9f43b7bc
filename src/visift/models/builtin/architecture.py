"""The sizes of the built-in model, and a fresh one with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Starcoder2Config,
)  # fmt: skip

from visift.core.errors import VisiftError
from visift.models.attention import PLAIN
from visift.models.builtin.tokenizer import IMAGE
from visift.models.builtin.vision import TabletopVisionConfig

WIDTH = 192
LM_LAYERS = 6
MEAN = STD = (0.5, 0.5, 0.5)  # pixels to -1..1


def fresh_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """A LLaVA of 4.7 M parameters, float32: 112-px tower with 49 tokens, MLP projector, 6-layer decoder."""
    torch.manual_seed(seed)
    vision = TabletopVisionConfig(hidden_size=WIDTH)
    # StarCoder2's decoder is GPT-2 with rotary positions: LayerNorm and ReLU have fused kernels, RMSNorm and SwiGLU
    # do not, and on one CPU core that is half the step
    text = Starcoder2Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=768, num_hidden_layers=LM_LAYERS, hidden_act="relu",
        num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=8192, sliding_window=None, use_bias=True,
        residual_dropout=0.0, embedding_dropout=0.0, attention_dropout=0.0, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_select_strategy="full", vision_feature_layer=-1, image_seq_length=49,
        tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )  # fmt: skip
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation=PLAIN)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def image_processor() -> CLIPImageProcessorPil:
    side = TabletopVisionConfig().image_size
    return CLIPImageProcessorPil(
        do_resize=True, size={"height": side, "width": side}, do_center_crop=False, do_convert_rgb=True, resample=3,
        image_mean=list(MEAN), image_std=list(STD),
    )  # fmt: skip


def save(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the Hugging Face folder: weights fp16, config, tokenizer, image processor. Raises VisiftError when the disk is full."""
    folder.mkdir(parents=True, exist_ok=True)
    config = TabletopVisionConfig()
    processor = LlavaProcessor(
        image_processor=image_processor(), tokenizer=tokenizer, patch_size=config.patch_size,
        vision_feature_select_strategy="full", image_token=IMAGE, num_additional_image_tokens=0,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip
    try:
        model.to(torch.float16).save_pretrained(folder)
        processor.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as e:
        raise VisiftError(f"cannot write the model ({e})", where=folder, remedy="free some space and run again") from e
    (folder / "model.safetensors").chmod(0o644)  # as the other files; safetensors keeps it to the owner
