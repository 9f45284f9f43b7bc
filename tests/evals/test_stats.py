import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from visift.core.seeds import rng
from visift.evals import stats


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(n, data):
    k = data.draw(st.integers(0, n))
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert stats.wilson(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_sign_test(a, b):
    expected = binomtest(a, a + b).pvalue if a + b else 1.0
    assert stats.mcnemar(a, b) == pytest.approx(expected, abs=1e-12)


def test_clusters_widen_the_interval():
    """18 equal answers a picture are one observation a picture, whatever the number of questions."""
    right = np.repeat([18.0, 0.0], 50)
    low, high, method = stats.rate(right, np.full(100, 18.0), binary=True)
    once = stats.wilson(0.5, 100, stats.t_quantile(99))
    assert (low, high) == pytest.approx(once, abs=2e-3)
    assert "clustered" in method


def test_one_question_a_picture_is_wilson():
    right = np.array([1.0] * 30 + [0.0] * 70)
    assert stats.rate(right, np.ones(100), binary=True) == (*stats.wilson(0.3, 100), "Wilson")


def test_agreement_of_all_pictures_is_not_certainty():
    low, high, _ = stats.rate(np.full(40, 18.0), np.full(40, 18.0), binary=True)
    assert high == 1.0 and low == pytest.approx(stats.wilson(1.0, 40)[0])


def test_bootstrap_of_a_mean_agrees_with_theory():
    values = rng("values").normal(3, 2, 500)
    low, high = stats.bootstrap(values[:, None], lambda s: s[..., 0] / 500)
    error = values.std() / math.sqrt(500)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.02)


def test_resampling_keeps_strata_and_does_not_depend_on_the_cache(monkeypatch):
    sums = np.ones((100, 1))
    strata = np.repeat([0, 1], [30, 70])
    assert (stats.resample(np.c_[strata == 0], strata=strata)[:, 0] == 30).all()
    first = stats.resample(sums * np.arange(100)[:, None], draws=50, seed=3)
    assert (first == stats.resample(sums * np.arange(100)[:, None], draws=50, seed=3)).all()
    monkeypatch.setattr(stats, "CACHED", 1000)
    assert (first == stats.resample(sums * np.arange(100)[:, None], draws=50, seed=3)).all()


def test_paired_bootstrap_sees_what_unpaired_intervals_hide():
    base = rng("base").integers(0, 19, 300).astype(float)
    better = np.minimum(base + (rng("luck").random(300) < 0.2), 18)
    a, b = np.c_[base, np.full(300, 18.0)], np.c_[better, np.full(300, 18.0)]
    found = stats.paired_bootstrap(a, b, lambda s: s[..., 0] / s[..., 1])
    assert found.value == pytest.approx((better - base).sum() / (18 * 300))
    assert found.low > 0 and found.p < 0.001
    assert stats.paired_bootstrap(a, a, lambda s: s[..., 0] / s[..., 1]).p == 1.0


def test_one_picture_proves_nothing():
    """Resampling one picture gives the same difference every time: that is no certainty."""
    a, b = np.array([[1.0, 3.0]]), np.array([[2.0, 3.0]])
    found = stats.paired_bootstrap(a, b, lambda s: s[..., 0] / s[..., 1])
    assert found.value == pytest.approx(1 / 3) and found.p == 1.0 and found.low < 0 < found.high
    ten = stats.paired_bootstrap(a.repeat(10, 0), b.repeat(10, 0), lambda s: s[..., 0] / s[..., 1])
    assert ten.p == pytest.approx(2 / 2**10)  # of a sign test: ten of ten


def test_paired_means_of_independent_questions_is_the_paired_t_test():
    from scipy.stats import ttest_rel

    a, b = rng("a").random(60), rng("b").random(60) + 0.1
    found, theirs = stats.paired_means(a, b, np.arange(60)), ttest_rel(b, a)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    interval = theirs.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_minimal_detectable_difference():
    """papers.md D.3: at 9,000 items the error is about 0.35 points; a paired run with 10 % disagreement sees about 0.9."""
    assert stats.minimal_detectable_difference(9000, disagreement=0.1) == pytest.approx(
        2.8016 * math.sqrt(0.1 / 9000), rel=1e-4
    )
    quarter = stats.minimal_detectable_difference(2250, disagreement=0.1)
    assert quarter == pytest.approx(2 * stats.minimal_detectable_difference(9000, disagreement=0.1))


