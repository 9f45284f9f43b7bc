"""Jobs in processes: order, failure in their own words, nothing done twice, nobody left behind after a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from visift.core.dataset import Dataset
from visift.core.errors import DataError, VisiftError
from visift.recipe import job
from visift.recipe.jobs import Job, Running, _drawn, run_jobs

pytestmark = pytest.mark.integration


def synth(tmp_path, name, count=3, **data):
    row = {"kind": "skills", "tabletop": count, "split": "train", "level": 0, "start": 0, "options": {}, **data}
    return Job(name, {"do": "synth", "seed": 0, "sets": [{"data": row, "out": str(tmp_path / name)}]})


def test_jobs_run_once_and_in_order(tmp_path, monkeypatch):
    jobs = [Job("b", synth(tmp_path, "b").spec, frozenset({"a"})), synth(tmp_path, "a")]
    seconds = run_jobs(tmp_path, jobs, at_once=2)
    assert seconds.keys() == {"a", "b"}
    stamps = {n: (tmp_path / n / "dataset.json").stat().st_mtime_ns for n in seconds}
    assert stamps["a"] < stamps["b"]
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing may start now
    assert run_jobs(tmp_path, jobs, at_once=2) == seconds


def test_a_failed_job_speaks_for_itself_and_what_was_finished_stays(tmp_path):
    jobs = [synth(tmp_path, "good"), Job("bad", synth(tmp_path, "bad", kind="nonsense").spec, frozenset({"good"}))]
    with pytest.raises(VisiftError, match="nonsense"):
        run_jobs(tmp_path, jobs, at_once=1)
    assert len(Dataset(tmp_path / "good")) == 3


def test_on_a_terminal_each_running_job_has_a_bar():
    lines = {"train.a": "train: 30/120 steps, 2.0/s, 0:45 left  loss 0.9", "answer.b": "loading"}
    running = {name: Running(process=None, started=0.0, last=last) for name, last in lines.items()}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(_drawn(running, 3, 5))
    head, train, answer = console.export_text().splitlines()
    assert head == "3/5 steps done"
    assert train.split()[0] == "train.a" and "0:45 left" in train
    assert train.count("━") == 6 and "━" not in answer  # 24 places, a quarter done; the rest is drawn in colour alone
    assert answer.split() == ["answer.b", "loading"]


def test_a_killed_parent_leaves_no_job_behind(tmp_path):
    spec = synth(tmp_path, "long", count=100_000).spec
    code = (
        "import json, sys; from pathlib import Path; from visift.recipe.jobs import Job, run_jobs;"
        "run_jobs(Path(sys.argv[1]), [Job('long', json.loads(sys.argv[2]))], 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), json.dumps(spec)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list((tmp_path / "long").rglob("*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    time.sleep(1)
    images = len(list((tmp_path / "long").rglob("*.jpg")))
    time.sleep(1)
    assert len(list((tmp_path / "long").rglob("*.jpg"))) == images > 0


def test_an_unexpected_error_of_many_lines_ends_in_one_line_that_says_what_it_was(monkeypatch, capsys):
    def fails():
        raise ValueError("1 validation error\n  stepz: unknown\n  see https://example.org")

    monkeypatch.setitem(job.STEPS, "synth", fails)
    monkeypatch.setattr(job, "_end_with_parent", lambda: None)
    monkeypatch.setattr(sys, "argv", ["job", '{"do": "synth"}'])
    with pytest.raises(SystemExit, match="1"):
        job.main()
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "ValueError: 1 validation error stepz: unknown see https://example.org"


def asked(folder, kind="listing", task="tag-listing", start=0, **options):
    data = {"tabletop": 6, "split": "train", "level": 0, "start": start, "kind": kind, "options": options}
    return {"data": data, "out": str(folder), "task": task}


def test_questions_about_what_is_trained_on_are_refused(tmp_path):
    job.synth(0, [asked(tmp_path / "lists", start=4)])
    trained = {"q": [str(tmp_path / "lists")]}
    with pytest.raises(DataError, match=r"questions\.q: 2 of 6 scenes are in data lists too, e\.g\. tabletop:train"):
        job.ask(0, [asked(tmp_path / "q")], trained)
    job.ask(0, [asked(tmp_path / "apart" / "q", start=40)], trained)
    job.ask(0, [asked(tmp_path / "other")], trained)  # another folder of pictures


def test_questions_that_their_task_cannot_read_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(DataError):
        job.ask(0, [asked(tmp_path / "q", task="pope")], {})
    job.ask(0, [asked(tmp_path / "right", "questions", "pope", skill="existence")], {})
