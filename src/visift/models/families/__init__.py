"""One small adapter for each family of Hugging Face VLMs, found by the configuration's `model_type`."""

from __future__ import annotations

from visift.core.errors import DataError
from visift.models.families.blip2 import Blip2
from visift.models.families.family import Family
from visift.models.families.idefics3 import Idefics3
from visift.models.families.instructblip import InstructBlip
from visift.models.families.internvl import InternVl
from visift.models.families.llava_anyres import LlavaNext, LlavaOnevision
from visift.models.families.paligemma import PaliGemma
from visift.models.families.qwen_vl import QwenVl

FAMILIES: dict[str, type[Family]] = {
    "llava": Family, "llava_next": LlavaNext, "llava_onevision": LlavaOnevision, "idefics3": Idefics3, "smolvlm": Idefics3,
    "qwen2_5_vl": QwenVl, "qwen3_vl": QwenVl, "internvl": InternVl, "paligemma": PaliGemma,
    "blip-2": Blip2, "instructblip": InstructBlip,
}  # fmt: skip


def family_for(model_type: str, where: object) -> type[Family]:
    """Raises DataError naming the supported families."""
    if model_type not in FAMILIES:
        raise DataError(
            f"model type {model_type!r} is not supported",
            where=where,
            remedy=f"supported: {', '.join(sorted(FAMILIES))}",
        )
    return FAMILIES[model_type]