def _pictures(pictures: int, seed: int) -> np.ndarray:
    """tp, fp, fn, tn per picture: 18 questions, 9 of them yes, difficulty shared within a picture. Shape (pictures, 4)."""
    gen = rng("world", pictures, seed)
    hit, alarm = gen.beta(8.5, 1.5, pictures), gen.beta(1.2, 8.8, pictures)
    tp, fp = gen.binomial(9, hit), gen.binomial(9, alarm)
    return np.c_[tp, fp, 9 - tp, 9 - fp].astype(float)


def _f1(s: np.ndarray) -> np.ndarray:
    return 2 * s[..., 0] / (2 * s[..., 0] + s[..., 1] + s[..., 2])


def _mme(s: np.ndarray) -> np.ndarray:
    return 100 * (s[..., 0] / s[..., 1] + s[..., 2] / s[..., 3])


def _mme_pictures(pictures: int, seed: int) -> np.ndarray:
    """right rows, rows, right pairs, pairs per picture: 9 pairs each. Shape (pictures, 4)."""
    gen = rng("mme world", pictures, seed)
    skill = gen.beta(6, 2, pictures)[:, None]
    first, second = gen.random((pictures, 9)) < skill, gen.random((pictures, 9)) < skill
    n = np.full(pictures, 1.0)
    return np.c_[(first.astype(int) + second).sum(1), 18 * n, (first & second).sum(1), 9 * n].astype(float)


TRUE_MME = 100 * (6 / 8 + 6 * 7 / (8 * 9))  # E[skill] and E[skill²] of beta(6, 2)
TRUE_F1 = 2 * 0.85 / (2 * 0.85 + 0.12 + 0.15)
TRUE_ACCURACY = (0.85 + 0.88) / 2


def coverage(pictures: int, runs: int) -> dict[str, float]:
    """The share of runs whose 95 % interval holds the truth."""
    held = dict.fromkeys(("accuracy", "f1", "mme"), 0)
    for run in range(runs):
        sums = _pictures(pictures, run)
        low, high, _ = stats.rate(sums[:, 0] + sums[:, 3], sums.sum(axis=1), binary=True)
        held["accuracy"] += low <= TRUE_ACCURACY <= high
        low, high = stats.bootstrap(sums, _f1)
        held["f1"] += low <= TRUE_F1 <= high
        low, high = stats.bootstrap(_mme_pictures(pictures, run), _mme)
        held["mme"] += low <= TRUE_MME <= high
    return {name: count / runs for name, count in held.items()}


def test_intervals_hold_the_truth():
    """A sample of the stress test: with 300 runs, 93 % true coverage shows at least 89.5 % (three errors below)."""
    found = coverage(200, 300)
    assert min(found.values()) >= 0.895 and max(found.values()) <= 0.99, found


@pytest.mark.stress
@pytest.mark.parametrize("pictures", [200, 2000])
def test_intervals_hold_the_truth_at_length(pictures):
    found = coverage(pictures, 3000)
    assert min(found.values()) >= 0.93, found


def test_over_seeds_is_the_one_sample_t_test():
    from scipy.stats import ttest_1samp

    values = [0.02, 0.05, 0.03]
    found, theirs = stats.over_seeds(values), ttest_1samp(values, 0)
    interval = theirs.confidence_interval()
    assert (found.value, found.p) == pytest.approx((0.1 / 3, theirs.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_what_is_detectable_is_found_four_times_out_of_five():
    """A paired run whose interval is w wide, with a true effect of detectable(w): about 80 % of runs exclude 0."""
    gen, found = rng("power"), 0
    effect = stats.detectable(-1.959964, 1.959964)  # standard error 1
    for seen in gen.normal(effect, 1, 4000):
        found += seen - 1.959964 > 0
    assert found / 4000 == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.5])
def test_what_no_picture_shows_is_not_ruled_out(moved):
    """Three pictures with the same difference: .05^(1/3) = .368, so up to .632 of all pictures may differ, by up to 1."""
    a = np.full(6, 0.25)
    clusters = np.array([0, 0, 1, 1, 2, 2])
    for found in (
        stats.paired_means(a, a + moved, clusters),
        stats.paired_bootstrap(
            *(np.stack([x, np.ones(3)], 1) for x in (a[:3], a[:3] + moved)), lambda s: s[..., 0] / s[..., 1]
        ),
    ):
        assert found.value == pytest.approx(moved)
        assert (found.low, found.high) == pytest.approx(
            (moved - 0.6316 * (1 + moved), moved + 0.6316 * (1 - moved)), abs=1e-3
        )
    assert stats.paired_means(np.zeros(400), np.zeros(400), np.arange(400)).high == pytest.approx(3 / 400, rel=0.01)
