"""CHAIR: objects that a caption names and the picture does not hold. chair_i = such mentions / all mentions, chair_s = captions with any
such mention / captions; recall of what is there beside them, since an empty caption hallucinates nothing (all empty: chair_i is no number). Truth: COCO's instances of the
picture, plus what the human captions name. References: an instances JSON, or a folder with instances*.json, captions*.json, synonyms.txt."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from visift.core import coco_words
from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import metrics
from visift.evals.load_answers import llava, own_or, source
from visift.evals.parse import HEAD
from visift.evals.task import Files, Question, Task, Total, Verdict

PROMPT = "Please describe this image in detail."


def number(name: object) -> int:
    """COCO's image id: the last run of digits in a file name or a scene id (coco:872)."""
    found = re.findall(r"\d+", str(name).rsplit("/", 1)[-1].split(".")[0])
    if not found:
        raise DataError(
            "names no COCO picture",
            where=repr(name),
            remedy="a file name or scene id that ends in the image id is expected",
        )
    return int(found[-1])


def ask(files: Files) -> list[Question]:
    path = source(files, "COCO's instances JSON, or its annotation folder")
    given = sorted(path.glob("instances*.json")) + sorted(path.glob("captions*.json")) if path.is_dir() else [path]
    synonyms = path / "synonyms.txt" if path.is_dir() and (path / "synonyms.txt").exists() else None
    known = coco_words.phrases(synonyms)
    pictures: dict[int, str] = {}
    truth: dict[int, set[str]] = {}
    for file in given:
        data = read_json(file)
        names = {c["id"]: c["name"] for c in get(data, "categories", list, str(file), [])}
        pictures |= {int(i["id"]): str(i["file_name"]) for i in get(data, "images", list, str(file))}
        for a in get(data, "annotations", list, str(file)):
            objects = (
                coco_words.named(a["caption"], known)
                if "caption" in a
                else coco_words.named(names[a["category_id"]], known)
            )
            truth.setdefault(int(a["image_id"]), set()).update(objects)
    if not pictures:
        raise DataError(
            "holds no COCO annotations", where=path, remedy="instances_val2014.json or its like is expected"
        )
    return [
        Question(str(k), str(k), (sorted(truth.get(k, ())), synonyms and str(synonyms)), (), PROMPT, (file,))
        for k, file in pictures.items()
    ]


def only_captioned(read: Any) -> Any:
    """Pictures of an annotation file that nobody captioned were not asked; those of a question dataset were."""

    def reader(files: Files) -> Any:
        rows = read(files)
        if files.of_ours:
            return rows
        if not any(q.id in rows.replies for q in rows.questions):
            raise DataError(
                "captions no picture of the references", where=files.answers, remedy="compare their image ids"
            )
        rows.left_out["picture without a caption"] = sum(q.id not in rows.replies for q in rows.questions)
        rows.questions = [q for q in rows.questions if q.id in rows.replies]
        return rows

    return reader


@lru_cache(maxsize=4)
def known_words(synonyms: str | None) -> dict[str, str]:
    return coco_words.phrases(Path(synonyms) if synonyms else None)


def read(question: Question, text: str) -> list[str] | None:
    return coco_words.named(text[: 50 * HEAD], known_words(question.gold[1])) if text.strip() else None


def judge(question: Question, said: Any) -> Verdict:
    truth, named = set(question.gold[0]), said or []
    wrong = [c for c in named if c not in truth]
    parts = {"n": 1.0, "captions": float(bool(wrong)), "mentions": float(len(named)), "wrong": float(len(wrong)),
             "found": float(len(truth & set(named))), "there": float(len(truth))}  # fmt: skip
    if said is None:
        return Verdict(0.0, "says nothing", parts, False)
    return Verdict(float(not wrong), "not there: " + ", ".join(sorted(set(wrong))) if wrong else "all there", parts)


def _share_of_mentions(groups: Any) -> Any:
    """nan where nothing is mentioned."""
    s = groups[""]
    return np.where(s["mentions"] > 0, metrics.ratio(s["wrong"], s["mentions"]), np.nan)


TASK = Task(
    name="chair",
    readers={"visift": only_captioned(own_or(ask)),
             "llava": only_captioned(llava(ask, lambda row: str(number(row.get("image") or row.get("image_id") or row["question_id"]))))},
    parsers={"default": read}, judge=judge, metrics=(),
    totals=(Total("chair_i", _share_of_mentions, ("wrong", "mentions")), metrics.total_rate("chair_s", "captions"), metrics.total_rate("recall", "found", "there")),
    headline="chair_i", ask=ask,
)  # fmt: skip
