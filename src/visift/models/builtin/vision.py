"""The vision tower of the built-in model: a convolutional stem, then a few transformer layers.

A plain ViT of this size learns shapes and digits several times slower on a CPU; three strided convolutions before the
attention layers cure that (docs/notebook.md). No BatchNorm: packing and batch size must not change an answer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class TabletopVisionConfig(PreTrainedConfig):
    """`image_size` and `patch_size` in pixels; (image_size / patch_size)^2 tokens of width `hidden_size`."""

    model_type = "visift_tabletop_vision"

    def __init__(
        self,
        image_size: int = 112,
        patch_size: int = 16,
        hidden_size: int = 192,
        stem_channels: tuple[int, int] | list[int] = (64, 128),
        num_hidden_layers: int = 3,
        num_attention_heads: int = 3,
        intermediate_size: int = 512,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_size = hidden_size
        self.stem_channels = list(stem_channels)
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.initializer_range = initializer_range


class Block(nn.Module):
    """Pre-norm transformer layer without a mask: every patch sees every patch."""

    def __init__(self, config: TabletopVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, P, D) -> (B, P, D)
        b, p, d = x.shape
        q, k, v = (
            self.qkv(self.norm1(x)).view(b, p, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )  # (B, H, P, D/H)
        # plain softmax: the fused kernel's bf16 backward is slow on CPUs
        weights = (q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5).softmax(-1)  # (B, H, P, P)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, p, d))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Residual(nn.Module):
    """Two convolutions beside the straight way, which is all there is at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            last := nn.Conv2d(channels, channels, 3, padding=1),
        )
        last.starts_at_zero = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, h, w) -> (B, C, h, w)
        return x + self.inner(x)


class TabletopVisionModel(PreTrainedModel):
    """pixel_values float (B, 3, image_size, image_size) -> last_hidden_state (B, patches, hidden_size)."""

    config_class = TabletopVisionConfig
    base_model_prefix = "vision"
    main_input_name = "pixel_values"
    _no_split_modules = ["Block"]

    def __init__(self, config: TabletopVisionConfig) -> None:
        super().__init__(config)
        first, second = config.stem_channels
        width = config.hidden_size
        scale = config.patch_size // 4  # the last two convolutions share what is left of the patch stride
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 7, stride=4, padding=3),
            nn.GroupNorm(8, first),
            nn.ReLU(),
            Residual(first),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.GroupNorm(8, second),
            nn.ReLU(),
            Residual(second),
            nn.Conv2d(second, width, 3, stride=scale // 2, padding=1),
        )
        self.position = nn.Parameter(torch.zeros(1, (config.image_size // config.patch_size) ** 2, width))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            if hasattr(module, "starts_at_zero"):
                nn.init.zeros_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, TabletopVisionModel):
            nn.init.normal_(module.position, std=self.config.initializer_range)

    def forward(self, pixel_values: torch.Tensor, output_hidden_states: bool = True, **_: Any) -> BaseModelOutput:
        x = self.stem(pixel_values)  # (B, D, h, w)
        x = x.flatten(2).transpose(1, 2) + self.position  # (B, h*w, D)
        states = []
        for layer in self.layers:
            states.append(x)
            x = layer(x)
        x = self.norm(x)
        return BaseModelOutput(last_hidden_state=x, hidden_states=(*states, x) if output_hidden_states else None)
