"""How sure we are: intervals over pictures, paired differences, and what a run can see before it is made.

Questions on one picture are not independent, so the picture is what is resampled or summed over: the cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from visift.core.seeds import rng

DRAWS = 2000  # bootstrap resamples for an interval
SAME = 1e-12  # what rounding leaves of no difference at all
FEW = 30  # below this many pictures an interval is flagged
CACHED = 8_000_000  # resampling weights kept in memory, as a number of entries

Array = np.ndarray
Value = Callable[[Array], Array]  # sums (..., K) -> metric (...)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval. `n` questions on `clusters` pictures; `method` says how the interval was made."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    method: str

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "value": self.value, "low": self.low, "high": self.high, "n": self.n, "clusters": self.clusters,
            "method": self.method,
        }  # fmt: skip
        return row | ({"flag": f"fewer than {FEW} pictures"} if self.clusters < FEW else {})


def rounded(low: float, high: float) -> tuple[float, float]:
    """Outward to six decimals: more would be noise of the last bits, and the same data must give the same bytes."""
    return math.floor(low * 1e6 + 1e-4) / 1e6, math.ceil(high * 1e6 - 1e-4) / 1e6


def wilson(share: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a share seen in `n` independent trials; `n` may be an effective, broken number."""
    if n <= 0:
        return 0.0, 1.0
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share <= 0 else max(0.0, middle - half)
    return low, 1.0 if share >= 1 else min(1.0, middle + half)


@lru_cache(maxsize=1024)
def t_quantile(freedom: int, share: float = 0.975) -> float:
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(freedom, share))


def t_tails(value: float, freedom: int) -> float:
    """Two-sided p of Student's t."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(value)))


def rate(right: Array, n: Array, *, binary: bool) -> tuple[float, float, str]:
    """95 % interval (low, high, method) of sum(right) / sum(n), a rate in 0..1; both arrays hold one entry a picture.

    One yes/no outcome a picture: Wilson. Otherwise Wilson with the number of independent questions that would have the
    variance seen between pictures (linearised ratio), and Student's t for few pictures. Where every picture agrees (rate 0 or 1)
    the pictures themselves are counted. Yes/no outcomes are never taken to be surer than independent ones.
    """
    kept = n > 0
    right, n = right[kept].astype(float), n[kept].astype(float)
    clusters, total = len(n), float(n.sum())
    if not clusters:
        return 0.0, 1.0, "no data"
    share = min(max(float(right.sum()) / total, 0.0), 1.0)
    if binary and total == clusters:
        return *wilson(share, total), "Wilson"
    if share in (0.0, 1.0) or clusters < 2:
        return *wilson(share, clusters), "Wilson over pictures"
    z = t_quantile(clusters - 1)
    residual = right - share * n
    variance = clusters / (clusters - 1) * float((residual**2).sum()) / total**2
    effective = share * (1 - share) / variance if variance > 0 else math.inf
    if binary or variance == 0:
        effective = min(effective, total)
    return *wilson(share, effective, z), "Wilson, clustered by picture"


def _draw(gen: np.random.Generator, size: int, draws: int) -> Array:
    """How often each of `size` pictures is drawn, uint16 (draws, size): small enough to keep."""
    picks = gen.integers(0, size, size=(draws, size))
    picks += np.arange(draws)[:, None] * size
    return np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size).astype(np.uint16)


@lru_cache(maxsize=32)
def _weights(size: int, draws: int, seed: int, stratum: int) -> Array:
    return _draw(rng("bootstrap", seed, stratum, size), size, draws)


def resample(sums: Array, *, strata: Array | None = None, draws: int = DRAWS, seed: int = 0) -> Array:
    """Sums over pictures drawn with replacement: (pictures, K) -> (draws, K). Pictures are drawn within their stratum."""
    if strata is not None:
        out = np.zeros((draws, sums.shape[1]))
        for number, stratum in enumerate(np.unique(strata)):
            out += _resample(sums[strata == stratum], draws, seed, number)
        return out
    return _resample(sums, draws, seed, 0)


def _resample(sums: Array, draws: int, seed: int, stratum: int) -> Array:
    size = len(sums)
    if size * draws <= CACHED:
        return _weights(size, draws, seed, stratum).astype(np.float64) @ sums
    gen, step = rng("bootstrap", seed, stratum, size), max(1, CACHED // size)
    return np.concatenate(
        [_draw(gen, size, min(step, draws - k)).astype(np.float64) @ sums for k in range(0, draws, step)]
    )


def bootstrap(
    sums: Array, value: Value, *, strata: Array | None = None, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Percentile 95 % interval of `value` over pictures drawn with replacement. `sums` is (pictures, K)."""
    return percentiles(value(resample(sums, strata=strata, draws=draws, seed=seed)))


