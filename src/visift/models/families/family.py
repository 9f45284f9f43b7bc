"""What a model family has of its own: how a picture becomes placeholders and tensors, and which weights are which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image

from visift.core.errors import DataError

Pixels = dict[str, torch.Tensor]  # what the image processor makes of one picture


class Family:
    """LLaVA's way, which others adapt: every picture is resized to one shape and stands for a fixed number of tokens.

    Pictures travel as uint8 and are normalised when the batch is made, so that a cache of them is a quarter as large;
    the arithmetic is the image processor's own (checked in the tests).
    """

    # Parameter-name prefixes of each part; a stage freezes by part, and a parameter outside all of them is an error.
    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "vision": ("model.vision_tower.",),
        "projector": ("model.multi_modal_projector.",),
        "llm": ("model.language_model.", "lm_head."),
    }
    # What stands for a picture in the text when the chat template has no slot for pictures.
    picture_text: ClassVar[str] = "<image>\n"
    # A chat template for checkpoints that bring none; None: LLaVA-1.5's text.
    template: ClassVar[str | None] = None
    # Whether conversations may share a row behind a mask; and whether the sequence starts with the tokenizer's BOS.
    packs: ClassVar[bool] = True
    starts_with_bos: ClassVar[bool] = True
    # Whether a prefix's states do not depend on what follows it, nor the picture's on the question.
    shares_prefix: ClassVar[bool] = True
    # Whether the number of tokens depends on the picture's size, so that rows must say it.
    sized: ClassVar[bool] = False

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:
        self.config = model.config
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        if self.config.image_token_id is None:
            raise DataError("the configuration names no token that stands for a picture", where=model.name_or_path,
                            remedy="set image_token_index to the tokenizer's <image>")  # fmt: skip
        self.image_id = int(self.config.image_token_id)
        self.marker = self.find_marker()  # the one token that chat templates and texts hold for a picture
        self.marker_id = int(tokenizer.convert_tokens_to_ids(self.marker))
        self.setup(model)

    def find_marker(self) -> str:
        return str(self.tokenizer.convert_ids_to_tokens(self.image_id))

    def setup(self, model: Any) -> None:
        """Learn what the configuration alone does not tell: here how many tokens the model makes of a picture."""
        processor = self.image_processor
        self.as_uint8 = bool(processor.do_rescale and processor.do_normalize)
        if self.as_uint8:
            self.scale = float(processor.rescale_factor)
            self.mean = torch.tensor(processor.image_mean, dtype=torch.float32).view(-1, 1, 1)
            self.std = torch.tensor(processor.image_std, dtype=torch.float32).view(-1, 1, 1)
        blank = self.batch([[self.pixels(Image.new("RGB", (64, 64)))]], model.dtype)
        training = model.training
        with torch.no_grad():
            model.eval()
            found = model.get_image_features(**{k: v.to(model.device) for k, v in blank.items()}, return_dict=True)
        model.train(training)
        self.tokens = int(found.pooler_output[0].shape[0])

    @property
    def ends(self) -> set[int]:
        """Tokens that end an answer beside those that the template and the tokenizer know."""
        return set()

    def slot(self, width: int, height: int, count: int) -> list[int]:
        """The ids that stand for one picture of that size (pixels) in a conversation with `count` pictures."""
        return [self.image_id] * self.tokens

    def pixels(self, picture: Image.Image, count: int = 1) -> Pixels:
        """What the model takes of one RGB picture in a conversation with `count`; here {"pixel_values": (3, H, W)}."""
        options = {"do_rescale": False, "do_normalize": False} if self.as_uint8 else {}
        made = self.image_processor(picture, return_tensors="pt", **options)["pixel_values"][0]
        return {"pixel_values": made.to(torch.uint8) if self.as_uint8 else made}

    def with_words(self, pixels: Pixels, text: str) -> Pixels:
        """The same picture together with the text of the turn that shows it, for models that read both at once."""
        return pixels

    def visual(self, pixels: Pixels) -> int:
        """The length of the slot that these tensors need: counted against the placeholders in the text."""
        return self.tokens

    def batch(self, rows: Sequence[Sequence[Pixels]], dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Pictures of each row -> the model's picture inputs; {} when no row has one."""
        flat = [p["pixel_values"] for row in rows for p in row]
        if not flat:
            return {}
        made = torch.stack(flat)  # (pictures, 3, H, W)
        if self.as_uint8:
            made = (made.to(torch.float32) * self.scale - self.mean) / self.std
        return {"pixel_values": made.to(dtype)}

    def extra(self, input_ids: torch.Tensor, first_learnt: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Further inputs (B, T) beside ids and mask; `first_learnt` (B,) is where each row's first answer starts."""
        return {}

    def positions(self, ids: Sequence[int], pixels: Sequence[Pixels]) -> torch.Tensor | None:
        """Positions (axes, T) of one conversation, where the model counts them in its own way; None: 0, 1, 2, …"""
        return None

    def part_of(self, parameter: str) -> str:
        """vision, projector, llm or vpgc, by the longest prefix. Raises DataError for a parameter that belongs to none."""
        if parameter.startswith("vpgc."):
            return "vpgc"
        fitting = [(len(p), part) for part, prefixes in self.parts.items() for p in prefixes if parameter.startswith(p)]
        if not fitting:
            raise DataError(f"parameter {parameter!r} belongs to no known part of the model", where=type(self).__name__)
        return max(fitting)[1]
