"""SAM 2 as two ONNX files: the only segmenter that runs without torch and without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_file
from visift.core.onnx import open_session
from visift.segment.everything import CPU_POINTS, GPU_POINTS, Prepared, Settings, everything
from visift.segment.segmenter import Found

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DECODER = {"point_coords", "point_labels", "mask_input", "has_mask_input"}  # its inputs besides the encoder's outputs


class Sam2Onnx:
    """`weights` is a folder with one `*encoder*` and one `*decoder*` file, `.onnx` or `.ort`. Raises UsageError without them."""

    named = False

    def __init__(self, weights: str | None, **asked: Any) -> None:
        if weights is None:
            raise UsageError(
                "sam2-onnx needs weights", remedy="--weights DIR, with the encoder and decoder as ONNX files"
            )
        self.folder = Path(weights)
        self.files = {part: _the_file(self.folder, part) for part in ("encoder", "decoder")}
        try:
            import onnxruntime
        except ImportError as e:
            raise UsageError("sam2-onnx needs onnxruntime", remedy="pip install 'visift[onnx]'") from e
        usable = ("CUDAExecutionProvider", "CPUExecutionProvider")
        self.providers = [p for p in usable if p in onnxruntime.get_available_providers()]
        points = GPU_POINTS if self.providers[0] == usable[0] else CPU_POINTS
        self.settings = Settings(**{"points": points, **asked})
        self._hashes = {part: sha256_file(path) for part, path in self.files.items()}
        self._sessions: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sessions": None}

    def describe(self) -> dict[str, Any]:
        return {"segmenter": "sam2-onnx", "weights_sha256": self._hashes, **self.settings.describe()}

    def __call__(self, image: Image.Image) -> list[Found]:
        return everything(self, image, self.settings)

    def prepare(self, image: Image.Image) -> Prepared:
        encoder, _ = self._loaded()
        side = encoder.get_inputs()[0].shape[-1]
        names = [output.name for output in encoder.get_outputs()]
        features = encoder.run(names, {encoder.get_inputs()[0].name: stretched(image, side)})
        return Prepared((side, dict(zip(names, features, strict=True))))

    def masks(self, prepared: Prepared, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, decoder = self._loaded()
        side, features = prepared.features
        count = len(points)
        inputs = {
            "point_coords": (points[:, None] * side).astype(np.float32),  # (n, 1, 2)
            "point_labels": np.ones((count, 1), np.float32),
            "mask_input": np.zeros((count, 1, side // 4, side // 4), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        masks, iou = decoder.run(None, {**features, **inputs})
        return masks, iou

    def _loaded(self) -> tuple[Any, Any]:
        if self._sessions is None:
            encoder, decoder = (open_session(self.files[part], self.providers) for part in ("encoder", "decoder"))
            wanted = DECODER | {output.name for output in encoder.get_outputs()}
            given = {entry.name for entry in decoder.get_inputs()}
            if given != wanted or len(encoder.get_inputs()) != 1:
                raise DataError(
                    f"encoder and decoder do not fit: the decoder takes {', '.join(sorted(given))}", where=self.folder,
                    remedy="an export of SAM 2 for points is needed",
                )  # fmt: skip
            self._sessions = encoder, decoder
        return self._sessions


def stretched(image: Image.Image, side: int) -> np.ndarray:
    """The RGB picture as SAM 2 takes it: stretched to side x side, float32 (1, 3, side, side), ImageNet's mean and spread."""
    small = image.resize((side, side), Image.Resampling.BILINEAR)
    pixels = (np.asarray(small, dtype=np.float32) / 255 - MEAN) / STD
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)


def _the_file(folder: Path, part: str) -> Path:
    found = sorted(p for p in folder.glob(f"*{part}*") if p.suffix in (".onnx", ".ort")) if folder.is_dir() else []
    if len(found) != 1:
        raise UsageError(
            f"holds {len(found)} {part} files", where=folder, remedy=f"--weights DIR with one *{part}*.onnx or .ort"
        )
    return found[0]
