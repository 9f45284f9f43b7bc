"""Make golden_ids.json: what transformers' own processors write for whole conversations, of every family.

Five of them ask for a video processor, which cannot be built without torchvision (SmolVLM's also for num2words). They are
built here without theirs, which pictures never reach; all else is their own code. Run it again, with torchvision or
without, after a change of transformers: the file may not change but for the version. `python tests/models/golden_ids.py`
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tiny_families
import transformers
from PIL import Image
from transformers import AutoTokenizer
from transformers.models.blip_2.processing_blip_2 import Blip2Processor
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.instructblip.processing_instructblip import InstructBlipProcessor
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.paligemma.processing_paligemma import PaliGemmaProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.smolvlm import processing_smolvlm

from visift.core.types import Conversation, Picture, Provenance, assistant, user

FILE = Path(__file__).with_suffix(".json")
SIZES = ((100, 50), (40, 28), (30, 90))  # pixels, width and height
ONE = (user(0, "What is this?"), assistant("large red circle"))
CONVERSATIONS = (
    ONE,
    (user(0, "List the objects one by one."), assistant("1. green star\n2. red"), user("yes"), assistant("no")),
    (user("First ", 0, " then ", 1, " and ", 2, " what?"), assistant("small"), user(" What colour?"), assistant("blue")),
    (user("no picture"), assistant("yes")),
)  # fmt: skip
PATCHES: dict[str, Any] = {"patch_size": 14, "num_additional_image_tokens": 1}
ORIGINALS: dict[str, tuple[type, dict[str, Any]]] = {
    "llava": (LlavaProcessor, {**PATCHES, "vision_feature_select_strategy": "default"}),
    "llava-next": (LlavaNextProcessor, {**PATCHES, "vision_feature_select_strategy": "default"}),
    "llava-onevision": (LlavaOnevisionProcessor, {"num_image_tokens": 4, "vision_feature_select_strategy": "full",
                                                  "vision_aspect_ratio": "anyres_max_2"}),
    "idefics3": (Idefics3Processor, {"image_seq_len": 4}),
    "smolvlm": (processing_smolvlm.SmolVLMProcessor, {"image_seq_len": 4}),
    "qwen2.5-vl": (Qwen2_5_VLProcessor, {}), "qwen3-vl": (Qwen3VLProcessor, {}), "internvl": (InternVLProcessor, {"image_seq_length": 4}),
    "paligemma": (PaliGemmaProcessor, {}), "blip-2": (Blip2Processor, {"num_query_tokens": 4}),
    "instructblip": (InstructBlipProcessor, {"num_query_tokens": 4}),
}  # fmt: skip
NESTED = ("llava-onevision", "idefics3", "smolvlm", "paligemma")  # pictures in a list a conversation


def conversation(k: int) -> Conversation:
    turns = CONVERSATIONS[k]
    count = sum(p.image is not None for t in turns for p in t.parts)
    sizes = SIZES[:count] if k else SIZES[1:2]
    pictures = tuple(Picture(f"{j}.png", width=w, height=h) for j, (w, h) in enumerate(sizes))
    return Conversation(f"golden-{k}", pictures, turns, Provenance("golden"))


def of_family(family: str) -> tuple[int, ...]:
    """PaliGemma's, BLIP-2's and InstructBLIP's processors know one question with its pictures in front, and no rounds."""
    return (0,) if family in ("paligemma", "blip-2", "instructblip") else tuple(range(len(CONVERSATIONS)))


def original(family: str, folder: Path) -> Any:
    from visift.models import load

    kind, options = ORIGINALS[family]
    vlm = load(folder)
    if "video_processor" in kind.get_attributes():
        own = kind.check_argument_for_proper_class
        kind.check_argument_for_proper_class = lambda self, name, value: (  # type: ignore[attr-defined]
            None if name == "video_processor" else own(self, name, value)
        )
        options = {**options, "video_processor": None}
        processing_smolvlm.num2words = True
    if family == "internvl":  # its checkpoints' tokenizers know these by name
        for name, text in (("start_image_token", "<img>"), ("end_image_token", "</img>"), ("context_image_token", "<IMG_CONTEXT>"),
                           ("video_token", "<video>")):  # fmt: skip
            setattr(vlm.tokenizer, name, text)
            setattr(vlm.tokenizer, f"{name}_id", vlm.tokenizer.convert_tokens_to_ids(text))
    if family == "instructblip":
        options = {**options, "qformer_tokenizer": AutoTokenizer.from_pretrained(folder / "qformer_tokenizer")}
    return kind(image_processor=vlm.image_processor, tokenizer=vlm.tokenizer, **options)


def ids(family: str, processor: Any, k: int) -> list[int]:
    c = conversation(k)
    pictures = [
        Image.fromarray(np.random.default_rng(j).integers(0, 255, (p.height, p.width, 3), dtype=np.uint8))
        for j, p in enumerate(c.images)
    ]
    question, answer = c.turns[0].text, c.turns[1].text
    if family == "paligemma":
        made = processor(images=pictures, text=f"<image>{question}", suffix=answer)["input_ids"]
    elif family == "blip-2":
        made = processor(images=pictures, text=f"Question: {question} Answer: {answer}</s>")["input_ids"]
    elif family == "instructblip":  # Llama's tokenizer puts <s> in front by itself, the tiny one does not
        made = processor(images=pictures, text=f"<s>{question} {answer}</s>")["input_ids"]
    else:
        messages = [
            {"role": t.role, "content": [{"type": "image"} if p.text is None else {"type": "text", "text": p.text} for p in t.parts]}
            for t in c.turns
        ]  # fmt: skip
        text = processor.tokenizer.apply_chat_template(messages, tokenize=False)
        given = {"images": [pictures] if family in NESTED else pictures} if pictures else {}
        made = processor(text=[text], **given)["input_ids"]
    return [int(i) for i in (made[0] if isinstance(made[0], list) else made)]


def main() -> None:
    found = {}
    for family, build in tiny_families.BUILDERS.items():
        with tempfile.TemporaryDirectory() as folder:
            processor = original(family, build(Path(folder)))
            found[family] = [ids(family, processor, k) for k in of_family(family)]
    lines = ",\n".join(
        f'  "{family}": [\n' + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]" for family, rows in found.items()
    )  # fmt: skip
    FILE.write_text(f'{{"transformers": "{transformers.__version__}",\n "ids": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
