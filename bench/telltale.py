"""Can edited pictures be told from original ones, each seen alone? If so, a model can learn the trace instead of the difference.

Pairs come from `visift synth difference`; features are statistics of high-pass residuals over 16 x 16 tiles and of the
8 x 8 grid; gradient-boosted trees tell the two apart, in five folds that share no scene. The interval is a bootstrap over
scenes. The control is a bad editor, a hard-edged flat patch saved at another JPEG quality: it must be caught.

Usage: python bench/telltale.py [--tabletop 40] [--images DIR --annotations FILE --seeds 5] [--editor heal] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from visift.core.dataset import Dataset
from visift.core.rle import decode_rle
from visift.sources.coco import CocoSource
from visift.sources.source import Source
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise

TILE = 16
QUANTILES = (0, 0.02, 0.1, 0.5, 0.9, 0.98, 1)
KERNELS = (
    np.array([[0, 0, 0], [0, -1, 1], [0, 0, 0]], np.float32),
    np.array([[0, 0, 0], [0, -1, 0], [0, 1, 0]], np.float32),
    np.array([[0, 0, 0], [1, -2, 1], [0, 0, 0]], np.float32),
    np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32),
)
BAD_QUALITY = 80


def features(image: Image.Image) -> np.ndarray:
    """float32 (F,): quantiles over tiles of residual energy and of its ratio between scales, and the grid's strength."""
    ycc = np.asarray(image.convert("YCbCr"), np.float32)
    found: list[float] = []
    for channel in range(2):  # brightness, and one of the colours
        plane = ycc[..., channel]
        energies = []
        for kernel in KERNELS:
            residual = ndimage.correlate(plane, kernel)
            energies.append(_tiles(np.abs(residual)))
            clipped = np.clip(np.round(residual), -4, 4)
            found += list(np.bincount((clipped + 4).astype(int).ravel(), minlength=9) / clipped.size)
            steps = np.abs(residual).mean(axis=0)
            found += [float(steps[k::8].mean()) / (float(steps.mean()) + 1e-3) for k in range(8)]  # the JPEG grid
        for energy in energies:
            found += list(np.quantile(np.log1p(energy), QUANTILES))
        ratio = np.log1p(energies[3]) - np.log1p(energies[0])
        found += list(np.quantile(ratio, QUANTILES))
        around = ndimage.median_filter(energies[3], 3)
        found += list(np.quantile(np.log1p(energies[3]) - np.log1p(around), QUANTILES))  # a tile unlike its neighbours
    return np.array(found, np.float32)


def _tiles(plane: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape[0] // TILE, plane.shape[1] // TILE
    return plane[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE).mean(axis=(1, 3))


def spoil(image: Image.Image, support: np.ndarray) -> Image.Image:
    """What a careless editor leaves: a flat patch with a hard edge, and a file of another quality."""
    pixels = np.array(image)
    rows, columns = np.nonzero(support)
    middle = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    pixels[middle] = pixels[middle].mean(axis=(0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=BAD_QUALITY, subsampling=0)
    return Image.open(io.BytesIO(buffer.getvalue()))


def rows(
    source: Source, out: Path, seeds: int, editor: str, per_scene: int
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]:
    """(scene, edit, features of the original, of the edited, of the spoilt picture) for each pair."""
    known: dict[str, np.ndarray] = {}
    for seed in range(seeds):
        folder = out / str(seed)
        synthesise("difference", source, folder, seed=seed, sets=0.0, unchanged=0.0, per_scene=per_scene, editor=editor)
        dataset = Dataset(folder)
        for row in dataset:
            edit = row.meta["edits"][0]
            first, second = row.images[edit["original"]], row.images[edit["image"]]
            if first.sha256 not in known:
                known[first.sha256] = features(Image.open(dataset.picture_path(first)))
            edited = Image.open(dataset.picture_path(second)).convert("RGB")
            bad = spoil(edited, decode_rle(edit["rle"]))
            yield row.provenance.scenes[0], edit["edit"], known[first.sha256], features(edited), features(bad)


def tell(x: np.ndarray, y: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """bool (N,): whether each picture was told right by a classifier that saw no picture of its scene."""
    right = np.zeros(len(y), bool)
    for train, test in GroupKFold(5).split(x, y, scenes):
        model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, max_leaf_nodes=15, random_state=0)
        right[test] = model.fit(x[train], y[train]).predict(x[test]) == y[test]
    return right


def interval(right: np.ndarray, scenes: np.ndarray) -> tuple[float, float]:
    """95 %, by drawing scenes."""
    names, which = np.unique(scenes, return_inverse=True)
    hits, sizes = np.bincount(which, right), np.bincount(which)
    gen = np.random.default_rng(0)
    drawn = gen.integers(len(names), size=(2000, len(names)))
    low, high = np.quantile(hits[drawn].sum(1) / sizes[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabletop", type=int, default=40, help="scenes; the numbers of the notebook are of 1000")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--per-scene", type=int, default=2)
    parser.add_argument("--editor", default="heal")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    source: Source = CocoSource(args.images, args.annotations) if args.images else Tabletop(args.tabletop)
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(source, Path(folder), args.seeds, args.editor, args.per_scene))
    scene, edit = (np.array([r[k] for r in found]) for k in (0, 1))
    scenes, edits = np.concatenate([scene, scene]), np.concatenate([edit, edit])
    y = np.repeat([0, 1], len(found))
    result: dict[str, Any] = {"pairs": len(found), "scenes": len(set(scene)), "editor": args.editor}
    for name, column in (("edited", 3), ("control", 4)):
        x = np.stack([r[2] for r in found] + [r[column] for r in found])
        right = tell(x, y, scenes)
        low, high = interval(right, scenes)
        result[name] = {"accuracy": round(float(right.mean()), 4), "low": round(low, 4), "high": round(high, 4)}
        if name == "edited":
            result["by_edit"] = {str(k): round(float(right[edits == k].mean()), 4) for k in sorted(set(edits))}
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
