"""The learning rate as a pure function of the step, so that a resumed run needs nothing but its step number."""

from __future__ import annotations

import math

from visift.train.settings import TrainSettings


def factor(settings: TrainSettings, steps: int, step: int) -> float:
    """What the base rate is multiplied with at optimiser step `step` (from 0) of `steps`.

    Linear warm-up, then: `cosine` to zero, `linear` to zero, `constant`, or `wsd` (constant, then linear to zero over
    the last `decay` share of the steps).
    """
    warm = settings.warmup if settings.warmup >= 1 else math.ceil(settings.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "wsd":
        start = steps - settings.decay * steps
        return 1.0 if step < start else max(0.0, (steps - step) / max(steps - start, 1e-9))
    share = min(1.0, (step - warm) / max(1, steps - warm))
    return 1.0 - share if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
