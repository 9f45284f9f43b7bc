"""How fast mix, check and convert stream, and how much memory they take, against json.load + json.dump of the same file.

python bench/mix.py [ROWS ...]      default: 10000 and 1000000 rows (the latter needs some 4 GB of disk)

Each measurement runs in its own process, so that its peak of resident memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PICTURES = 100
WORDS = "the quick brown fox jumps over the lazy dog and looks for a place to rest near the river"
FLOOR = "json.load + json.dump"


def write_input(folder: Path, rows: int) -> Path:
    """A LLaVA file of two rounds and about 400 characters a row, over a hundred small pictures."""
    from PIL import Image

    from visift.formats.rows import row_writer

    for k in range(PICTURES):
        Image.new("RGB", (32, 32), (k, 2 * k, 255 - k)).save(folder / f"{k:012d}.jpg")
    words = WORDS.split()
    with row_writer(folder / "in.json") as write:
        for k in range(rows):
            said = " ".join(words[(k + j) % len(words)] for j in range(30))
            turns = [
                ("human", "<image>\nWhat is on the picture?"),
                ("gpt", said),
                ("human", "And what else?"),
                ("gpt", said),
            ]
            row = {"id": f"row-{k}", "image": f"{k % PICTURES:012d}.jpg"}
            write(row | {"conversations": [{"from": role, "value": text} for role, text in turns]})
    evaluation = {"rows": [{"image": f"COCO_val2014_{k:012d}.jpg"} for k in range(90, 100)]}
    (folder / "eval.json").write_text(json.dumps(evaluation))
    recipe = {"sources": [{"name": "in", "path": "in.json"}], "evaluation": ["eval.json"]}
    (folder / "mix.yaml").write_text(json.dumps(recipe))
    return folder


def work(what: str, folder: Path) -> None:
    if what == FLOOR:
        with (folder / "in.json").open() as f:
            content = json.load(f)
        with (folder / "out.json").open("w") as f:
            json.dump(content, f, ensure_ascii=False)
    elif what == "visift convert":
        from visift.formats.convert import convert

        convert(folder / "in.json", "messages", folder / "out.jsonl")
    elif what == "visift check":
        from visift.curate.check import check

        assert check(folder / "in.json", image_root=folder)["errors"] == 0
    elif what == "visift mix":
        from visift.curate.mix import mix

        mix(folder / "mix.yaml", folder / "mixed")
    else:
        raise ValueError(what)


def measure(what: str, folder: Path) -> dict[str, float]:
    """Seconds on the clock and of CPU, and peak megabytes, of one process; imports are not counted as time."""
    program = [sys.executable, __file__, "--work", what, str(folder)]
    out = subprocess.run(program, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return dict(json.loads(out))


def main() -> None:
    counts = [int(a) for a in sys.argv[1:]] or [10_000, 1_000_000]
    print(f"{'what':<24}{'rows':>10}{'MB in':>8}{'s':>8}{'cpu s':>8}{'rows/cpu s':>12}{'peak MB':>9}")
    for rows in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = write_input(Path(name), rows)
            size = (folder / "in.json").stat().st_size / 1e6
            for what in (FLOOR, "visift convert", "visift check", "visift mix"):
                m = measure(what, folder)
                cells = f"{what:<24}{rows:>10}{size:>8.0f}{m['seconds']:>8.1f}{m['cpu']:>8.1f}"
                print(f"{cells}{rows / m['cpu']:>12.0f}{m['peak']:>9.0f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        if sys.argv[2] != FLOOR:  # imports first, outside the time
            import visift.curate.check
            import visift.curate.mix
            import visift.formats.convert  # noqa: F401
        start, cpu = time.perf_counter(), time.process_time()
        work(sys.argv[2], Path(sys.argv[3]))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if os.uname().sysname == "Linux" else 1 << 20)
        print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))
    else:
        main()
