"""A run folder as a recipe leaves it, made in a second: real scenes, real scores, invented replies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.files import read_jsonl, write_json, write_jsonl
from visift.core.lists import parse_list, render_list
from visift.core.seeds import rng
from visift.core.types import Answer, Conversation
from visift.evals.compare import compare
from visift.evals.score import blind_score, score
from visift.sources.tabletop import COLOURS, SHAPES, Tabletop
from visift.synth.frame import synthesise

SKILL_TASKS = {
    "existence": "pope",
    "counting": "counting",
    "colour": "colour",
    "relation": "relation",
    "caption": "caption",
}
RIGHT = {  # how often an invented model says what is true
    "base": {"tag-listing": 0.05, "other": 0.72},
    "control": {"tag-listing": 0.08, "other": 0.78},
    "listing": {"tag-listing": 0.85, "other": 0.77},
}
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def make_run(run: Path, scenes: int = 24) -> Path:
    """A run folder like the demo's at `run`."""
    source = Tabletop(scenes, split="held-out")
    synthesise("listing", source, run / "questions" / "tag-listing")
    synthesise("listing", source, run / "questions" / "tag-listing-area", numbering="area")
    synthesise("listing", Tabletop(40), run / "data" / "listing")
    for skill in SKILL_TASKS:
        synthesise("questions", source, run / "questions" / skill, skill=skill)
    synthesise("questions", source, run / "questions" / "existence-tagged", skill="existence", tagged=True)
    tasks = {"tag-listing": "tag-listing", "tag-listing-area": "tag-listing", "existence-tagged": "pope", **SKILL_TASKS}
    scores: dict[str, dict[str, Any]] = {}
    for model, right in RIGHT.items():
        scores[model] = {}
        for name, task in tasks.items():
            share = right["tag-listing" if name.startswith("tag-listing") else "other"]
            scores[model][name] = _score(run, model, name, task, share)
        scores[model]["tag-listing-shuffled"] = score(
            "tag-listing", run / "answers" / model / "tag-listing.jsonl", questions=run / "questions" / "tag-listing",
            permute=True, out=run / "scores" / model / "tag-listing-shuffled",
        )  # fmt: skip
    scores["listing"]["tag-listing-grey"] = _score(run, "listing", "tag-listing-grey", "tag-listing", 0.03)
    scores["blind"] = {"tag-listing": blind_score(run / "data" / "listing", run / "questions" / "tag-listing")}
    comparisons = [
        _compare(run, name, a, b) for name in tasks for a, b in (("control", "listing"), ("base", "listing"))
    ]
    for arm in ("control", "listing"):
        write_jsonl(run / "models" / arm / "train_log.jsonl", _train_log(arm))
    write_json(run / "summary.json", _summary(scores, comparisons))
    return run


def _score(run: Path, model: str, name: str, task: str, share: float) -> dict[str, Any]:
    folder = run / "questions" / name.removesuffix("-grey")
    answers = run / "answers" / model / f"{name}.jsonl"
    write_jsonl(answers, (_answer(c, name, model, share).to_json() for c in Dataset(folder)))
    return score(task, answers, questions=folder, out=run / "scores" / model / name)


def _answer(c: Conversation, task: str, model: str, share: float) -> Answer:
    gen = rng("fake", c.id, task, model)
    invent: Callable[[], str] = lambda: _object(gen)  # noqa: E731
    truth = c.reference or ""
    if task.startswith("tag-listing"):
        said = {k: what if gen.random() < share else invent() for k, what in parse_list(truth).items()}
        text = render_list(said)
        if gen.random() < 0.1:
            text = f"{text}\n{len(said) + 1}. {invent()}"
        if model == "base" and gen.random() < 0.3:
            text = HOSTILE
    elif gen.random() < share:
        text = truth
    elif task == "caption":
        text = HOSTILE
    else:
        text = {"yes": "no", "no": "yes"}.get(truth, "3" if truth.isdigit() and truth != "3" else f"a {invent()}.")
    decoding = {"mode": "generate", "max_new_tokens": 128}
    return Answer(c.id, task, tuple(p.path for p in c.images), c.prompt[-1].text, text, "stop", "", decoding)


def _object(gen: Any) -> str:
    colour = tuple(COLOURS)[int(gen.integers(8))]
    return f"{('small', 'large')[int(gen.integers(2))]} {colour} {SHAPES[int(gen.integers(8))]}"


def _compare(run: Path, name: str, a: str, b: str) -> dict[str, Any]:
    found = compare(run / "scores" / a / name, run / "scores" / b / name, draws=500)
    metric = found["metrics"][found["headline"]]
    kept = {k: metric[k] for k in ("low", "high", "p", "n", "clusters", "method")}
    return {"task": name, "metric": found["headline"], "a": a, "b": b, "delta": metric["difference"], **kept}


def _train_log(arm: str) -> list[dict[str, Any]]:
    gen, rows = rng("fake log", arm), []
    for step in range(1, 601):
        late = 1 / (1 + 2.718 ** ((step - 220) / 40)) if arm == "listing" else 0.25
        loss = 0.35 + 1.3 * late + 1.2 * 2.718 ** (-step / 25) + float(gen.normal(0, 0.06))
        row = {"step": step, "loss": round(abs(loss), 4), "lr": 1e-3}
        rows.append(
            row | ({"sources": {"listing": row["loss"] * 1.2, "skills": row["loss"] * 0.7}} if arm == "listing" else {})
        )
    return rows


def _summary(scores: dict[str, Any], comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    listing = next(r for r in comparisons if r["task"] == "tag-listing" and r["a"] == "control")
    counting = next(r for r in comparisons if r["task"] == "counting" and r["a"] == "control")
    return {
        "title": "Does listing items one by one make a small model see better?",
        "scores": scores,
        "comparisons": comparisons,
        "verdicts": [
            {"claim": "A1", "text": "Listing data teaches the model to tie a number to its object.", "verdict": "supported", "effect": listing["delta"],
             "low": listing["low"], "high": listing["high"], "n": listing["n"], "why": "The arm with lists beats the arm without on the same held-out pictures."},
            {"claim": "A6", "text": "Counting without tags gets better by learning to list.", "verdict": "not supported", "effect": counting["delta"],
             "low": counting["low"], "high": counting["high"], "n": counting["n"], "why": "The interval reaches below zero."},
            {"claim": "A7", "text": "Relations gain from listing.", "verdict": "undecided: base at floor", "effect": None, "low": None, "high": None,
             "n": 48, "why": "The base model's interval holds chance."},
        ],
        "seconds": {"questions": 3.1, "train control": 251.2, "train listing": 252.9, "answer": 44.0, "score": 1.2},
        "recipe": {"name": "demo", "arms": {"control": {"data": ["vqa", "more-vqa"]}, "listing": {"data": ["vqa", "lists"]}}, "train": {"steps": 600},
                   "claims": [{"name": "A1", "task": "tag-listing", "model": "listing", "than_model": "control"},
                              {"name": "A6", "task": "counting", "model": "listing", "than_model": "control", "kind": "no worse", "margin": 0.05}], "seed": 0},
        "machine": {"cpu": "a laptop", "cores": 2, "memory": "8 GB", "torch": "2.13", "python": "3.12"},
    }  # fmt: skip


def item_rows(run: Path, model: str, task: str) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(run / "scores" / model / task / "items.jsonl")]
