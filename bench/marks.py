"""Set-of-Mark speed: visift against the published way and against the floor, on the same pictures and masks in one run.

    python bench/marks.py            minutes
    python bench/marks.py --full     also parent memory at 50,000 pictures

Photographs come from VISIFT_DATA/coco_mini where that is set, else from generated pictures of the same size.
`published` is the way of the Set-of-Mark code: a distance transform of the whole frame per mask, then matplotlib.
`floor` decodes and encodes the same pictures and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from visift.core.rle import decode_rle
from visift.marks import lay_out, tag
from visift.sources.coco import CocoSource
from visift.sources.pictures import open_rgb, write_jpeg
from visift.synth.frame import synthesise

PUBLISHED_PICTURES = 24  # enough for a stable mean at 0.1-1 s each


def generated(folder: Path, count: int = 40, per_picture: int = 8) -> tuple[Path, Path]:
    """A COCO folder of `count` 640x480 pictures with random blobs as masks: images, annotations."""
    gen = np.random.default_rng(0)
    images, annotations = [], []
    (folder / "pictures").mkdir(parents=True)
    for k in range(count):
        noise = Image.fromarray(gen.integers(0, 255, (60, 80, 3), dtype=np.uint8)).resize((640, 480))
        noise.filter(ImageFilter.GaussianBlur(1)).save(folder / "pictures" / f"{k:012d}.jpg", quality=92)
        images.append({"id": k, "file_name": f"{k:012d}.jpg", "width": 640, "height": 480})
        annotations += [annotation(gen, len(annotations) + n, k) for n in range(per_picture)]
    path = folder / "instances.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "blob"}]})
    )
    return folder / "pictures", path


def annotation(gen: np.random.Generator, identity: int, picture: int) -> dict[str, object]:
    """A polygon of 22 corners, about as many as COCO's."""
    angle = np.sort(gen.uniform(0, 2 * np.pi, 22))
    radius, (cx, cy) = gen.uniform(8, 140) * gen.uniform(0.5, 1, 22), gen.uniform((40, 40), (600, 440))
    xs, ys = np.clip(cx + radius * np.cos(angle), 0, 639), np.clip(cy + radius * np.sin(angle), 0, 479)
    polygon = [round(float(v), 2) for v in np.stack([xs, ys], axis=1).ravel()]
    box = [round(float(v), 2) for v in (xs.min(), ys.min(), np.ptp(xs), np.ptp(ys))]
    return {
        "id": identity,
        "image_id": picture,
        "category_id": 1,
        "bbox": box,
        "iscrowd": 0,
        "area": 1.0,
        "segmentation": [polygon],
    }


def published(image: Image.Image, masks: list[np.ndarray]) -> Image.Image:
    """Full-frame distance transforms, text by matplotlib, the canvas as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from scipy import ndimage

    figure = Figure(figsize=(image.width / 100, image.height / 100), dpi=100, frameon=False)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.imshow(np.asarray(image), extent=(0, image.width, image.height, 0), interpolation="nearest")
    for number, mask in enumerate(masks, 1):
        distance = ndimage.distance_transform_edt(np.pad(mask, 1))
        rows, columns = np.nonzero(distance == distance.max())
        x, y = columns[len(columns) // 2] - 1, rows[len(rows) // 2] - 1
        box = {"facecolor": "black", "alpha": 0.8, "pad": 0.7, "edgecolor": "none"}
        axes.text(x + 2, y - 6, str(number), size=18, color="white", ha="center", va="top", bbox=box)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def multiplied(images: Path, annotations: Path, times: int, folder: Path) -> CocoSource:
    """The same pictures `times` over, under other names, so that starting workers is a small part of the run."""
    data = json.loads(annotations.read_text())
    (folder / "many").mkdir()
    result: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": data["categories"]}
    for k in range(times):
        for row in data["images"]:
            name = f"{k}-{row['file_name']}"
            shutil.copyfile(images / str(row["file_name"]), folder / "many" / name)
            result["images"].append({**row, "id": k * 10**8 + row["id"], "file_name": name})
        result["annotations"] += [{**row, "image_id": k * 10**8 + row["image_id"]} for row in data["annotations"]]
    (folder / "many.json").write_text(json.dumps(result))
    return CocoSource(folder / "many", folder / "many.json")


def seconds(run: Callable[[], object]) -> float:
    """Time on the clock: what two workers are measured by. It suffers from whatever else the machine does."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cpu(run: Callable[[], object]) -> float:
    """Processor time of this process: cost per core, fair on a busy machine too."""
    start = time.process_time()
    run()
    return time.process_time() - start


