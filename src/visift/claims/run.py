"""Run a claim's recipe over seeds: effect per seed, its mean with a t interval over seeds, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visift.claims.table import CLAIMS, Arm, PaperClaim
from visift.core.errors import UsageError
from visift.core.files import read_json, write_json


def run_claims(names: Sequence[str], out: Path, seeds: int, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Every named claim's effect, interval and verdict; kept in `out`/claims.json beside those of earlier calls. Finished runs are not run again."""
    if unknown := [n for n in names if n not in CLAIMS]:
        raise UsageError(f"claim {', '.join(unknown)} is unknown", remedy=f"known: {', '.join(CLAIMS)}")
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least 1 is needed")
    results = [run_claim(CLAIMS[n], out, seeds, overrides) for n in names]
    kept = {row["claim"]: row for row in (read_json(out / "claims.json") if (out / "claims.json").exists() else [])}
    write_json(out / "claims.json", list((kept | {row["claim"]: row for row in results}).values()))
    return results


def run_claim(claim: PaperClaim, out: Path, seeds: int, overrides: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"claim": claim.name, "text": claim.text, "paper": claim.paper, "section": claim.section}
    if not claim.recipe or claim.plus is None:
        return row | {"verdict": "undecided: out of reach", "why": claim.reach}
    varied = {change.partition("=")[0] for changes in claim.variants.values() for change in changes}
    if undone := [o for o in overrides if o.partition("=")[0] in varied]:
        raise UsageError(f"--set {undone[0]} would undo what claim {claim.name} varies")
    arms = (claim.plus, *claim.against)
    values = np.array(
        [[headline(_run(claim, arm, out, seed, overrides), arm) for arm in arms] for seed in range(seeds)]
    )  # (seeds, arms)
    row |= decide(values[:, 0] - values[:, 1:].mean(axis=1), claim.direction, claim.margin)
    row["values"] = {label(arm): values[:, k].round(4).tolist() for k, arm in enumerate(arms)}
    if claim.rivals:
        each = {a: decide(values[:, 0] - values[:, k], claim.direction, claim.margin) for k, a in enumerate(arms) if k}
        row["against"] = {label(a): found for a, found in each.items()}
        row["verdict"] = of_all([found["verdict"] for found in each.values()])
        row["why"] += "; " + ", ".join(f"against {a.variant}: {found['effect']:+.3f}" for a, found in each.items())
    return row


def label(arm: Arm) -> str:
    return f"{arm.model} on {arm.task}, {arm.variant}"


def _run(claim: PaperClaim, arm: Arm, out: Path, seed: int, overrides: Sequence[str]) -> dict[str, Any]:
    """The summary of one run of the claim's recipe; runs are shared between claims."""
    from visift.recipe.run import run_recipe
    from visift.recipe.schema import shipped

    folder = out / f"{claim.recipe}-{arm.variant.replace(' ', '-')}" / f"seed-{seed}"
    run_recipe(shipped(claim.recipe), folder, [*claim.variants[arm.variant], *overrides, f"seed={seed}"])
    return dict(read_json(folder / "summary.json"))


def headline(summary: dict[str, Any], arm: Arm) -> float:
    """The first metric of the arm's score."""
    score = summary["scores"][arm.model][arm.task]
    return float(score["metrics"][score["headline"]]["value"])


def of_all(verdicts: Sequence[str]) -> str:
    """A claim against several rivals holds where it holds against each: a mean would hide the one that is better."""
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if set(verdicts) == {"supported"} else "undecided"


def decide(effects: Sequence[float], direction: str, margin: float) -> dict[str, Any]:
    """Mean effect over seeds, 95 % t interval, verdict. One seed has no scatter to judge by: undecided."""
    from scipy import stats

    values = np.asarray(effects, float)
    mean = float(values.mean())
    row: dict[str, Any] = {"effect": mean, "seeds": len(values), "effects": [round(v, 4) for v in values.tolist()]}
    if len(values) < 2:
        return row | {"verdict": "undecided", "why": f"effect {mean:+.3f}, one seed"}
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    low, high = mean - half, mean + half
    if direction == "up":
        verdict = "supported" if low > 0 else "not supported" if high < 0 else "undecided"
    else:
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        verdict = "supported" if inside else "not supported" if outside else "undecided"
    why = f"effect {mean:+.3f} [{low:+.3f}, {high:+.3f}] over {len(values)} seeds"
    return row | {"low": low, "high": high, "verdict": verdict, "why": why}
