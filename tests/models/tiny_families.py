"""A tiny random model of every family, as a folder in plain Hugging Face layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_vlm
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipImageProcessorPil,
    CLIPVisionConfig,
    GemmaConfig,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    OPTConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

LM = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
          max_position_embeddings=2048)  # fmt: skip
VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
TILES = tuple(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5))


def template(picture: str) -> str:
    return tiny_vlm.CHATML.replace("<image>", picture)


def save(folder: Path, model: Any, tokenizer: Any, processor: Any) -> Path:
    """Random weights, larger than at initialisation so that a wrong mask shows in the logits."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.normal_(0, 0.12)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def llava_next(folder: Path, onevision: bool = False) -> Path:
    tok = tiny_vlm.tokenizer()
    ids = dict(
        image_token_index=tok.convert_tokens_to_ids("<image>"), image_grid_pinpoints=[[28, 56], [56, 28], [56, 56]]
    )
    if onevision:
        config: Any = LlavaOnevisionConfig(
            vision_config=SiglipVisionConfig(**VISION, image_size=28, patch_size=14, vision_use_head=False),
            text_config=Qwen2Config(**LM, vocab_size=len(tok)), vision_feature_layer=-1, vision_feature_select_strategy="full",
            vision_aspect_ratio="anyres_max_2", video_token_index=3, **ids,
        )  # fmt: skip
        processor: Any = LlavaOnevisionImageProcessorPil(
            size={"height": 28, "width": 28}, image_grid_pinpoints=ids["image_grid_pinpoints"]
        )
        return save(folder, LlavaOnevisionForConditionalGeneration(config), tok, processor)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=28, patch_size=14), text_config=LlamaConfig(**LM, vocab_size=len(tok)),
        vision_feature_layer=-1, **ids,
    )  # fmt: skip
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 28},
        crop_size={"height": 28, "width": 28},
        image_grid_pinpoints=ids["image_grid_pinpoints"],
    )
    return save(folder, LlavaNextForConditionalGeneration(config), tok, processor)


def idefics3(folder: Path, smol: bool = False) -> Path:
    extra = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *TILES)
    tok = tiny_vlm.tokenizer(extra=extra)
    kinds = (SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)
    config_of, model_of, processor_of = (
        kinds if smol else (Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)
    )
    config = config_of(
        vision_config=dict(**VISION, image_size=28, patch_size=7), text_config=LlamaConfig(**LM, vocab_size=len(tok), pad_token_id=2),
        scale_factor=2, image_token_id=tok.convert_tokens_to_ids("<image>"), pad_token_id=2,
    )  # fmt: skip
    processor = processor_of(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    return save(folder, model_of(config), tok, processor)


def qwen(folder: Path, three: bool = False) -> Path:
    marks = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    tok = tiny_vlm.tokenizer(template("<|vision_start|><|image_pad|><|vision_end|>"), extra=marks)
    names = ("vision_start_token_id", "image_token_id", "vision_end_token_id", "video_token_id")
    ids = dict(zip(names, tok.convert_tokens_to_ids(list(marks)), strict=True))
    rope = dict(rope_type="default", rope_theta=10000.0, mrope_section=[2, 3, 3])
    if three:
        config: Any = Qwen3VLConfig(
            vision_config=dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, patch_size=8, out_hidden_size=32,
                               deepstack_visual_indexes=[0], num_position_embeddings=64),
            text_config=dict(**LM, vocab_size=len(tok), head_dim=16, rope_parameters={**rope, "mrope_interleaved": True}), **ids,
        )  # fmt: skip
        model: Any = Qwen3VLForConditionalGeneration(config)
    else:
        config = Qwen2_5_VLConfig(
            vision_config=dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, patch_size=8, out_hidden_size=32,
                               window_size=32, fullatt_block_indexes=[1]),
            text_config=dict(**LM, vocab_size=len(tok), rope_parameters=rope), **ids,
        )  # fmt: skip
        model = Qwen2_5_VLForConditionalGeneration(config)
    processor = Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, size={"shortest_edge": 256, "longest_edge": 2048})
    return save(folder, model, tok, processor)


def internvl(folder: Path) -> Path:
    marks = ("<IMG_CONTEXT>", "<img>", "</img>")
    tok = tiny_vlm.tokenizer(template("<IMG_CONTEXT>\n"), extra=marks)
    config = InternVLConfig(
        vision_config=dict(**VISION, image_size=[28, 28], patch_size=[7, 7]), text_config=Qwen2Config(**LM, vocab_size=len(tok)),
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"), downsample_ratio=0.5, vision_feature_layer=-1,
    )  # fmt: skip
    processor = GotOcr2ImageProcessorPil(
        size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    return save(folder, InternVLForConditionalGeneration(config), tok, processor)


def paligemma(folder: Path) -> Path:
    tok = tiny_vlm.tokenizer(None)
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, image_size=28, patch_size=14, vision_use_head=False),
        text_config=GemmaConfig(**LM, vocab_size=len(tok), head_dim=16), image_token_index=tok.convert_tokens_to_ids("<image>"),
        projection_dim=32, hidden_size=32,
    )  # fmt: skip
    processor = SiglipImageProcessorPil(size={"height": 28, "width": 28}, image_seq_length=4)
    return save(folder, PaliGemmaForConditionalGeneration(config), tok, processor)


def blip2(folder: Path) -> Path:
    """As over OPT: the tokenizer has one token for beginning and end, and puts it in front by itself; a newline ends answers."""
    tok = tiny_vlm.tokenizer(None)
    tok.bos_token = tok.eos_token
    tok.backend_tokenizer.post_processor = TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    (newline,) = tok("\n", add_special_tokens=False).input_ids
    config = Blip2Config(
        vision_config=dict(**VISION, image_size=28, patch_size=14),
        qformer_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, encoder_hidden_size=32,
                            cross_attention_frequency=1),
        text_config=OPTConfig(hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(tok),
                              max_position_embeddings=2048, word_embed_proj_dim=32, bos_token_id=1, eos_token_id=newline, pad_token_id=2),
        num_query_tokens=4, image_token_index=tok.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return save(
        folder, Blip2ForConditionalGeneration(config), tok, BlipImageProcessorPil(size={"height": 28, "width": 28})
    )


def instructblip(folder: Path) -> Path:
    tok = tiny_vlm.tokenizer(None)
    config = InstructBlipConfig(
        vision_config=dict(**VISION, image_size=28, patch_size=14),
        qformer_config=dict(vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                            encoder_hidden_size=32, cross_attention_frequency=1, max_position_embeddings=64, pad_token_id=2),
        text_config=LlamaConfig(**LM, vocab_size=len(tok), bos_token_id=0, eos_token_id=1, pad_token_id=2), num_query_tokens=4,
        image_token_index=tok.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    tok.save_pretrained(folder / "qformer_tokenizer")
    return save(
        folder,
        InstructBlipForConditionalGeneration(config),
        tok,
        BlipImageProcessorPil(size={"height": 28, "width": 28}),
    )


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_vlm.llava, "llava-next": llava_next, "llava-onevision": lambda f: llava_next(f, onevision=True),
    "idefics3": idefics3, "smolvlm": lambda f: idefics3(f, smol=True), "qwen2.5-vl": qwen, "qwen3-vl": lambda f: qwen(f, three=True),
    "internvl": internvl, "paligemma": paligemma, "blip-2": blip2, "instructblip": instructblip,
}  # fmt: skip
