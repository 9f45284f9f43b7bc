"""Numbers as places on an axis, in percent of its width, so that the drawing fits a phone and a desktop alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from visift.core.errors import DataError
from visift.core.types import get
from visift.report.names import metric_title, task_note, task_title

SHAPES = (  # one a series: colour is never the only sign
    "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
    "M-4.2,-4.2h8.4v8.4h-8.4z",
    "M0,-5.8L5.8,0L0,5.8L-5.8,0z",
    "M0,-5.4L5.4,4.2H-5.4z",
    "M0,5.4L5.4,-4.2H-5.4z",
    "M-5,-1.8H-1.8V-5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5z",
)
POINTS = 160  # most points of a curve


@dataclass(frozen=True, slots=True)
class Axis:
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands, in percent; outside values stand at the edge."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(percent, label), four to six of them."""
        step = nice_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        values = [k * step for k in range(first, int(self.high / step + 1e-9) + 1)]
        return [(self.at(v), f"{v:g}".replace("-", "−") if abs(v) > step / 2 else "0") for v in values]


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(round(m * power, 12) for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def axis_for(values: Sequence[float], *, around_zero: bool = False) -> Axis:
    """0...1 for rates; otherwise wide enough for all values. Differences get an axis with zero in the middle."""
    far = max((abs(v) for v in values), default=1.0)
    if around_zero:
        far = max(far, 0.1)  # a narrower axis would blow noise up
        step = nice_step(far / 2)
        edge = step * math.ceil(far / step - 1e-9)
        return Axis(-edge, edge)
    if far <= 1 and min(values, default=0.0) >= 0:
        return Axis(0.0, 1.0)
    step = nice_step(far / 4)
    top = step * math.ceil(far / step - 1e-9)
    return Axis(-top if min(values) < 0 else 0.0, top)


@dataclass(frozen=True, slots=True)
class Row:
    """A number with its interval. `at`, `low`, `high` are percent of the axis; `hollow` where a difference may be zero."""

    label: str
    series: int
    at: float | None
    low: float
    high: float
    text: str
    interval: str
    hollow: bool = False
    note: str = ""


@dataclass(slots=True)
class Block:
    """The rows of one task on one axis. `line` is a reference such as the majority baseline or zero, in percent."""

    title: str
    metric: str
    axis: Axis
    rows: list[Row]
    note: str = ""
    line: float | None = None
    line_text: str = ""
    show_axis: bool = True
    flag: str = ""  # a remark that holds for every row


def number(value: float, signed: bool = False) -> str:
    """Three decimals for rates, one for points; a minus sign that is one."""
    digits = 3 if abs(value) <= 1 else 1
    if round(value, digits) == 0:
        return f"{0:.{digits}f}"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    return "" if low is None or high is None else f"[{number(low, signed)}, {number(high, signed)}]"


def estimate(row: Any, where: str) -> dict[str, Any]:
    """A metric of a score.json, checked: value, low and high are numbers or None."""
    if not isinstance(row, dict):
        raise DataError(f"expected a metric, found {type(row).__name__}", where=where, remedy="score again with --out")
    found = dict(row)
    for key in ("value", "low", "high"):
        value = row.get(key)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
        ):
            raise DataError(
                f"field {key!r} is {value!r}, expected a number", where=where, remedy="score again with --out"
            )
        found[key] = None if value is None else float(value)
    return found


def score_row(label: str, series: int, metric: Any, axis: Axis, where: str) -> Row:
    found = estimate(metric, where)
    value, low, high = found["value"], found["low"], found["high"]
    note = str(found.get("withheld") or found.get("flag") or "")
    if value is None:
        return Row(label, series, None, 0, 0, "withheld" if "withheld" in found else "no data", "", note=note)
    ends = (value if low is None else low, value if high is None else high)
    return Row(
        label, series, axis.at(value), axis.at(ends[0]), axis.at(ends[1]), number(value), interval(low, high), note=note
    )


def score_block(task: str, metric: str, scores: Sequence[tuple[str, int, Mapping[str, Any]]], title: str = "") -> Block:
    """One metric of one task: `scores` are (label, series, the mapping that holds the metric)."""
    where = f"score of {task}"
    ends = [estimate(s[metric], where)[k] for _, _, s in scores if metric in s for k in ("value", "low", "high")]
    axis = axis_for([v for v in ends if v is not None])
    rows = [
        score_row(label, series, s[metric], axis, f"{where}, {label}") for label, series, s in scores if metric in s
    ]
    flag = rows[0].note if rows and all(r.note == rows[0].note for r in rows) else ""
    rows = [replace(r, note="") for r in rows] if flag else rows
    return Block(title or task_title(task), metric_title(metric), axis, rows, note=task_note(task), flag=flag)