def percentiles(drawn: Array) -> tuple[float, float]:
    drawn = np.asarray(drawn)
    low, high = np.quantile(drawn[~np.isnan(drawn)], (0.025, 0.975))  # a draw may hold nothing that the metric counts
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A on the same questions, with 95 % interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float
    method: str


def paired_bootstrap(
    a: Array, b: Array, value: Value, *, strata: Array | None = None, draws: int = 10_000, seed: int = 0
) -> Difference:
    """Paired difference of any metric. `a`, `b` are (pictures, K) over the same pictures; each draw takes the same ones for both."""
    width = a.shape[1]
    both = resample(np.concatenate([a, b], axis=1), strata=strata, draws=draws, seed=seed)
    drawn = value(both[:, width:]) - value(both[:, :width])
    before, after = float(value(a.sum(axis=0))), float(value(b.sum(axis=0)))
    seen = after - before
    low, high = percentiles(drawn)
    if high - low < SAME:
        low, high = unvaried(seen, len(a), max(1.0, abs(before), abs(after)))
        p = 2.0 ** (1 - len(a)) if abs(seen) > SAME else 1.0  # of a sign test: every picture the same way
        return Difference(seen, low, high, p, "the same on every picture")
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(seen, low, high, min(1.0, 2 * (tail + 1) / (draws + 1)), "paired bootstrap by picture")


def unvaried(mean: float, pictures: int, span: float = 1.0) -> tuple[float, float]:
    """95 % interval of a difference that was the same on every picture: of further pictures up to 1 - .05^(1/pictures) may
    differ (Clopper and Pearson's bound for none of so many), and each may differ by all of -span..span."""
    unseen = 1 - 0.05 ** (1 / pictures)
    return mean - unseen * (span + mean), mean + unseen * (span - mean)


def paired_means(a: Array, b: Array, clusters: Array) -> Difference:
    """Paired difference of mean scores, one entry a question; `clusters` are picture numbers 0...G-1. Student's t over pictures."""
    delta = b.astype(float) - a.astype(float)
    n, pictures = len(delta), int(clusters.max()) + 1 if len(clusters) else 0
    mean = float(delta.mean()) if n else 0.0
    if pictures < 2:
        return Difference(mean, -1.0, 1.0, 1.0, "no spread to judge by")
    residual = np.bincount(clusters, weights=delta - mean)
    error = math.sqrt(pictures / (pictures - 1) * float((residual**2).sum())) / n
    if error < SAME:  # every picture moved by the same amount, or none did
        low, high = unvaried(mean, pictures, max(1.0, float(np.abs([a, b]).max())))
        return Difference(mean, low, high, 2.0**-pictures * 2 if mean else 1.0, "the same on every picture")
    half = t_quantile(pictures - 1) * error
    p = t_tails(mean / error, pictures - 1)
    return Difference(mean, mean - half, mean + half, p, "paired t, clustered by picture")


def over_seeds(differences: list[float]) -> Difference:
    """The mean of one difference per training seed, with Student's t over seeds; one seed says nothing about the next."""
    runs, mean = len(differences), float(np.mean(differences))
    if runs < 2:
        return Difference(mean, -math.inf, math.inf, 1.0, "one seed")
    error = float(np.std(differences, ddof=1)) / math.sqrt(runs)
    p = t_tails(mean / error, runs - 1) if error else float(mean == 0)
    half = t_quantile(runs - 1) * error
    return Difference(mean, mean - half, mean + half, p, f"t over {runs} seeds")


def detectable(low: float, high: float) -> float:
    """The true difference that a run with a 95 % interval of this width calls significant with probability 0.8."""
    return round((high - low) / (2 * 1.959964) * (1.959964 + 0.841621), 6)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p for questions that only one of the two answered rightly; questions must be independent."""
    from scipy.special import bdtr

    total = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), total, 0.5))) if total else 1.0


def minimal_detectable_difference(
    questions: int, *, disagreement: float = 0.2, design_effect: float = 1.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest paired difference in accuracy that a run of so many questions finds with that power.

    disagreement   share of questions that one model gets right and the other wrong
    design_effect  variance with several questions a picture over the variance of independent ones (>= 1)
    """
    from scipy.special import ndtri

    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return z * math.sqrt(disagreement * design_effect / questions)


def detectable_before(questions: int, pictures: int, correlation: float = 0.05) -> float:
    """The same for questions on pictures, before anything is known: those on one picture are taken to be that much correlated."""
    if not questions or not pictures:
        return 1.0
    effect = 1 + (questions / pictures - 1) * correlation
    return min(1.0, minimal_detectable_difference(questions, design_effect=effect))
