"""What a benchmark is made of: questions, a parser, a verdict per question, metrics over sums of verdicts.

A verdict leaves `parts`, named numbers that are summed over pictures and groups; every metric is a function of those sums, so
that the same formula gives the value, its bootstrap interval and paired differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visift.core.types import Conversation, Picture, Provenance, assistant, get, user

if TYPE_CHECKING:
    from visift.evals.judge import Rubric

Sums = Mapping[str, np.ndarray]  # part -> sums (...,)
Parse = Callable[["Question", str], Any]  # reply -> what it says, None where it says nothing usable


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `gold` is what the task's verdict needs; `cluster` names the picture; `groups` the parts of the benchmark it belongs to."""

    id: str
    cluster: str
    gold: Any
    groups: tuple[str, ...] = ()
    asked: str = ""
    images: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stratum: str = ""
    parts: tuple[str | int, ...] = ()  # the text with the pictures in their places; else all pictures come first

    def conversation(self, kind: str, root: str = "") -> Conversation:
        """What the answering engine asks: the pictures, then the question; the last turn is a reference, `meta` what scoring needs.
        `root` names the image root that the picture paths lie under. Question.of_conversation reads it back."""
        pictures = tuple(Picture(f"{root}:{path}" if root else path) for path in self.images)
        reference = self.gold if isinstance(self.gold, str) else ""
        meta = {
            "gold": self.gold, "cluster": self.cluster, "groups": list(self.groups), "options": list(self.options),
            "stratum": self.stratum,
        }  # fmt: skip
        turns = (user(*(self.parts or (*range(len(pictures)), self.asked))), assistant(reference))
        return Conversation(
            self.id, pictures, turns, Provenance(kind=kind, scenes=(self.cluster,), template=kind), meta
        )

    @staticmethod
    def of_conversation(c: Conversation) -> Question:
        """The question that `conversation` wrote. Raises DataError when `meta` is not what it wrote."""
        where = f"conversation {c.id}"
        groups, options = (tuple(map(str, get(c.meta, key, list, where, []))) for key in ("groups", "options"))
        asked = c.prompt[-1].text if c.prompt else ""
        return Question(
            c.id, get(c.meta, "cluster", str, where), c.meta["gold"], groups, asked, tuple(p.path for p in c.images), options,
            get(c.meta, "stratum", str, where, ""),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `failed` is the reason why there is none (a failed request): such a question is unscored."""

    text: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """score 0..1; `answered` is False where the reply says nothing usable; `parts` are what the metrics sum; `wrong` the numbers of a
    list at which the reply is wrong, None where it is no list."""

    score: float
    why: str
    parts: Mapping[str, float]
    answered: bool = True
    wrong: tuple[int, ...] | None = None


@dataclass(slots=True)
class Item:
    """A question with its verdict; without one, `why` says why it is unscored."""

    question: Question
    score: float | None
    why: str
    answered: bool = True
    parts: dict[str, float] = field(default_factory=dict)
    wrong: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A number over the summed parts of a group. `rate` names (numerator, denominator) where it is a plain rate of the two.
    `needs` names a part without which a group does not have this metric."""

    name: str
    of: Callable[[Sums], np.ndarray]
    rate: tuple[str, str] | None = None
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """A number over all groups: receives {group: summed parts}; what is over everything stands under the group ''.
    `group` says whose questions a `rate` counts."""

    name: str
    of: Callable[[Mapping[str, Sums]], np.ndarray]
    rate: tuple[str, str] | None = None
    group: str = ""


@dataclass(slots=True)
class Rows:
    """Questions and replies of a run, joined by key. What did not fit is named."""

    questions: list[Question]
    replies: dict[str, Reply]
    duplicate: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Files:
    """Where answers, questions and references lie, and the options that decide how they are read."""

    answers: Path
    questions: Path | None = None
    references: Path | None = None
    permute: bool = False
    seed: int = 0
    rules: str = "published"

    @property
    def of_ours(self) -> bool:
        """Whether the questions are a dataset folder of ours, not a benchmark's own files."""
        return self.questions is not None and (self.questions / "dataset.json").exists()


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark. `readers` joins questions and replies per answer format; `parsers` read a reply; `published` names each format's own parser."""

    name: str
    readers: Mapping[str, Callable[[Files], Rows]]
    parsers: Mapping[str, Parse]
    judge: Callable[[Question, Any], Verdict]
    metrics: tuple[Metric, ...]
    totals: tuple[Total, ...]
    headline: str
    published: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[list[Item]], None] | None = None
    baselines: Callable[[list[Question]], dict[str, float]] | None = None
    about: Callable[[list[Question]], dict[str, Any]] | None = None  # goes into the recipe
    ask: Callable[[Files], list[Question]] | None = None  # the benchmark's own published files
    modes: tuple[str, ...] = ()  # rules under which every score is also shown, beside the ones asked for
    rubric: Rubric | None = None  # answers need a judge
    against: Callable[[Files, list[Question]], dict[str, Reply]] | None = None  # what the judge compares them with
