"""Broken annotation files and pictures: a clear error or a counted rejection each time, and nothing from outside the root."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import VisiftError
from visift.core.rle import encode_rle
from visift.core.seeds import rng
from visift.sources.coco import CocoSource
from visift.synth.frame import synthesise

STRANGE: list[Any] = [
    None, True, -1, 0, 10**9, 2**70, 1e308, float("nan"), float("-inf"), "", "x", "../../etc/passwd", "/etc/passwd", "../secret.jpg", "a\0b",
    [], {}, [[]], [[1, 2]], [[1, 2, 3, 4, 5, "x"]], [[1e30] * 8], [[-5e5] * 6], {"size": [48, 64], "counts": [5]},
    {"size": [48, 64], "counts": "~~~"}, {"size": [48, 64], "counts": "0"}, {"size": [1, 1], "counts": "01"}, {"counts": "x"}, [{}] * 3, "é" * 300,
]  # fmt: skip


def base(folder: Path) -> dict[str, Any]:
    """Three pictures of 64x48 with polygons, RLEs, a crowd, captions and panoptic masks; a picture that is off limits."""
    gen = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    (folder / "panoptic").mkdir()
    Image.new("RGB", (64, 48), (255, 0, 255)).save(folder / "secret.jpg")
    images, annotations, panoptic, captions = [], [], [], []
    for k in range(3):
        name = f"{k}.{('jpg', 'png', 'jpg')[k]}"
        Image.fromarray(gen.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / "pictures" / name)
        images.append({"id": k, "file_name": name, "width": 64, "height": 48, "license": 1})
        mask = np.zeros((48, 64), bool)
        mask[5:20, 5 + k : 30] = True
        shared = {"image_id": k, "iscrowd": 0, "area": 100.0}
        annotations += [
            {
                "id": 10 * k,
                "category_id": 1,
                "bbox": [30, 5, 20, 30],
                "segmentation": [[30, 5, 50, 5, 50, 35, 30, 35]],
                **shared,
            },
            {"id": 10 * k + 1, "category_id": 2, "bbox": [5, 5, 25, 15], "segmentation": encode_rle(mask), **shared},
            {"id": 10 * k + 2, "category_id": 2, "bbox": [0, 30, 20, 12], **shared},
            {
                "id": 10 * k + 3,
                "category_id": 1,
                "bbox": [0, 0, 2, 2],
                **shared,
                "iscrowd": 1,
                "segmentation": {"size": [48, 64], "counts": [3000, 72]},
            },
        ]
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[40:, :, 0] = 7
        Image.fromarray(pixels).save(folder / "panoptic" / f"{k}.png")
        panoptic.append(
            {"image_id": k, "file_name": f"{k}.png", "segments_info": [{"id": 7, "category_id": 3, "iscrowd": 0}]}
        )
        captions.append({"id": k, "image_id": k, "caption": "A thing."})
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cup"}, {"id": 3, "name": "sky", "isthing": 0}]
    licenses = [{"id": 1, "name": "x", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    head = {"info": {}, "licenses": licenses, "images": images}
    return {
        "instances": {**head, "annotations": annotations, "categories": categories[:2]},
        "captions": {**head, "annotations": captions},
        "panoptic": {**head, "annotations": panoptic, "categories": categories},
    }


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON tree."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, child in children for path in [(*here, key), *paths(child, (*here, key))]]


def mutate_tree(gen: np.random.Generator, tree: Any) -> Any:
    """One to three values replaced by strange ones, removed or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(int(gen.integers(1, 4))):
        found = paths(tree)
        if not found:
            return tree
        *parents, key = found[int(gen.integers(len(found)))]
        holder = tree
        for step in parents:
            holder = holder[step]
        action = int(gen.integers(6))
        if action == 0:
            del holder[key]
        elif action == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(STRANGE[int(gen.integers(len(STRANGE)))])
    return tree


def mutate_bytes(gen: np.random.Generator, data: bytes) -> bytes:
    """Some bytes flipped, or the end cut off, or a stretch repeated."""
    action = int(gen.integers(4))
    if action == 0:
        return data[: int(gen.integers(len(data)))]
    if action == 1:
        start = int(gen.integers(len(data)))
        return data[:start] + data[start : start + 40] * 3 + data[start:]
    changed = bytearray(data)
    for where in gen.integers(0, len(data), size=int(gen.integers(1, 12))):
        changed[where] ^= 1 << int(gen.integers(8))
    return bytes(changed)


def try_one(gen: np.random.Generator, folder: Path, trees: dict[str, Any], originals: dict[Path, bytes]) -> str:
    """Break something, make a dataset, and return what became of it."""
    written = {kind: json.dumps(tree).encode() for kind, tree in trees.items()}
    for path, data in originals.items():
        path.write_bytes(data)
    victim = ("instances", "captions", "panoptic", "picture", "png")[int(gen.choice(5, p=[0.5, 0.1, 0.15, 0.15, 0.1]))]
    if victim in written:
        tree = mutate_tree(gen, trees[victim]) if gen.random() < 0.6 else None
        written[victim] = json.dumps(tree).encode() if tree is not None else mutate_bytes(gen, written[victim])
    else:
        pool = [p for p in originals if (p.parent.name == "pictures") == (victim == "picture")]
        path = pool[int(gen.integers(len(pool)))]
        path.write_bytes(mutate_bytes(gen, originals[path]))
    for kind, data in written.items():
        (folder / f"{kind}.json").write_bytes(data)
    kind = ("listing", "tag-qa", "mark")[int(gen.integers(3))]
    files = {k: folder / f"{k}.json" for k in ("instances", "captions", "panoptic")}
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    try:
        source = CocoSource(folder / "pictures", files["instances"], files["captions"], files["panoptic"])
        card = synthesise(kind, source, out)
    except VisiftError as e:
        assert e.what and "\n" not in str(e) and len(str(e)) < 2000
        return "error"
    for tagged in Dataset(out).tagged():
        assert (folder / "pictures" / tagged.source).resolve().is_relative_to((folder / "pictures").resolve())
        assert (out / tagged.image).is_file()
    made = {t.scene for t in Dataset(out).tagged()}
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert all(row["reason"] and row["id"] for row in rejected)
    assert card["counts"]["items"] == len(made | {r["id"] for r in rejected if r["id"].startswith("coco:")})
    return "rejected" if rejected else "made"


def run(folder: Path, count: int, seed: int) -> None:
    trees = base(folder)
    originals = {p: p.read_bytes() for place in ("pictures", "panoptic") for p in sorted((folder / place).iterdir())}
    outside = {p: p.read_bytes() for p in [folder / "secret.jpg"]}
    seen: dict[str, int] = {}
    for number in range(count):
        gen = rng("mutation", seed, number)
        try:
            outcome = try_one(gen, folder, trees, originals)
        except Exception as e:
            raise AssertionError(f"mutation {number} of seed {seed}: {type(e).__name__}: {e}") from e
        seen[outcome] = seen.get(outcome, 0) + 1
    known = {"pictures", "panoptic", "secret.jpg", "instances.json", "captions.json", "panoptic.json"}
    assert {p.name for p in folder.iterdir()} - {"out"} == known
    assert all(path.read_bytes() == data for path, data in outside.items())
    assert min(seen.get("error", 0), seen.get("rejected", 0)) > count // 20, seen  # both ways out were taken


@pytest.mark.integration
def test_mutations(tmp_path: Path) -> None:
    run(tmp_path / "world", 300, seed=0)


@pytest.mark.stress
def test_many_mutations(tmp_path: Path) -> None:
    run(tmp_path / "world", 10_000, seed=1)
