"""From a paired difference to a sentence: supported, not supported or undecided, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from visift.recipe.schema import Claim

Compare = Callable[[str, str, str, str], dict[str, Any] | None]


def judge(claim: Claim, scores: dict[str, dict[str, Any]], compare: Compare) -> dict[str, Any]:
    """The verdict on one claim of a recipe. `compare(model_a, task_a, model_b, task_b)` gives B minus A with its interval."""
    row: dict[str, Any] = {"claim": claim.name, "text": claim.text}
    than_model, than_task = claim.than_model or claim.model, claim.than_task or claim.task
    for model, task in ((claim.model, claim.task), (than_model, than_task)):
        score = scores.get(model, {}).get(task, {})
        headline = score.get("metrics", {}).get(score.get("headline"), {})
        if "withheld" in headline:
            return row | {"verdict": "undecided: withheld", "why": f"{model} on {task}: {headline['withheld']}"}
    found = compare(than_model, than_task, claim.model, claim.task)
    if found is None:
        return row | {"verdict": "undecided: not measured", "why": "the two scores share no question"}
    low, high, delta = found["low"], found["high"], found["delta"]
    row |= {"effect": delta, "low": low, "high": high, "n": found["n"], "p": found["p"]}
    base = scores.get("base", {}).get(claim.task, {})
    if why := at_floor(base, claim.chance, found["metric"]):
        return row | {"verdict": "undecided: base at floor", "why": why}
    decided = verdict(claim, low, high)
    than = scores.get(than_model, {}).get(than_task, {})
    if decided == "undecided" and claim.kind == "better" and (why := at_ceiling(than, found["metric"])):
        return row | {"verdict": f"undecided: {than_model} at ceiling", "why": f"{than_model} {why}"}
    return row | {"verdict": decided, "why": f"difference {delta:+.3f} [{low:+.3f}, {high:+.3f}]"}


def at_floor(score: dict[str, Any], chance: float | None, metric: str) -> str:
    """Why nothing can be said of a skill that the base does not have: its interval holds chance. "" where it has it.

    Chance is an accuracy, also where the headline is F1: `chance`, or else what the majority answer scores.
    """
    chance = score.get("baselines", {}).get("majority") if chance is None else chance
    metrics = score.get("metrics", {})
    base = metrics.get("accuracy") or metrics.get(metric) or {}
    if chance is None or base.get("low") is None or not base["low"] <= chance <= base["high"]:
        return ""
    return f"the base scores {base['value']:.2f} [{base['low']:.2f}, {base['high']:.2f}], chance is {chance:.2f}"


def at_ceiling(score: dict[str, Any], metric: str) -> str:
    """Why no gain can show over a score that lacks at most a point of 1, the highest there is, and whose interval holds 1. "" where
    there is room, or no such bound (MME's points)."""
    found = score.get("metrics", {}).get(metric) or {}
    if found.get("low") is None or found["value"] < 0.99 or abs(found["high"] - 1) > 1e-9:
        return ""
    return f"scores {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]: nothing is left to gain"


def verdict(claim: Claim, low: float, high: float) -> str:
    """By the 95 % interval of the difference alone."""
    if claim.kind == "better":
        supported, refuted = low > 0, high < 0
    elif claim.kind == "no worse":
        supported, refuted = low > -claim.margin, high < -claim.margin
    else:
        supported = -claim.margin < low and high < claim.margin
        refuted = high < -claim.margin or low > claim.margin
    return "supported" if supported else "not supported" if refuted else "undecided"
