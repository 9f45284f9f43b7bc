"""Hugging Face VLMs: loading, rendering a conversation to ids and loss mask, and the small built-in model."""

from visift.models import attention, builtin  # noqa: F401  registers them with transformers
from visift.models.load import Vlm, fingerprint, load
from visift.models.render import Rendered, Renderer

__all__ = ["Rendered", "Renderer", "Vlm", "fingerprint", "load"]