def in_child(code: str) -> dict[str, float]:
    """Run code in a fresh process that prints a JSON object: its peak memory is its own."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


PEAK = "peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"  # ru_maxrss counts the parent's too


def speed(folder: Path) -> list[tuple[str, float, str]]:
    data = Path(os.environ.get("VISIFT_DATA", ""), "coco_mini")
    if "VISIFT_DATA" in os.environ and data.is_dir():
        images, annotations = data / "val2017", data / "annotations" / "instances_val2017.json"
    else:
        images, annotations = generated(folder)
    source = CocoSource(images, annotations)
    scenes = list(source)
    some = scenes[:PUBLISHED_PICTURES]
    masks = [[decode_rle(mark.rle) for mark in lay_out(scene).marks] for scene in some]
    pictures = [source.open(scene) for scene in some]
    slow = cpu(lambda: [published(p, m) for p, m in zip(pictures, masks, strict=True)]) / len(some)
    fast = min(cpu(lambda: [tag(p, s) for p, s in zip(pictures, some, strict=True)]) for _ in range(3)) / len(some)
    many = multiplied(images, annotations, max(1, 1200 // len(scenes)), folder)
    total = len(many)
    base = min(cpu(lambda: floor(many, folder / "f.jpg")) for _ in range(2)) / total
    one = min(cpu(lambda k=k: synthesise("mark", many, folder / f"one{k}")) for k in range(2)) / total
    clock = [
        min(seconds(lambda k=k, w=w: synthesise("mark", many, folder / f"clock{w}{k}", workers=w)) for k in range(2))
        / total
        for w in (1, 2)
    ]
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return [
        ("masks to marked pixels, published, ms", slow * 1e3, f"{len(some)} pictures, ready masks, CPU time"),
        (
            "masks to marked pixels, visift, ms",
            fast * 1e3,
            f"{slow / fast:.0f}x faster (aim 20); from polygons, CPU time",
        ),
        ("the same with decode and encode, times", (slow + base) / (fast + base), "faster"),
        ("floor: decode + encode, ms a picture", base * 1e3, f"{total} pictures, CPU time"),
        ("visift mark, ms a picture", one * 1e3, f"{one / base:.2f}x the floor (aim at most 3), CPU time"),
        ("visift mark, 1 worker, ms a picture", clock[0] * 1e3, f"clock time, {load}"),
        ("visift mark, 2 workers, ms a picture", clock[1] * 1e3, f"{clock[0] / clock[1]:.2f}x one worker (aim 1.7)"),
    ]


def floor(source: CocoSource, path: Path) -> None:
    for scene in source:
        write_jpeg(open_rgb(source.images / scene.path), path)


def memory(folder: Path, counts: tuple[int, ...]) -> list[tuple[str, float, str]]:
    """Peak memory of the parent, which feeds two workers, for runs of different length."""
    rows = []
    for count in counts:
        found = in_child(
            "import json; from pathlib import Path; from visift.sources.tabletop import Tabletop\n"
            "from visift.synth.frame import synthesise\n"
            f"if __name__ == '__main__': synthesise('mark', Tabletop({count}), Path({str(folder / f'm{count}')!r}), workers=2)\n"
            + PEAK
            + "print(json.dumps({'mb': peak}))"
        )
        rows.append((f"parent's peak memory, {count:,} pictures, MB", found["mb"], "flat is the aim"))
    return rows


def ingest(folder: Path, pictures: int = 118_287, annotations: int = 860_001) -> list[tuple[str, float, str]]:
    """Time and peak memory of reading a generated instances file of COCO's size, scene by scene."""
    path = folder / "large.json"
    gen = np.random.default_rng(1)
    stock = [json.dumps(annotation(gen, 0, 0))[1:-1].split('"category_id"', 1)[1] for _ in range(500)]
    with path.open("w") as file:
        entries = (f'{{"id": {k}, "file_name": "{k:012d}.jpg", "width": 640, "height": 480}}' for k in range(pictures))
        file.write('{"images": [' + ", ".join(entries) + '], "annotations": [')
        for k in range(annotations):
            file.write(
                f'{", " if k else ""}{{"id": {k}, "image_id": {k * 7919 % pictures}, "category_id"{stock[k % 500]}}}'
            )
        file.write('], "categories": [{"id": 1, "name": "blob"}]}')
    found = in_child(
        "import json, time; from pathlib import Path; from visift.sources.coco import CocoSource\n"
        f"start = time.process_time(); source = CocoSource(Path({str(folder)!r}), Path({str(path)!r}))\n"
        "count = len(source); opened = time.process_time() - start\n"
        "regions = sum(len(scene.regions) for scene in source); total = time.process_time() - start\n"
        + PEAK
        + "print(json.dumps({'index': opened, 'total': total, 'mb': peak, 'regions': regions, 'count': count}))"
    )
    assert (found["count"], found["regions"]) == (pictures, annotations)
    size = f"{path.stat().st_size / 1e6:.0f} MB, {pictures:,} pictures, {annotations:,} annotations"
    return [
        ("index an instances file, CPU s", found["index"], size),
        ("index it and read every scene, CPU s", found["total"], "aim below 60"),
        ("peak memory of that, MB", found["mb"], "aim below 3,000"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also parent memory at 50,000 pictures")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = speed(folder) + ingest(folder) + memory(folder, (1000, 50_000) if arguments.full else (1000, 5000))
    if arguments.json:
        print(json.dumps({"marks": {what: {"value": value, "note": note} for what, value, note in rows}}))
        return
    for what, value, note in rows:
        print(f"{what:45} {value:12,.2f}  {note}")


if __name__ == "__main__":
    main()
