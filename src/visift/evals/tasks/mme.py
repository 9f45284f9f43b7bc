"""MME: 14 subtasks of yes/no questions, two a picture. A subtask scores 100 x (accuracy + accuracy+), accuracy+ being the share of
pictures with both right; perception sums ten subtasks, cognition four. A reply that is neither yes nor no is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from visift.core.errors import DataError
from visift.evals import metrics, yes_no
from visift.evals.load_answers import LmmsEval, bare, llava, own_or, recipe_of, source
from visift.evals.task import Files, Item, Metric, Question, Reply, Rows, Sums, Task, Total

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def question(subtask: str, image: str, text: str, truth: str, where: object, key: str = "") -> Question:
    stem = image.rsplit("/", 1)[-1].split(".", maxsplit=1)[0]
    asked = bare(text) + yes_no.FORMAT
    return Question(key or f"{subtask}/{stem}/{bare(text)}", f"{subtask}/{stem}", yes_no.label(truth, where), (subtask,), asked,
                    (image if "/" in image else f"{subtask}/{image}",), stratum=subtask)  # fmt: skip


def lines_of(path: Path, subtask: str) -> list[tuple[str, list[str]]]:
    """(where, fields) of a subtask: from one TSV, or from the release folder's one file a picture, led by the picture's path."""
    single, folder = path / f"{subtask}.txt", path / subtask
    notes = (
        [single] if single.is_file() else sorted({*folder.glob("*.txt"), *folder.glob("questions_answers_YN/*.txt")})
    )
    found = []
    for file in notes:
        pictures = (
            folder / part / f"{file.stem}{end}" for part in ("images", ".") for end in (".jpg", ".png", ".jpeg")
        )
        picture = next((p.relative_to(path).as_posix() for p in pictures if p.exists()), file.stem)
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise DataError("is not UTF-8 text", where=file) from e
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                found.append((f"{file}:{number}", ([] if file == single else [picture]) + line.split("\t", 3)))
    return found


def read_tsv(path: Path) -> list[tuple[Question, str | None]]:
    """(question, answer or None) of a folder of one TSV a subtask, `image question truth [answer]`, or of the release folder."""
    found: list[tuple[Question, str | None]] = []
    for subtask in (*PERCEPTION, *COGNITION):
        for where, fields in lines_of(path, subtask):
            if len(fields) < 3:
                raise DataError("expected image, question, truth, answer with tabs between", where=where)
            image, text, truth, *answer = fields
            found.append((question(subtask, image, text, truth, where), answer[0] if answer else None))
    if not found:
        raise DataError("holds no MME subtask", where=path, remedy="existence.txt, count.txt, … are expected")
    return found


def ask(files: Files) -> list[Question]:
    return [q for q, _ in read_tsv(source(files, "MME's folder of TSV files, or its release folder"))]


def read_tool(files: Files) -> Rows:
    """MME's own tool: every row counts, repeated ones too; a row without an answer column is missing."""
    rows = Rows([], {})
    for q, answer in read_tsv(files.answers):
        name = q.id if q.id not in rows.replies else f"{q.id} #{len(rows.questions)}"
        if name != q.id:
            rows.duplicate.append(q.id)
        rows.questions.append(Question(name, q.cluster, q.gold, q.groups, q.asked, q.images, stratum=q.stratum))
        rows.replies[name] = Reply(answer or "", "" if answer is not None else "missing")
    rows.recipe = recipe_of(rows.questions, "as answered")
    return rows


def key_of_llava(row: dict[str, Any]) -> str:
    """LLaVA's question_id is `subtask/…/picture` and repeats: the question tells the two apart."""
    parts = row["question_id"].split("/")
    return f"{parts[0]}/{parts[-1].split('.')[0]}/{bare(row['prompt'])}"


def of_doc(doc: dict[str, Any], key: str) -> Question:
    return question(doc["category"], str(doc["question_id"]), doc["question"], doc["answer"], key, key)


def pair(items: list[Item]) -> None:
    """Counts pairs: the questions of a picture two by two, in their order. A pair with an unscored half is no pair."""
    pictures: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        pictures[item.question.cluster].append(item)
        item.parts |= {"pairs": 0.0, "both": 0.0}
    for asked in pictures.values():
        for first, second in zip(asked[::2], asked[1::2], strict=False):
            if first.score is not None and second.score is not None:
                second.parts |= {"pairs": 1.0, "both": first.score * second.score}


def about(questions: list[Question]) -> dict[str, Any]:
    """A sum over fewer subtasks than there are is said to be one."""
    seen = {q.groups[0] for q in questions}
    return {"subtasks": f"{len(seen)} of {len(PERCEPTION) + len(COGNITION)}"}


def points(s: Sums) -> np.ndarray:
    return metrics.ratio(s["right"], s["n"]) * 100 + metrics.ratio(s["both"], s["pairs"]) * 100


def summed(name: str, subtasks: tuple[str, ...]) -> Total:
    def of(groups: Mapping[str, Sums]) -> np.ndarray:
        found = [points(groups[s]) for s in subtasks if s in groups]
        total = sum(found, np.zeros(np.shape(groups[""]["n"])))  # one by one: the published tool's last digit
        return total if found else np.full_like(total, np.nan)

    return Total(name, of)


TASK = Task(
    name="mme",
    readers={"visift": own_or(ask), "llava": llava(ask, key_of_llava, first=True), "mme-tool": read_tool, "lmms-eval": LmmsEval(of_doc)},
    parsers=yes_no.PARSERS,
    published={"llava": "mme", "mme-tool": "mme", "lmms-eval": "mme"},
    judge=yes_no.judge,
    metrics=(Metric("score", points), metrics.rate("accuracy", "right"), metrics.rate("accuracy_plus", "both", "pairs")),
    totals=(summed("perception", PERCEPTION), summed("cognition", COGNITION), metrics.total_rate("accuracy", "right")),
    headline="perception",
    finish=pair,
    about=about,
    ask=ask,
)  # fmt: skip
