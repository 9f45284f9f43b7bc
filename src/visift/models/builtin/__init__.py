"""The built-in model: a small LLaVA in plain Hugging Face layout, so that every room treats it like any VLM.

Importing this module registers the vision tower with transformers' Auto classes.
"""

from __future__ import annotations

import logging
from pathlib import Path

from transformers import AutoConfig, AutoModel

from visift.models.builtin.vision import TabletopVisionConfig, TabletopVisionModel

AutoConfig.register(TabletopVisionConfig.model_type, TabletopVisionConfig, exist_ok=True)
AutoModel.register(TabletopVisionConfig, TabletopVisionModel, exist_ok=True)
# transformers compares our config with StarCoder2's defaults, whose own token ids lie outside its vocabulary, and warns of those
logging.getLogger("transformers.configuration_utils").addFilter(lambda record: "got 50256" not in record.getMessage())

FOLDER = Path(__file__).parent / "weights"  # the shipped base model
