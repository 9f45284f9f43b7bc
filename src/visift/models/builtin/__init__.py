"""The built-in model: a small LLaVA in plain Hugging Face layout, so that every room treats it like any VLM.

Importing this module registers the vision tower with transformers' Auto classes.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, AutoModel

from visift.models.builtin.vision import TabletopVisionConfig, TabletopVisionModel

AutoConfig.register(TabletopVisionConfig.model_type, TabletopVisionConfig, exist_ok=True)
AutoModel.register(TabletopVisionConfig, TabletopVisionModel, exist_ok=True)

FOLDER = Path(__file__).parent / "weights"  # the shipped base model
