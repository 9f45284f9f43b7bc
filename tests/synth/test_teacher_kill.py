"""`kill -9` while a teacher is being asked; run again, no finished call is repeated and the bytes are those of an unbroken run."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Faulty, serving
from test_teacher import good_list, picture_of, told, truth

from visift.core.files import sha256_file, sha256_json
from visift.remote.client import Client
from visift.remote.limits import Limits
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
from visift.synth.teacher import Teacher

pytestmark = pytest.mark.integration

CODE = """
import sys
from pathlib import Path
from visift.core import dataset
from visift.remote.client import Client
from visift.remote.limits import Limits
from visift.remote.prices import Price
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
from visift.synth.teacher import Teacher
dataset.PART = 20
out = Path(sys.argv[1])
with Client(sys.argv[2], cache=out / ".cache/replies.sqlite", limits=Limits(concurrency=6), price=Price(1, 1), max_cost=9) as client:
    synthesise("listing", Tabletop(int(sys.argv[3])), out, teacher=Teacher(client, "wise"))
"""
GRACE = 0.5  # seconds in which a reply that the server has sent must have reached the cache


def kept(out: Path) -> set[str]:
    """Requests whose replies are in the cache."""
    with sqlite3.connect(out / ".cache/replies.sqlite") as db:
        return {key for (key,) in db.execute("SELECT request_sha256 FROM replies")}


def files(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): sha256_file(p)
        for p in folder.rglob("*")
        if p.is_file() and ".cache" not in p.parts and not p.name.endswith(".part")
    }


def check(tmp_path: Path, kills: int, scenes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known = truth(Tabletop(scenes), tmp_path / "marks")

    def plan(n: int, body: dict[str, Any]) -> str:
        sha = picture_of(body)
        text = good_list(known[sha].marks)
        spoilt = int(sha[:4], 16) % 4 == 0 and not told(body)  # a quarter is asked twice
        return text.replace("1. a ", "1. no ").partition("\n")[0] if spoilt else text

    script, out, chance = tmp_path / "work.py", tmp_path / "killed", random.Random(0)
    script.write_text(CODE)

    def start(server: Faulty) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", str(script), str(out), server.url, str(scenes)]
        return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with serving(plan, delay=0.06) as server:
        hits, finished_before = 0, []
        for _ in range(kills):
            process, calls = start(server), server.calls
            while process.poll() is None and server.calls < calls + scenes // (kills + 2):
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            hits += 1
            finished_before.append((server.calls, {key for t, key in server.answered if t < time.monotonic() - GRACE}))
        assert hits >= max(1, kills // 2) and finished_before[-1][1], (
            "too few kills fell into the work: the test says little"
        )
        assert start(server).wait() == 0
        bodies = [sha256_json(body) for body in server.bodies]
    for calls, finished in finished_before:
        assert not finished & set(bodies[calls:]), "the server was asked again what it had answered"
    with sqlite3.connect(out / ".cache/replies.sqlite") as db:
        log = [key for (key,) in db.execute("SELECT request_sha256 FROM calls WHERE outcome = 'stop' ORDER BY id")]
        open_calls = db.execute("SELECT COUNT(*) FROM calls WHERE outcome = 'open' AND cost > 0").fetchone()[0]
    assert len(log) == len(set(log)) == len(kept(out)), "every finished call was made once"
    assert len(bodies) - len(log) <= 6 * hits and open_calls <= 6 * hits, "only what a kill cut off was asked again"

    monkeypatch.setattr("visift.core.dataset.PART", 20)
    with serving(plan) as server, Client(server.url, limits=Limits(concurrency=3)) as client:
        synthesise("listing", Tabletop(scenes), tmp_path / "whole", teacher=Teacher(client, "wise"))
    assert files(tmp_path / "whole") == files(out)


@pytest.mark.integration
def test_two_kills_repeat_no_finished_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(tmp_path, 2, 60, monkeypatch)


@pytest.mark.stress
def test_twenty_kills_repeat_no_finished_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(tmp_path, 20, 900, monkeypatch)
