"""The numbers: formulas over sums, and the table of sums that they and their intervals are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visift.evals import stats
from visift.evals.stats import Estimate
from visift.evals.task import Item, Metric, Sums, Total

Array = np.ndarray


def ratio(over: Array, under: Array) -> Array:
    """over / under, 0 where there is nothing under the line (a model that never says yes has precision 0, as published)."""
    over, under = np.asarray(over, float), np.asarray(under, float)
    return np.divide(over, under, out=np.zeros(np.broadcast(over, under).shape), where=under > 0)


def rate(name: str, over: str, under: str = "n", needs: str = "") -> Metric:
    return Metric(name, lambda s: ratio(s[over], s[under]), (over, under), needs)


def total_rate(name: str, over: str, under: str = "n", group: str = "") -> Total:
    return Total(name, lambda g: ratio(g[group][over], g[group][under]), (over, under), group)


def f1(s: Sums) -> Array:
    """2 tp / (2 tp + fp + fn): equal to the harmonic mean of precision and recall, and 0 where that is not defined."""
    return ratio(2 * s["tp"], 2 * s["tp"] + s["fp"] + s["fn"])


YES_NO = (
    Metric("f1", f1),
    rate("accuracy", "right"),
    Metric("precision", lambda s: ratio(s["tp"], s["tp"] + s["fp"]), ("tp", "yes")),
    Metric("recall", lambda s: ratio(s["tp"], s["tp"] + s["fn"]), ("tp", "positive")),
    rate("yes_rate", "yes"),
)
ACCURACY = (rate("accuracy", "right"),)
TOTAL_ACCURACY = (total_rate("accuracy", "right"),)


def whole(metric: Metric) -> Total:
    """A group's metric over everything."""
    return Total(metric.name, lambda g: metric.of(g[""]), metric.rate)


def mean_over_groups(metric: Metric) -> Total:
    """The unweighted mean of a metric over the groups."""

    def of(groups: Mapping[str, Sums]) -> Array:
        named = [metric.of(sums) for group, sums in groups.items() if group] or [metric.of(groups[""])]
        return np.mean(np.stack(named), axis=0)

    return Total(metric.name, of)


@dataclass(slots=True)
class Table:
    """Sums of every part, per picture and group: `sums` is (pictures, columns), a column is one (group, part)."""

    sums: Array
    columns: dict[tuple[str, str], int]
    groups: tuple[str, ...]
    parts: tuple[str, ...]
    strata: Array | None
    counts: dict[str, int]  # questions a group
    binary: bool  # every score is 0 or 1
    drawn: tuple[int, Array] | None = None  # seed, and sums over resampled pictures (draws, columns)

    @staticmethod
    def of(items: Sequence[Item]) -> Table:
        scored = [i for i in items if i.score is not None]
        groups = ("", *sorted({g for i in scored for g in i.question.groups}))
        parts = tuple(sorted({p for i in scored for p in i.parts}))
        columns = {(g, p): k for k, (g, p) in enumerate((g, p) for g in groups for p in parts)}
        pictures: dict[tuple[str, str], int] = {}
        row = np.array(
            [pictures.setdefault((i.question.stratum, i.question.cluster), len(pictures)) for i in scored], int
        )
        members: dict[str, list[int]] = {g: [] for g in groups}
        for k, item in enumerate(scored):
            for group in item.question.groups:
                members[group].append(k)
        members[""] = list(range(len(scored)))
        counts = {g: len(found) for g, found in members.items()}
        sums = np.zeros((len(pictures), max(len(columns), 1)))
        for part in parts:
            values = np.array([i.parts.get(part, 0.0) for i in scored])
            for group, found in members.items():
                sums[:, columns[group, part]] = np.bincount(row[found], weights=values[found], minlength=len(pictures))
        names = sorted({stratum for stratum, _ in pictures})
        strata = np.array([names.index(s) for s, _ in pictures]) if len(names) > 1 else None
        binary = all(i.score in (0.0, 1.0) for i in scored)
        return Table(sums, columns, groups, parts, strata, counts, binary)

    def named(self, sums: Array) -> dict[str, Sums]:
        """Sums (..., columns) as {group: {part: (...)}}."""
        return {g: {p: sums[..., self.columns[g, p]] for p in self.parts} for g in self.groups}

    def column(self, group: str, part: str) -> Array:
        return self.sums[:, self.columns[group, part]]

    def has(self, group: str, part: str) -> bool:
        return not part or (part in self.parts and bool(self.column(group, part).any()))

    def of_group(self, group: str, metric: Metric, seed: int = 0) -> Estimate:
        return self._estimate(group, metric.rate, lambda s: metric.of(self.named(s)[group]), seed)

    def of_all(self, total: Total, seed: int = 0) -> Estimate:
        return self._estimate(total.group, total.rate, lambda s: total.of(self.named(s)), seed)

    def _estimate(self, group: str, parts: tuple[str, str] | None, value: stats.Value, seed: int) -> Estimate:
        n = self.counts[group]
        here: Array = np.asarray(self.sums[:, [self.columns[group, p] for p in self.parts]].any(axis=1))
        clusters = int(here.sum())
        if not n or not clusters:
            return Estimate(None, None, None, n, clusters, "no data")
        seen = float(value(self.sums.sum(axis=0)))
        if np.isnan(seen):
            return Estimate(None, None, None, n, clusters, "no data")
        if parts is not None:
            over, under = self.column(group, parts[0]), self.column(group, parts[1])
            low, high, method = stats.rate(over, under, binary=self.binary)
        else:
            low, high = stats.percentiles(value(self._resampled(here, seed)))
            method = "bootstrap by image"
            if low == high and seen in (0.0, 1.0):  # nothing varies between pictures: resampling would claim certainty
                low, high = stats.wilson(seen, clusters)
                method = "Wilson over pictures"
            elif low == high:
                low, high = stats.unvaried(seen, clusters, max(1.0, abs(seen)))
                if 0 <= seen <= 1:  # a share stays one
                    low, high = max(low, 0.0), min(high, 1.0)
                method = "bound: the same on every picture"
        return Estimate(seen, *stats.rounded(low, high), n, clusters, method)

    def _resampled(self, here: Array, seed: int) -> Array:
        """Sums over resampled pictures (draws, columns). Every metric over the whole table is read off the same ones."""
        if not here.all() and self.strata is None:
            return stats.resample(self.sums[here], seed=seed)
        if self.drawn is None or self.drawn[0] != seed:
            self.drawn = (seed, stats.resample(self.sums, strata=self.strata, seed=seed))
        return self.drawn[1]