def with_baseline(block: Block, score: Mapping[str, Any]) -> Block:
    """The block with a dashed line at the best baseline of the score (the majority's answer, say), where it has one."""
    baselines = get(score, "baselines", dict, f"score of {block.title}", {})
    if baselines:
        name = max(baselines, key=lambda n: estimate({"value": baselines[n]}, f"baseline {n}")["value"] or 0.0)
        block.line, block.line_text = (
            block.axis.at(baselines[name]),
            f"dashed: {name.replace('_', ' ')} {baselines[name]:.3f}",
        )
    return block


def difference_row(row: Any, label: str, series: int, axis: Axis) -> Row:
    where = f"comparison {label}"
    found = estimate({**row, "value": row.get("delta")}, where)
    value, low, high = found["value"], found["low"], found["high"]
    if value is None:
        return Row(label, series, None, 0, 0, "no data", "")
    low, high = (value if low is None else low), (value if high is None else high)
    return Row(
        label, series, axis.at(value), axis.at(low), axis.at(high), number(value, True), interval(low, high, True),
        hollow=low <= 0 <= high, note=p_text(row.get("p")),
    )  # fmt: skip


def p_text(p: Any) -> str:
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def difference_blocks(comparisons: Sequence[Any], series: Mapping[str, int], order: Sequence[str]) -> list[Block]:
    """Paired differences by task and metric, zero in the middle. Small ones share an axis, so do large ones."""
    tables: dict[tuple[str, str], list[Any]] = {}
    for row in sorted(comparisons, key=lambda r: order.index(get(r, "task", str, "comparison"))):
        tables.setdefault((row["task"], get(row, "metric", str, "comparison")), []).append(row)
    spans = {key: max((abs(v) for v in _ends(rows)), default=0.0) for key, rows in tables.items()}
    blocks = []
    for (task, metric), rows in tables.items():
        kind = _magnitude(spans[task, metric])
        axis = axis_for([s for s in spans.values() if _magnitude(s) == kind], around_zero=True)
        drawn = []
        for row in rows:
            a, b = get(row, "a", str, "comparison"), get(row, "b", str, "comparison")
            drawn.append(difference_row(row, f"{b} − {a}", series.get(b, 0), axis))
        blocks.append(Block(task_title(task), metric_title(metric), axis, drawn, line=axis.at(0.0)))
    return thin_axes(blocks)


def _ends(rows: Sequence[Any]) -> list[float]:
    """Every finite end of the intervals; `difference_row` checks what is none."""
    values = [r.get(k) for r in rows for k in ("delta", "low", "high")]
    return [float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]


def _magnitude(span: float) -> int:
    """0 for small differences of rates, 1 for large ones, 2 for points."""
    return 0 if span <= 0.5 else 1 if span <= 1 else 2


def thin_axes(blocks: list[Block]) -> list[Block]:
    """Tick labels under a block only where the next block has another axis."""
    for block, following in pairwise(blocks):
        block.show_axis = block.axis != following.axis
    return blocks


@dataclass(slots=True)
class Curves:
    """Curves on a unit square, as SVG polyline points in 0...100."""

    title: str
    x: Axis
    y: Axis
    lines: list[dict[str, Any]] = field(default_factory=list)  # label, series, points, last
    every: int = 1  # steps a point
    what: str = "Loss"
    unit: str = "steps"


def curves(
    title: str,
    series: Sequence[tuple[str, int, Sequence[tuple[float, float]]]],
    what: str = "Loss",
    unit: str = "steps",
    reach: float = 0.0,
) -> Curves:
    """(label, series, [(step, loss)], or other numbers by other units) as curves; long ones are thinned to means of neighbouring steps.
    `reach` is what the axis holds at least: plots that are to be compared share it."""
    longest = max((len(points) for _, _, points in series), default=1)
    every = max(1, math.ceil(longest / POINTS))
    thinned = [(label, number_, _means(points, every)) for label, number_, points in series if points]
    steps = [points[-1][0] for _, _, points in series if points]
    losses = [y for _, _, points in thinned for _, y in points]
    top = max([*losses, reach]) or 1.0
    step = nice_step(top / 4)
    plot = Curves(
        title,
        Axis(0.0, max(steps, default=1.0) or 1.0),
        Axis(0.0, step * math.ceil(top / step - 1e-9)),
        every=every,
        what=what,
        unit=unit,
    )
    for label, number_, points in thinned:
        drawn = " ".join(f"{plot.x.at(x):g},{100 - plot.y.at(y):g}" for x, y in points)
        plot.lines.append({"label": label, "series": number_, "points": drawn, "last": f"{points[-1][1]:.3f}"})
    return plot


def _means(points: Sequence[tuple[float, float]], every: int) -> list[tuple[float, float]]:
    chunks = [points[k : k + every] for k in range(0, len(points), every)]
    return [(c[len(c) // 2][0], sum(y for _, y in c) / len(c)) for c in chunks]
