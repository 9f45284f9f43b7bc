"""Tagged scenes: what stands at each number beside what each model listed there, right and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visift.core.lists import parse_list
from visift.core.seeds import rng
from visift.core.types import Answer
from visift.report.picture_data import data_uri
from visift.report.run_folder import Questions, Run

TASK = "tag-listing"
EACH = 3  # scenes of each kind
SHOWN = ("base", "control", "listing")


@dataclass(frozen=True, slots=True)
class Cell:
    """What a model said at a number; `right` is None where the score does not say."""

    text: str
    right: bool | None


@dataclass(frozen=True, slots=True)
class Listing:
    """One model's list beside the truth."""

    model: str
    series: int
    score: float | None
    cells: Mapping[int, Cell]
    beyond: str  # what it listed at numbers that the picture does not have
    raw: str  # the whole reply, where nothing could be read as a list


@dataclass(frozen=True, slots=True)
class SceneCard:
    id: str
    picture: str
    width: int
    height: int
    truth: Mapping[int, str]
    listings: Sequence[Listing]


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    how: str
    cards: Sequence[SceneCard]


def scene_groups(run: Run, task: str = TASK) -> list[Group]:
    """Scenes that the listing arm gets all right, and scenes where it errs, each drawn by a fixed seed."""
    questions = run.questions(task)
    shown = [m for m in run.models if m in SHOWN] or [m for m in run.models if run.answers(m, task)][:3]
    items = {m: run.items(m, task) for m in shown}
    answers = {m: run.answers(m, task) for m in shown}
    shown = [m for m in shown if items[m] and answers[m]]
    if questions is None or not shown:
        return []
    judge = "listing" if "listing" in shown else shown[-1]
    scored = {i: row["score"] for i, row in items[judge].items() if row["score"] is not None and i in questions.by_id}
    pools = {
        f"All right by “{judge}”": [i for i, score in scored.items() if score == 1],
        f"At least one mistake by “{judge}”": [i for i, score in scored.items() if score < 1],
    }
    groups = []
    for title, pool in pools.items():
        order = rng("report", task, title).permutation(len(pool))[:EACH]
        cards = [_card(run, questions, pool[k], shown, items, answers) for k in order]
        how = f"{len(cards)} of {len(pool)} such pictures (of {len(scored)}), drawn by a fixed seed; nobody chose them."
        if not pool:
            how = f"There is none among {len(scored)} pictures."
        groups.append(Group(title, how, [c for c in cards if c is not None]))
    return groups


def _card(
    run: Run, questions: Questions, identity: str, shown: Sequence[str],
    items: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Mapping[str, Answer]],
) -> SceneCard | None:  # fmt: skip
    conversation = questions.by_id[identity]
    picture = conversation.images[0] if conversation.images else None
    tagged = questions.tagged.get(picture.path) if picture else None
    if picture is None or tagged is None:
        return None
    truth = {m.number: m.name or m.category for m in sorted(tagged.marks, key=lambda m: m.number)}
    listings = [
        _listing(m, run.series[m], truth, items[m].get(identity), answers[m].get(identity)) for m in shown
    ]  # fmt: skip
    uri = data_uri(questions.dataset.picture_path(picture))
    return SceneCard(tagged.scene, uri, tagged.width, tagged.height, truth, listings)


def _listing(
    model: str, series: int, truth: Mapping[int, str], item: Mapping[str, Any] | None, answer: Answer | None
) -> Listing:
    text = answer.text if answer else ""
    said = parse_list(text)
    wrong = item.get("wrong") if item else None
    cells = {k: Cell(said.get(k, ""), None if wrong is None else k not in wrong) for k in truth}
    beyond = "; ".join(f"{k}. {what}" for k, what in said.items() if k not in truth)
    return Listing(model, series, item["score"] if item else None, cells, beyond, "" if said else text)
