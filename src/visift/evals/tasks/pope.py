"""POPE: is there a ... in the picture? Three splits (random, popular, adversarial); the published figure is the mean of their F1.

Our own existence questions are POPE too: a dataset with `meta.split`. papers.md A.4.1, A.6; anchors.md pain 10.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from visift.core.errors import DataError
from visift.core.types import get
from visift.evals import metrics, questions, yes_no
from visift.evals.load_answers import LmmsEval, bare, llava, need, own_or, rows_of, source, two_labels
from visift.evals.task import Files, Question, Reply, Rows, Task

SPLITS = ("random", "popular", "adversarial")


@lru_cache(maxsize=65536)
def thing(asked: str) -> str:
    """The question as a key: 57 published rows say `an X in the imange`, and later releases mend them."""
    return re.sub(r"^is there an? ", "is there ", bare(asked).lower()).replace("imange", "image")


def label_rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """(split, picture, question, label) of a label file or the folder of the three; the split stands in the file's name. Beside
    such files in a folder others are something else."""
    number = 0
    files = {
        f: next((s for s in SPLITS if s in f.name.lower()), "")
        for f in (sorted(path.glob("*.json*")) if path.is_dir() else [path])
    }
    for file, split in files.items():
        if not split and any(files.values()):
            continue
        for number, row in enumerate(rows_of(file), 1):
            where = f"{file}:{number}"
            label = yes_no.label(get(row, "label", str, where), where)
            yield split, get(row, "image", str, where), get(row, "text", str, where), label
    if not number:
        raise DataError(
            "holds no POPE labels", where=path, remedy="coco_pope_random.json and its siblings are expected"
        )


def ask(files: Files) -> list[Question]:
    """The questions of the published label files."""
    path = source(files, "POPE's label file or the folder of the three")
    return [
        Question(f"{split}/{image}/{thing(text)}", image, label, (split,) if split else (), bare(text) + yes_no.FORMAT, (image,))
        for split, image, text, label in label_rows(path)
    ]  # fmt: skip


def labels_in(path: Path) -> dict[str, str]:
    """Label by split, picture and question. Raises DataError where two differ."""
    found: dict[str, str] = {}
    for split, image, text, label in label_rows(path):
        key = f"{split}/{image}/{thing(text)}"
        if found.setdefault(key, label) != label:
            raise two_labels(found[key], label, f"{path}: {key}")
    return found


def read_llava(files: Files) -> Rows:
    """LLaVA's answers: to its question file by question_id, and from there to the labels by split, picture and question, because its
    ids are shifted by millions for two splits. What counts is what the question file asked of the splits that have labels."""
    path = need(files.questions, "--questions", "LLaVA's POPE question file")
    references = need(files.references, "--references", "POPE's label files")
    asked = []
    for number, row in enumerate(rows_of(path), 1):
        where = f"{path}:{number}"
        split, image, text = (
            get(row, "category", str, where),
            get(row, "image", str, where),
            get(row, "text", str, where),
        )
        asked.append((str(get(row, "question_id", object, where)), split, image, text))
    labels = labels_in(references)
    if any(key.startswith("/") for key in labels):  # one file without a split in its name
        found = Counter(split for _, split, image, text in asked if f"/{image}/{thing(text)}" in labels)
        (split, count), *others = [*found.most_common(2), ("", 0)]
        if count <= others[0][1]:
            raise DataError(
                "belongs to no one split", where=references, remedy="name it coco_pope_random.json or the like"
            )
        labels = {split + key: label for key, label in labels.items()}
    splits = {key.split("/", 1)[0] for key in labels}
    kept = [Question(name, image, labels.get(f"{split}/{image}/{thing(text)}"), (split,), text, (image,))
            for name, split, image, text in asked if split in splits]  # fmt: skip
    if not kept:
        raise DataError(
            f"asks nothing of {', '.join(sorted(splits))}", where=path, remedy="do the labels belong to it?"
        )
    rows = llava(lambda _: kept)(files)
    rows.replies |= {q.id: Reply("", "no label") for q in kept if q.gold is None}
    other = {name for name, split, _, _ in asked if split not in splits}
    rows.extra = [name for name in rows.extra if name not in other]
    rows.left_out |= {"question of a split without labels": len(other)} if other else {}
    return rows


def of_doc(doc: dict[str, Any], key: str) -> Question:
    image = str(doc.get("image_source", doc["question_id"]))
    return Question(
        key,
        image,
        yes_no.label(doc["answer"], key),
        (str(doc["category"]),),
        bare(doc["question"]) + yes_no.FORMAT,
        (image,),
    )


TASK = Task(
    name="pope",
    readers={"visift": own_or(ask, questions.own(yes_no.gold)), "llava": read_llava, "lmms-eval": LmmsEval(of_doc)},
    parsers=yes_no.PARSERS,
    published={"llava": "llava", "lmms-eval": "lmms-eval"},
    judge=yes_no.judge,
    metrics=metrics.YES_NO,
    totals=(metrics.mean_over_groups(metrics.YES_NO[0]), metrics.total_rate("accuracy", "right"), metrics.total_rate("yes_rate", "yes")),
    headline="f1",
    ask=ask,
)  # fmt: skip
