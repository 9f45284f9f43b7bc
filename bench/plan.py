"""Plan a million rows: lengths, labels and picture counts of every row, in flat memory; a second call reads the file.

One row of each of 1,000 kinds (1-4 pictures, 20 to --words words) is written over and over, so that the disk holds a dataset of
the stated size and the renderer can learn nothing from it but the shapes. Peak memory is printed for a tenth of the rows
and for all of them; flat means that it grows by the plan's own 26 bytes a row.
Usage: python bench/plan.py [--rows 1000000] [--words 400] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rig import WORDS

from visift.core.files import write_json
from visift.core.seeds import rng
from visift.core.types import Conversation, Part, Picture, Provenance, Turn, assistant

KINDS, PART = 1000, 10_000


def make_rows(folder: Path, count: int, words: int) -> None:
    """A dataset of ours without its pictures: planning a model of fixed slots opens none."""
    kinds = []
    for k in range(KINDS):
        random = rng("bench plan", k)
        pictures = tuple(
            Picture(f"images/{k}-{j}.png", width=112, height=112) for j in range(int(random.integers(1, 5)))
        )
        parts = [*(Part(image=j) for j in range(len(pictures))), Part(text="List the objects.")]
        answer = assistant(" ".join(random.choice(WORDS, int(random.integers(20, words + 1)))))
        kinds.append(
            json.dumps(
                Conversation("ID", pictures, (Turn("user", tuple(parts)), answer), Provenance("bench")).to_json()
            )
        )
    (folder / "conversations").mkdir(parents=True)
    for part in range(-(-count // PART)):
        rows = range(part * PART, min(count, (part + 1) * PART))
        lines = (kinds[k % KINDS].replace('"ID"', f'"{k}"', 1) for k in rows)
        (folder / "conversations" / f"part-{part:05d}.jsonl").write_text("\n".join(lines) + "\n")
    write_json(
        folder / "dataset.json",
        {"kind": "bench", "counts": {"conversations": count}, "roots": {}, "content_sha256": str(count)},
    )


def measure(data: Path, out: Path) -> dict[str, Any]:
    """In a process of its own, since peak memory never falls."""
    from visift.core.dataset import Dataset
    from visift.models import Renderer, load
    from visift.train.plan import make_plan

    renderer = Renderer(load("builtin", train=True))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = _memory("VmRSS")
    started = time.perf_counter()
    plan = make_plan(out, [Dataset(data)], renderer, 8192, 0.0)
    return {
        "rows": len(plan),
        "tokens": plan.counts["tokens"],
        "seconds": time.perf_counter() - started,
        "mb": _memory("VmHWM") - before,
    }


def _memory(which: str) -> float:
    """MB, on Linux: VmRSS now, VmHWM at its peak."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(which))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=400)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (args.rows // 10, args.rows):
            data = Path(folder) / f"{count}"
            make_rows(data, count, args.words)
            for way in ("measured", "read again"):
                command = [sys.executable, __file__, "--measure", str(data), str(data / "plan")]
                row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                found.append({"way": way, **row})
                rate = row["rows"] / row["seconds"]
                print(
                    f"{row['rows']:,} rows, {way}: {row['seconds']:.1f} s, {rate:,.0f} rows/s, {row['mb']:.0f} MB more",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
