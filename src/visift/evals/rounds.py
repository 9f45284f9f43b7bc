"""The multi-round protocol MR-k (papers.md C.4.3): does a model that was just asked for a short answer stay short?

    MR-0           the test question alone
    MR-k           k rounds about the same picture before it, each with a wish for a short answer
    MR-k-neutral   the same k questions without the wish

The model answers the earlier rounds itself, and its own answers stay in the history. The test question is unchanged, and only
its answer is scored. Earlier rounds are the dialogue's own where it has any, else frozen questions that fit every picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from visift.core.dataset import Made, build
from visift.core.errors import DataError, UsageError
from visift.core.files import read_jsonl, sha256_file
from visift.core.seeds import rng
from visift.core.types import Answer, Conversation, Part, Picture, Turn, assistant, user
from visift.evals import stats
from visift.evals.question import Question, Reply
from visift.formats import FORMATS, TEXT, decode_row, raw_rows, recognise

VERSION = 1  # of the frozen questions and wishes below; a changed one gets a new number
SHORT = 3  # words; what counts as a short answer
CHUNK = 256  # questions whose rounds are in memory at once; a kill loses no more
WISH = "Answer the question using a single word or phrase."
PHOTO = (
    "Is this picture taken indoors or outdoors?", "What is the main color of the picture?", "Is there a person in the picture?",
    "What is the largest thing in the picture?", "Is there any text in the picture?", "How many people are in the picture?",
    "What is in the background?", "Is there an animal in the picture?", "What kind of place is this?", "Is it day or night?",
)  # fmt: skip
TABLETOP_WISH = "Answer with a short phrase."
TABLETOP = (
    "How many objects are there?", "Is there a red circle?", "How many circles are there?", "How many red objects are there?",
    "Is there a blue star?", "How many stars are there?", "How many blue objects are there?", "Is there a green square?",
)  # fmt: skip


class Asks(Protocol):
    """Whatever answers questions: the local engine, the remote one."""

    def answers(self, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]: ...


@dataclass(frozen=True, slots=True)
class Rounds:
    """`number` rounds before the test question; `neutral` without the wish for a short answer."""

    number: int
    neutral: bool = False

    def __post_init__(self) -> None:
        if self.number < 0 or self.number > len(TABLETOP):
            raise UsageError(f"--rounds {self.number}: 0 to {len(TABLETOP)} can be asked")
        if self.neutral and not self.number:
            raise UsageError("--neutral is about earlier rounds", remedy="pass --rounds K too")

    @property
    def name(self) -> str:
        return f"MR-{self.number}{'-neutral' if self.neutral else ''}"

    def decoding(self) -> dict[str, Any]:
        return {"protocol": self.name, "protocol_version": VERSION}

    def before(self, c: Conversation) -> list[str]:
        """The earlier questions, in order: the dialogue's own last ones, else frozen ones drawn by the question's id."""
        tabletop = any(scene.startswith("tabletop:") for scene in c.provenance.scenes)
        wish = "" if self.neutral else f" {TABLETOP_WISH if tabletop else WISH}"
        *earlier, last = [t for t in c.prompt if t.role == "user"]
        if earlier:
            asked = [t.text.strip() for t in earlier][-self.number :] if self.number else []
        else:
            pool = [q for q in (TABLETOP if tabletop else PHOTO) if q.lower() not in last.text.lower()]
            asked = [pool[int(k)] for k in rng("rounds", c.id).permutation(len(pool))[: self.number]]
        return [f"{question}{wish}" for question in asked]

    def replies(self, engine: Asks, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]:
        """As `engine.answers`; each question's conversation then holds the rounds that came before it."""
        for start in range(0, len(questions), CHUNK):
            yield from self._replies(engine, questions[start : start + CHUNK], batch_size)

    def _replies(self, engine: Asks, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]:
        planned = {q.conversation.id: self.before(q.conversation) for q in questions}
        said: dict[str, list[Turn]] = {name: [] for name in planned}
        failed: dict[str, str] = {}
        for number in range(self.number):
            asked = [
                Question(
                    _with(q.conversation, said[q.conversation.id], user(planned[q.conversation.id][number])), q.request
                )
                for q in questions
                if number < len(planned[q.conversation.id]) and q.conversation.id not in failed
            ]
            for question, text, finish in engine.answers(asked, batch_size):
                name = question.conversation.id
                if finish == "error":
                    failed[name] = f"round {number + 1}: {question.problem}"
                said[name] += [user(planned[name][number]), assistant(text)]
        for q in questions:
            if problem := failed.get(q.conversation.id):
                q.problem = problem
                yield q, "", "error"
            else:
                q.conversation = _with(q.conversation, said[q.conversation.id], _last(q.conversation))
        yield from engine.answers([q for q in questions if q.conversation.id not in failed], batch_size)


def _last(c: Conversation) -> Turn:
    """The test question, its pictures aside: they stand before the first round."""
    last = [t for t in c.prompt if t.role == "user"][-1]
    return Turn("user", tuple(p for p in last.parts if p.image is None))


def _with(c: Conversation, said: Sequence[Turn], last: Turn) -> Conversation:
    """System turn, rounds, `last`, reference. All pictures stand before the first question, unless the test question is the only
    round: then they stay where they are in it."""
    first = next((t for t in c.prompt if t.role == "user"), last)
    own = [t for t in c.prompt if t.role == "user"]
    if not said and len(own) == 1 and last == _last(c):
        turns = [own[0]]
    else:
        order = [p.image for t in c.prompt for p in t.parts if p.image is not None]
        lead = tuple(Part(image=k) for k in dict.fromkeys(order))
        turns = [*said, last]
        turns[0] = Turn(first.role, lead + turns[0].parts)
    system = [t for t in c.prompt if t.role == "system"]
    reference = [c.turns[-1]] if c.reference is not None else []
    return replace(c, turns=(*system, *turns, *reference))


