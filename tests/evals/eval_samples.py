"""Small question sets with known answers, and predictors whose scores follow from counting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from visift.core.dataset import Made, build
from visift.core.files import write_jsonl
from visift.core.types import Answer, Conversation, Mark, Picture, Provenance, TaggedPicture, assistant, user

ENDLESS = "la " * 33_334  # 100 kB of nothing
# 100 kB that tries a regex's patience
CRUEL = "(((no, " * 2_000 + "1" * 40_000 + "yes\n" * 11_000


def conversation(key: str, scene: str, asked: str, reference: str, **meta: object) -> Conversation:
    turns = (user(0, asked), assistant(reference))
    return Conversation(
        key, (Picture(f"images/{scene}.png"),), turns, Provenance("vqa", (scene,), template="t/1"), meta
    )


def question_set(out: Path, conversations: Iterable[Conversation], tagged: Iterable[TaggedPicture] = ()) -> Path:
    """A finished dataset of those conversations."""
    made = [Made([c]) for c in conversations]
    made[0].tagged.extend(tagged)
    build(out, kind="questions", items=made, make=lambda m: m, settings={})
    return out


def existence(out: Path, pictures: int = 40) -> Path:
    """Three splits, six questions a picture and split, half of them yes."""
    splits = ("random", "popular", "adversarial")
    return question_set(
        out,
        (
            conversation(f"{split}-{p}-{k}", f"s{p}", f"Is there a thing {k}?", "No" if k % 2 else "Yes", split=split)
            for split in splits
            for p in range(pictures)
            for k in range(6)
        ),
    )


def tagged(scene: str, names: list[str]) -> TaggedPicture:
    marks = tuple(
        Mark(
            k,
            f"{scene}/{k}",
            name.split()[-1],
            (1, 1),
            (0, 0, 3, 3),
            (0, 0, 2, 2),
            9,
            {"size": [9, 9], "counts": ""},
            name,
        )
        for k, name in enumerate(names, 1)
    )
    return TaggedPicture(f"images/{scene}.png", "", scene, "", 9, 9, "", marks)


def listing(out: Path, lists: list[list[str]]) -> Path:
    pictures = [tagged(f"s{k}", names) for k, names in enumerate(lists)]
    rows = (conversation(f"list-{k}", f"s{k}", "List them.", "1. x") for k in range(len(lists)))
    return question_set(out, rows, pictures)


def answer_all(path: Path, questions: Path, say: Callable[[Conversation], str | None]) -> Path:
    """Answers of a predictor to every question; None leaves the row out."""
    from visift.core.dataset import Dataset

    rows = []
    for c in Dataset(questions):
        if (text := say(c)) is not None:
            rows.append(Answer(c.id, "t", (c.images[0].path,), "", text, "stop").to_json())
    write_jsonl(path, rows)
    return path
