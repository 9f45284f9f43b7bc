"""A model of transformers for segmentation: where its files lie, what they are, and loading them strictly."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from visift.core.errors import DataError
from visift.core.files import sha256_file

FILES = ("*.json", "*.safetensors")
# of SAM 2's weights, what only video needs
IGNORED = ("memory_", "mask_downsample", "object_pointer", "occlusion", "no_memory_pos", "temporal")


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Pretrained:
    """`kind` is the model's class; `weights` a folder or a hub id, fetched when first needed. Picklable: workers load anew."""

    def __init__(self, kind: str, weights: str) -> None:
        self.kind, self.weights = kind, weights
        self._model: Any = None
        self._processor: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None, "_processor": None}

    @cached_property
    def folder(self) -> Path:
        """Raises DataError when there is none and the hub has none or cannot be reached."""
        if Path(self.weights).is_dir():
            return Path(self.weights)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.weights, allow_patterns=list(FILES)))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
            raise DataError(
                "is no folder, and cannot be had from the hub", where=self.weights,
                remedy="--weights FOLDER with config.json and safetensors weights, or a hub id that can be reached",
            ) from e  # fmt: skip

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {p.name: sha256_file(p) for p in sorted(self.folder.glob("*.safetensors"))}

    def describe(self) -> dict[str, Any]:
        return {"weights_sha256": self._hashes}

    def model(self) -> Any:
        """In eval mode, in float32. Raises DataError when files are missing or weights do not fit."""
        if self._model is None:
            import transformers
            from safetensors import SafetensorError

            transformers.utils.logging.disable_progress_bar()
            try:
                model, info = getattr(transformers, self.kind).from_pretrained(
                    self.folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True
                )
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
                raise self._broken(e) from e
            left = [n for n in info["unexpected_keys"] if not n.startswith(IGNORED)]
            if wrong := sorted(map(str, [*info["missing_keys"], *left, *info["mismatched_keys"]])):
                raise DataError(
                    f"{len(wrong)} weights are missing or left over, the first {wrong[0]}", where=self.folder,
                    remedy=f"is it a folder of {self.kind}?",
                )  # fmt: skip
            self._model = model.eval().to(device())
        return self._model

    def processor(self) -> Any:
        """The image processor that works on PIL pictures. Raises DataError when there is none."""
        if self._processor is None:
            from transformers import AutoImageProcessor

            try:
                self._processor = AutoImageProcessor.from_pretrained(
                    self.folder, backend="pil", trust_remote_code=False
                )
            except (OSError, ValueError, KeyError) as e:
                raise self._broken(e) from e
        return self._processor

    def _broken(self, e: Exception) -> DataError:
        first = str(e).strip().splitlines()[0][:200] if str(e).strip() else type(e).__name__
        return DataError(
            f"cannot load the model ({first})", where=self.folder, remedy=f"is it a folder of {self.kind}?"
        )
