"""The dataset on disk: whole or resumable, the same bytes whatever happened on the way, nothing left out unsaid."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import counting_build
import pytest
from counting_build import PART, content, run, short_parts

from visift.core import dataset, files
from visift.core.dataset import Dataset, Made, Rejection, build
from visift.core.errors import DataError, UsageError, VisiftError

SCRIPT = Path(counting_build.__file__)
ITEMS = 160


def _killed_until_done(out: Path, kills: int, workers: int, chance: random.Random) -> int:
    """Start the build again and again, killing it at random moments; the last start is left to finish."""
    hit = 0
    for attempt in range(kills + 1):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out), str(ITEMS), str(workers)],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if attempt < kills:
            # Count from the first sign of life, so that the moments fall into the work and not into the imports.
            started = time.monotonic()
            while not (out / ".build").exists() and process.poll() is None and time.monotonic() - started < 20:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.25))
            if process.poll() is None:
                hit += 1
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert process.wait(60) == 0
    return hit


def _kill_test(tmp_path: Path, kills: int, workers: int, seed: int) -> None:
    run(tmp_path / "whole", ITEMS)
    hit = _killed_until_done(tmp_path / "killed", kills, workers, random.Random(seed))
    assert hit > 0, "no kill fell into the work: the test says nothing"
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


@pytest.mark.integration
def test_a_killed_build_ends_with_the_same_bytes(tmp_path: Path) -> None:
    _kill_test(tmp_path, kills=2, workers=1, seed=1)


@pytest.mark.stress
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_a_build_killed_many_times_ends_with_the_same_bytes(tmp_path: Path, seed: int, workers: int) -> None:
    _kill_test(tmp_path, kills=5, workers=workers, seed=seed)


@pytest.mark.integration
def test_the_number_of_workers_does_not_show(tmp_path: Path) -> None:
    run(tmp_path / "1", 60, workers=1)
    run(tmp_path / "2", 60, workers=2)
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.parametrize("after", range(0, 60, 7))
def test_a_crash_after_any_write_loses_nothing(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the n-th rename on; with room again, the same bytes come out."""
    run(tmp_path / "whole", 50)
    replace, renames = os.replace, 0

    def full(source: Any, target: Any) -> None:
        nonlocal renames
        renames += 1
        if renames > after:
            raise OSError(errno.ENOSPC, "No space left on device", source)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        try:
            run(tmp_path / "full", 50)
        except VisiftError as e:
            assert "No space left" in str(e) and "what was finished stays" in str(e) and e.exit_code == 1
        else:
            assert renames <= after
    assert not list((tmp_path / "full").rglob("*.part"))  # nothing half-written lies about
    run(tmp_path / "full", 50)
    assert content(tmp_path / "full") == content(tmp_path / "whole")


def test_finished_parts_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def stop(number: int) -> Made:
        made.append(number)
        if number == 60:
            raise KeyboardInterrupt
        return counting_build.make(number, out=tmp_path / "d", delay=0)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), short_parts():
            build(tmp_path / "d", kind="x", items=range(100), make=stop, settings={})
    assert made == [*range(61), *range(50, 61)]  # parts of 25: two were finished


def test_running_a_finished_build_again_changes_nothing(tmp_path: Path) -> None:
    card = run(tmp_path / "d", 30)
    before = content(tmp_path / "d")
    assert run(tmp_path / "d", 30) == card
    assert content(tmp_path / "d") == before
    assert not (tmp_path / "d/.build").exists()


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(tmp_path: Path, finished: bool) -> None:
    if finished:
        run(tmp_path / "d", 10)
    else:
        stopped_after(tmp_path / "d", PART)
    before = content(tmp_path / "d")
    with pytest.raises(UsageError, match="other settings") as e:
        run(tmp_path / "d", 10, style="box")
    assert e.value.exit_code == 2 and str(tmp_path / "d") in str(e.value)
    assert content(tmp_path / "d") == before


