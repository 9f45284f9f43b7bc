"""Questions that two models answered with different success: picture, question, truth, both answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visift.core.seeds import rng
from visift.report.names import split_task, task_title
from visift.report.picture_data import Album
from visift.report.run_folder import Questions, Run

EACH = 12  # shown of a task
PAIR = ("control", "listing")


@dataclass(frozen=True, slots=True)
class Said:
    series: int
    name: str
    score: float
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`better` is "a" or "b". Picture and truth are empty where they are not at hand."""

    id: str
    question: str
    truth: str
    picture: str
    a: Said
    b: Said

    @property
    def better(self) -> str:
        return "a" if self.a.score > self.b.score else "b"


@dataclass(frozen=True, slots=True)
class TaskDisagreements:
    title: str
    a: str
    b: str
    only_a: int
    only_b: int
    shared: int
    shown: Sequence[Disagreement]


def pair_of(run: Run) -> tuple[str, str] | None:
    """Control and listing; without them the last two models with item scores of a shared task."""
    if set(PAIR) <= set(run.models):
        return PAIR
    known = [m for m in run.models if (run.path / "scores" / m).is_dir()]
    return (known[-2], known[-1]) if len(known) > 1 else None


def run_disagreements(run: Run) -> list[TaskDisagreements]:
    pair = pair_of(run)
    if pair is None:
        return []
    found = []
    for task in run.tasks:
        if split_task(task)[1] == "shuffled":  # the answers of its plain task, against a truth made wrong on purpose
            continue
        a, b = ((m, run.series[m], run.items(m, task)) for m in pair)
        if a[2] and b[2]:
            found.append(disagreements(task_title(task), a, b, run.questions(task)))
    return found


Side = tuple[str, int, Mapping[str, Mapping[str, Any]]]  # name, series, items


def disagreements(
    title: str, a: Side, b: Side, questions: Questions | None, images: Path | None = None
) -> TaskDisagreements:
    """All are counted; which ones are shown is drawn by a fixed seed, half of each kind where there are enough."""
    shared = [i for i in a[2] if i in b[2] and a[2][i]["score"] is not None and b[2][i]["score"] is not None]
    kinds = {
        "a": [i for i in shared if a[2][i]["score"] > b[2][i]["score"]],
        "b": [i for i in shared if b[2][i]["score"] > a[2][i]["score"]],
    }
    for kind, ids in kinds.items():
        order = rng("report", title, kind).permutation(len(ids))
        kinds[kind] = [ids[k] for k in order]
    only_a, only_b = len(kinds["a"]), len(kinds["b"])
    of_a = min(only_a, max(EACH // 2, EACH - only_b))
    chosen = [*kinds["b"][: EACH - of_a], *kinds["a"][:of_a]]
    album = Album(questions.dataset if questions else None, images)
    shown = [_one(i, a, b, questions, album) for i in chosen]
    return TaskDisagreements(title, a[0], b[0], only_a, only_b, len(shared), shown)


def _one(identity: str, a: Side, b: Side, questions: Questions | None, album: Album) -> Disagreement:
    item = a[2][identity]
    asked = questions.by_id.get(identity) if questions else None
    picture = next(iter(item.get("images", ())), "")
    said = [
        Said(series, name, float(items[identity]["score"]), str(items[identity].get("said", "")), str(items[identity]["why"]))
        for name, series, items in (a, b)
    ]  # fmt: skip
    truth = (asked.reference if asked else "") or str(item.get("truth", ""))
    return Disagreement(identity, str(item.get("asked", "")), truth, album.uri(picture) if picture else "", *said)
