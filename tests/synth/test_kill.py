"""`kill -9` of the whole process tree while pictures are being tagged; run again, the bytes are those of an unbroken run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from visift.core.files import sha256_file

CODE = """
import sys
from pathlib import Path
from visift.core import dataset
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
dataset.PART = 20
if __name__ == "__main__":
    synthesise("listing", Tabletop(int(sys.argv[2])), Path(sys.argv[1]), workers=int(sys.argv[3]))
"""


def start(script: Path, out: Path, scenes: int, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", str(script), str(out), str(scenes), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_after_progress(process: subprocess.Popen[bytes], out: Path, seed: int) -> bool:
    """Kill the tree a random moment after it has drawn another picture; whether it was still at work."""
    chance = random.Random(seed)

    def drawn() -> int:
        return len(list((out / "images").glob("*.jpg")))

    before = drawn()
    while process.poll() is None and drawn() <= before:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.15))
    working = process.poll() is None
    if working:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return working


def check(tmp_path: Path, kills: int, scenes: int, workers: int) -> None:
    script = tmp_path / "work.py"
    script.write_text(CODE)
    assert start(script, tmp_path / "whole", scenes, 1).wait() == 0
    out, hits = tmp_path / "killed", 0
    for seed in range(kills):
        hits += kill_after_progress(start(script, out, scenes, workers), out, seed)
        if not hits or (out / "dataset.json").exists():
            break
    assert hits >= max(1, kills // 2), "too few kills fell into the work: the test says little"
    assert start(script, out, scenes, workers).wait() == 0
    whole, killed = (
        {
            p.relative_to(d).as_posix(): sha256_file(p)
            for p in d.rglob("*")
            if p.is_file() and not p.name.endswith(".part")
        }
        for d in (tmp_path / "whole", out)
    )
    assert whole == killed and len(whole) == scenes + len(list((out / "conversations").iterdir())) * 2 + 2


@pytest.mark.integration
def test_two_kills(tmp_path: Path) -> None:
    check(tmp_path, kills=2, scenes=160, workers=1)


@pytest.mark.stress
def test_twenty_kills_of_two_workers(tmp_path: Path) -> None:
    check(tmp_path, kills=20, scenes=2400, workers=2)