def stopped_after(out: Path, items: int) -> None:
    """A build that an error ends after so many items."""

    def make(k: int) -> Made:
        return counting_build.make(k // (k < items), out=out, delay=0)

    with pytest.raises(ZeroDivisionError), short_parts():
        build(out, kind="listing", items=range(items + 1), make=make, settings={"seed": 0, "style": "plain"})


def test_a_command_that_failed_before_a_part_was_finished_locks_nothing(tmp_path: Path) -> None:
    """A misspelt option shows in the first item; the corrected command must be welcome in the same folder."""
    stopped_after(tmp_path / "d", PART - 1)
    assert (tmp_path / "d/.build/settings.json").exists()
    run(tmp_path / "d", 10, style="box")
    run(tmp_path / "fresh", 10, style="box")
    assert content(tmp_path / "d") == content(tmp_path / "fresh")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(UsageError, match="a folder is needed"):
        run(tmp_path / "d", 10)
    assert (tmp_path / "d").read_text() == "mine"


def test_what_is_left_out_is_listed_and_counted(tmp_path: Path) -> None:
    card = run(tmp_path / "d", 60)
    rejected = [json.loads(line) for line in (tmp_path / "d/rejected.jsonl").read_text().splitlines()]
    expected = [n for n in range(60) if n % 7 == 3]
    assert [r["id"] for r in rejected] == [f"item-{n}" for n in expected]
    assert {(r["stage"], r["reason"]) for r in rejected} == {("make", "every seventh")}
    kept = 60 - len(expected)
    assert card["counts"] == {
        "items": 60,
        "conversations": kept,
        "tagged": kept,
        "rejected": len(expected),
        "pictures": kept,
    }
    data = Dataset(tmp_path / "d")
    assert len(data) == len(list(data)) == len(list(data.tagged())) == kept


def test_too_many_rejections_stop_the_run(tmp_path: Path) -> None:
    def make(number: int) -> Made:
        return Made(rejected=[Rejection(str(number), "make", "no regions")])

    with (
        short_parts(),
        pytest.raises(VisiftError, match=r"25 of 25 items were rejected, the first because: no regions"),
    ):
        build(tmp_path / "d", kind="x", items=range(30), make=make, settings={})
    assert not (tmp_path / "d/dataset.json").exists()


@pytest.mark.parametrize("items", [1, 19, 60])
def test_a_dataset_of_nothing_is_no_success_and_is_made_once_the_source_is_mended(tmp_path: Path, items: int) -> None:
    def broken(number: int) -> Made:
        return Made(rejected=[Rejection(f"item-{number}", "make", "not a picture")])

    def again(make: Callable[[int], Made]) -> dict[str, Any]:
        with short_parts():
            return build(tmp_path / "d", kind="x", items=range(items), make=make, settings={}, max_rejected=1.0)

    for _ in range(2):
        with pytest.raises(VisiftError, match=r"item-0.*nothing could be made, the first because: not a picture") as e:
            again(broken)
        assert e.value.exit_code == 1 and str(tmp_path / "d") in str(e.value)
        assert not (tmp_path / "d/dataset.json").exists()
        assert len((tmp_path / "d/rejected.jsonl").read_text().splitlines()) == items
    mended = again(partial(counting_build.make, out=tmp_path / "d", delay=0))
    assert mended["counts"]["items"] == items and len(Dataset(tmp_path / "d")) == mended["counts"]["conversations"] > 0
    assert mended["counts"]["rejected"] == len([n for n in range(items) if n % 7 == 3])
    assert content(tmp_path / "d").keys() - {"dataset.json"} == {
        f"{folder}/part-{part:05d}.jsonl" for folder in ("conversations", "marks") for part in range(-(-items // 25))
    } | {f"images/{n:05d}.bin" for n in range(items) if n % 7 != 3} | {"rejected.jsonl"}


def test_a_source_with_nothing_in_it_is_no_failure(tmp_path: Path) -> None:
    card = build(tmp_path / "d", kind="x", items=(), make=Made, settings={})
    assert card["counts"]["items"] == 0 and list(Dataset(tmp_path / "d")) == []


def test_an_unfinished_or_absent_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset"):
        Dataset(tmp_path)
    (tmp_path / ".build").mkdir()
    with pytest.raises(DataError, match="unfinished"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    "card",
    [
        "{}",
        "[]",
        '{"counts": {"conversations": 1}}',
        '{"counts": {}, "content_sha256": "x"}',
        '{"counts": 3}',
        '"card"',
    ],
)
def test_a_card_that_is_none_is_named(tmp_path: Path, card: str) -> None:
    (tmp_path / "dataset.json").write_text(card)
    with pytest.raises(DataError, match=r"dataset\.json: is no card of a dataset"):
        Dataset(tmp_path)
    with pytest.raises(DataError, match=r"dataset\.json: is no card of a dataset"):
        run(tmp_path, 3)


def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    run(tmp_path / "d", 10)
    path = tmp_path / "d/conversations/part-00000.jsonl"
    path.write_text(path.read_text().replace('"role": "assistant"', '"role": "gpt"', 1))
    with pytest.raises(DataError, match=r"part-00000\.jsonl:1.*c-0.*'gpt'"):
        list(Dataset(tmp_path / "d"))


def test_pictures_are_found_under_their_roots(tmp_path: Path) -> None:
    from visift.core.types import Picture

    run(tmp_path / "d", 3)
    data = Dataset(tmp_path / "d", roots={"mine": str(tmp_path / "pictures")})
    assert data.picture_path(Picture("images/00000.bin")) == (tmp_path / "d/images/00000.bin").resolve()
    assert data.picture_path(Picture("coco:a/b.jpg")) == Path("/pictures/a/b.jpg")
    assert data.picture_path(Picture("mine:x:y.jpg")) == tmp_path.resolve() / "pictures/x:y.jpg"
    for path, message in [
        ("other:x.jpg", "--image-root other=DIR"),
        ("coco:../x", "outside"),
        ("../x", "outside"),
        ("/etc/x", "outside"),
    ]:
        with pytest.raises(DataError, match=message):
            data.picture_path(Picture(path))


def test_parts_are_as_long_as_stated(tmp_path: Path) -> None:
    run(tmp_path / "d", 60)
    lines = [len(p.read_text().splitlines()) for p in sorted((tmp_path / "d/conversations").iterdir())]
    assert len(lines) == 3 and sum(lines) == 51
    assert dataset.PART == 1000 and PART == 25
