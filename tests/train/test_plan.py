"""Batches: every row as often as it should be, in a seeded order, like lengths together."""

from __future__ import annotations

import numpy as np
import pytest

from visift.train.lr_schedule import factor
from visift.train.pack import even
from visift.train.plan import Plan, order, padding_share
from visift.train.rows import MicroBatches
from visift.train.settings import TrainSettings

pytestmark = pytest.mark.integration

LENGTHS = np.random.default_rng(0).integers(20, 400, 1000).astype(np.int32)


@pytest.mark.parametrize("by_length", [True, False])
def test_a_pass_shows_every_row_once(by_length: bool) -> None:
    batches = order(LENGTHS, 125, 8, 0, by_length)
    assert batches.shape == (125, 8)
    assert sorted(batches.ravel().tolist()) == list(range(1000))


def test_two_passes_show_every_row_twice_and_no_batch_shows_one_row_many_times() -> None:
    batches = order(LENGTHS[:40], 10, 8, 0, True)
    assert np.bincount(batches.ravel()).tolist() == [2] * 40
    assert max(np.bincount(b).max() for b in order(LENGTHS[:8], 20, 8, 0, True)) == 1


def test_like_lengths_meet_and_the_seed_decides_the_order() -> None:
    grouped, plain = order(LENGTHS, 100, 8, 0, True), order(LENGTHS, 100, 8, 0, False)
    assert padding_share(LENGTHS, grouped) < 0.05
    assert padding_share(LENGTHS, plain) > 0.25
    assert (grouped == order(LENGTHS, 100, 8, 0, True)).all()
    assert (grouped != order(LENGTHS, 100, 8, 1, True)).any()
    firsts = LENGTHS[grouped].mean(axis=1)
    assert abs(np.corrcoef(firsts[:50], np.arange(50))[0, 1]) < 0.5  # not from short to long


def test_micro_batches_of_all_processes_make_up_the_batch() -> None:
    batches = order(LENGTHS, 5, 8, 0, True)
    parts = [list(MicroBatches(batches, 2, 3, rank, 2)) for rank in range(2)]
    assert len(parts[0]) == 2 * 2 and len(MicroBatches(batches, 2, 3, 0, 2)) == 5 * 2
    step3 = sorted(i for part in parts for micro in part[:2] for i in micro)
    assert step3 == sorted(batches[3].tolist())


def test_schedules() -> None:
    wsd = TrainSettings(schedule="wsd", warmup=10, decay=0.3)
    rates = [factor(wsd, 100, s) for s in range(101)]
    assert rates[0] < rates[5] < 1 and rates[10:71] == [1.0] * 61
    assert rates[85] == pytest.approx(0.5) and rates[100] == 0
    cosine = TrainSettings(schedule="cosine", warmup=0.1)
    assert (
        factor(cosine, 100, 10) == 1
        and factor(cosine, 100, 55) == pytest.approx(0.5)
        and factor(cosine, 100, 100) < 1e-9
    )
    assert factor(TrainSettings(schedule="linear", warmup=0), 10, 5) == 0.5


def test_micro_batches_of_a_packed_run_hold_alike() -> None:
    random = np.random.default_rng(1)
    pictures = random.integers(0, 5, len(LENGTHS)).astype(np.int16)
    none = np.zeros(0)
    plan = Plan([], none, none, none, LENGTHS, none, pictures, none, {})
    batches = order(LENGTHS, 30, 32, 0, False)
    dealt = even(batches, plan, 8)
    assert (np.sort(dealt) == np.sort(batches)).all()

    def spread(of: np.ndarray, rows: np.ndarray) -> float:
        held = of[rows].reshape(len(rows), 4, 8).sum(axis=2)
        return float((held.max(axis=1) / held.mean(axis=1)).mean())

    for of in (LENGTHS, pictures):
        assert spread(of, dealt) < 1.25 and spread(of, dealt) < spread(of, batches) - 0.05
