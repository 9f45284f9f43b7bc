"""Hugging Face VLMs: loading, rendering a conversation to ids and loss mask, and the small built-in model."""

from visift.models import attention, builtin, vpgc  # noqa: F401  the first two register with transformers
from visift.models.load import Vlm, fingerprint, load
from visift.models.render import Rendered, Renderer

__all__ = ["Rendered", "Renderer", "Vlm", "fingerprint", "load", "vpgc"]