# --- dialogues of others as questions


def is_dialogues(path: Path) -> bool:
    """Whether a file holds conversations in a format that we read (MMDU's is LLaVA's with several pictures)."""
    if not path.is_file() or path.suffix not in (".json", ".jsonl"):
        return False
    try:
        return recognise(path) in TEXT
    except DataError:
        return False


def dialogue_set(path: Path, work: Path, images: Path | None = None) -> Path:
    """A dataset folder with one question for every round of every dialogue of a foreign file; its earlier rounds come before it.

    Pictures written as `<ImageHere>` count as placeholders; a row that lists pictures and has none shows them first. Raises
    DataError for a row that is no dialogue.
    """
    format = recognise(path)
    if format not in FORMATS:
        raise DataError("holds no conversations", where=path)
    settings = {"task": "dialogues", "data_sha256": sha256_file(path)}
    root = images or path.parent

    def make(item: tuple[int, Any, Any]) -> Made:
        number, row, _ = item
        where = f"{path}: row {number}"
        if isinstance(row, DataError):
            raise row
        c = decode_row(_placed(row), number, where, format)
        pictures = tuple(Picture(f"dialogues:{p.path}") for p in c.images)
        rows = []
        for k, turn in enumerate(c.turns):
            if turn.role == "assistant" and k and c.turns[k - 1].role == "user":
                used = [p.image for t in c.turns[:k] for p in t.parts if p.image is not None]
                shown = replace(
                    c, id=f"{c.id}/{sum(t.role == 'user' for t in c.turns[:k])}", turns=c.turns[: k + 1], meta={}
                )
                scenes = (pictures[0].path,) if pictures else (c.id,)
                origin = replace(c.provenance, kind="dialogues", scenes=scenes)
                rows.append(replace(shown, images=pictures[: max(used, default=-1) + 1], provenance=origin))
        return Made(rows)

    build(
        work,
        kind="dialogues",
        items=raw_rows(path, format),
        make=make,
        settings=settings,
        roots={"dialogues": str(root.resolve())},
    )
    return work


def _placed(row: Any) -> Any:
    """The row with `<image>` wherever a picture stands."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not all(isinstance(t, dict) and isinstance(t.get("value"), str) for t in turns):
        return row
    turns = [{**t, "value": t["value"].replace("<ImageHere>", "<image>")} for t in turns]
    listed = row.get("image") or row.get("images") or []
    if turns and listed and not any("<image>" in t["value"] for t in turns):
        turns[0] |= {"value": "<image>" * (len(listed) if isinstance(listed, list) else 1) + turns[0]["value"]}
    return {**row, "conversations": turns}


# --- how long the answers are


def lengths(answers: Sequence[Answer]) -> dict[str, Any]:
    """Mean words of every round (the last is the answer), and the share of last answers of at most three words."""
    kept = [a for a in answers if a.finish != "error"]
    rounds = [[len(h["text"].split()) for h in a.history if h["role"] == "assistant"] for a in kept]
    earlier = [float(np.mean([w for w in column if w is not None])) for column in zip_longest(*rounds)]
    table = _table(kept)
    return {
        "answers": len(kept),
        "words": [*earlier, float(table["words"].mean()) if kept else 0.0],
        "short": float(table["short"].mean()) if kept else 0.0,
    }


def compare_lengths(a: Path, b: Path) -> dict[str, Any]:
    """Words of the last answer and share of short ones, B minus A, paired by question, with intervals by picture."""
    left, right = ({r.id: r for r in read(p) if r.finish != "error"} for p in (a, b))
    shared = [i for i in left if i in right]
    if not shared:
        raise DataError(
            "no question was answered in both", where=f"{a}, {b}", remedy="compare answers to the same questions"
        )
    sides = [[side[i] for i in shared] for side in (left, right)]
    tables = [_table(side) for side in sides]
    numbers: dict[str, int] = {}
    clusters = np.array([numbers.setdefault(r.images[0] if r.images else r.id, len(numbers)) for r in sides[0]])
    found: dict[str, Any] = {"a": str(a), "b": str(b), "n": len(shared), "clusters": len(numbers), "metrics": {}}
    for name in ("words", "short"):
        x, y = (t[name] for t in tables)
        d = stats.paired_means(x, y, clusters)
        low, high = stats.rounded(d.low, d.high) if len(numbers) > 1 else (None, None)
        found["metrics"][name] = {"a": float(x.mean()), "b": float(y.mean()), "difference": d.value, "low": low, "high": high,
                                  "p": d.p, "method": d.method}  # fmt: skip
    return found | {"rounds": {"a": lengths(sides[0])["words"], "b": lengths(sides[1])["words"]}}


def read(path: Path) -> list[Answer]:
    rows = []
    for number, row in read_jsonl(path):
        try:
            rows.append(Answer.from_json(row))
        except DataError as e:
            raise DataError(e.what, where=f"{path}:{number}: {e.where}", remedy=e.remedy) from e
    return rows


def _table(answers: Sequence[Answer]) -> Mapping[str, np.ndarray]:
    words = np.array([len(a.text.split()) for a in answers], float)
    return {"words": words, "short": (words <= SHORT).astype(float)}
