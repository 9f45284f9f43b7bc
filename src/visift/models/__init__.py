"""Hugging Face VLMs: loading, rendering a conversation to ids and loss mask, and the small built-in model."""

from visift.models.load import Vlm, load
from visift.models.render import Rendered, Renderer

__all__ = ["Rendered", "Renderer", "Vlm", "load"]
