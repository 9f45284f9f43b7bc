"""Public question files about COCO pictures, one table row a format: where picture, question, answer, options and reason stand.

Each file is read once, in a stream; what it asks about pictures of the source goes to a spool file on disk, and is read again
picture by picture. Nothing of the texts is changed but spaces, a capital and a full stop.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from visift.core.errors import DataError, UsageError
from visift.core.files import read_jsonl, sha256_file
from visift.core.lists import letter, with_options
from visift.core.progress import progress
from visift.core.types import Asked, Scene
from visift.sources.coco import Rows
from visift.sources.json_stream import elements
from visift.sources.source import Wrapping

COCO_NAME = re.compile(r"(?:^|/|COCO_(?:train|val|test)20\d\d_)(\d{12})\.\w+$")  # how COCO names its pictures
CC_BY, APACHE, NC = "CC BY 4.0", "Apache-2.0", "CC BY-NC 4.0"
Row = Mapping[str, Any]
Visual = Mapping[int, tuple[int | None, int, int]]  # Visual Genome: picture -> COCO id, width, height


@dataclass(frozen=True, slots=True)
class Layout:
    """One format. Field names; `a|b` means the first of the two that is there.

    picture   a COCO id, a path that ends in COCO's file name, or (`genome`) an id of Visual Genome
    at        key of the array of rows; empty: the file is a list, or JSON Lines
    inner     rows lie in a list under this key of each element
    join      the second file's array of questions, joined by `question_id`
    make      a row -> what it asks, [] where it asks nothing
    files     how many files make one source, as published
    """

    make: Callable[[Layout, Row, Any], list[Asked]]
    picture: str
    question: str = "question"
    answer: str = "answer"
    options: str = ""
    reason: str = ""
    at: str = ""
    inner: str = ""
    join: bool = False
    genome: bool = False
    files: tuple[str, ...] = ("questions",)
    licence: str = ""
    name: str = ""

    def ask(self, question: str, answer: str, form: str, **more: Any) -> Asked:
        return Asked(self.name, question, answer, form, self.licence, **more)


def field_of(row: Row, names: str) -> Any:
    """The first of the `a|b` named fields that is there. Raises KeyError when none is."""
    for name in names.split("|"):
        if row.get(name) is not None:
            return row[name]
    raise KeyError(names)


def text_of(value: Any) -> str:
    """A text, or the text that most of a list say (VQA's ten answers), the first of equals. Raises ValueError for anything else."""
    if isinstance(value, list) and value:
        texts = [v.get("answer") if isinstance(v, dict) else v for v in value]
        if not all(isinstance(t, str) for t in texts):
            raise ValueError("answers are no texts")
        value = Counter(texts).most_common(1)[0][0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    text = " ".join(str(value).split())
    if not text:
        raise ValueError("the text is empty")
    return text


def full_sentence(text: str) -> str:
    text = re.sub(r"\s+([.,!?])", r"\1", text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def asked(text: str) -> str:
    """A question with its capital and question mark (COCO-QA has neither)."""
    text = re.sub(r"\s+\?", "?", text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else "?")


def short(layout: Layout, row: Row, _: Any) -> list[Asked]:
    answer = text_of(field_of(row, layout.answer)).rstrip(".")
    form = "yes/no" if answer.lower() in ("yes", "no") else "number" if answer.isdigit() else "phrase"
    return [layout.ask(asked(text_of(field_of(row, layout.question))), answer, form)]


def explained(layout: Layout, row: Row, _: Any) -> list[Asked]:
    """VQA-E: `explanation` is [text, how well it fits]."""
    reason = field_of(row, layout.reason)
    reason = text_of(reason[0] if isinstance(reason, list) and reason else reason)
    answer = full_sentence(text_of(field_of(row, layout.answer)))
    return [
        layout.ask(
            asked(text_of(field_of(row, layout.question))), f"{answer} {full_sentence(reason)}", "phrase + reason"
        )
    ]


def choice(layout: Layout, row: Row, _: Any) -> list[Asked]:
    """A-OKVQA: options, the right one's place, several reasons of which the longest is taken."""
    options, right = field_of(row, layout.options), field_of(row, layout.answer)
    if not isinstance(options, list) or not isinstance(right, int) or not 0 <= right < len(options) <= 8:
        raise ValueError("the options or the right one's place are not as published")
    reasons = sorted({text_of(r) for r in field_of(row, layout.reason)}, key=lambda r: (-len(r), r))
    question = with_options(asked(text_of(field_of(row, layout.question))), [text_of(o) for o in options])
    return [layout.ask(question, f"{letter(right)}. {full_sentence(reasons[0])}", "letter + reason")]


def statement(layout: Layout, row: Row, _: Any) -> list[Asked]:
    """VSR: a caption that is true (1) or not (0)."""
    label = field_of(row, layout.answer)
    if label not in (0, 1):
        raise ValueError(f"label {label!r} is neither 0 nor 1")
    said = full_sentence(text_of(field_of(row, layout.question)))
    return [layout.ask(f"Is this true of the picture? {said}", "yes" if label else "no", "yes/no")]


def paragraph(layout: Layout, row: Row, _: Any) -> list[Asked]:
    return [
        layout.ask("Describe the picture in detail.", full_sentence(text_of(field_of(row, layout.answer))), "paragraph")
    ]


def region(layout: Layout, row: Row, genome: tuple[int | None, int, int]) -> list[Asked]:
    """Visual Genome: where is what the phrase says, and what is in the box; every second row one of the two."""
    _, width, height = genome
    x, y, w, h = (float(row[k]) for k in ("x", "y", "width", "height"))
    box = [max(x, 0) / width, max(y, 0) / height, min((x + w) / width, 1), min((y + h) / height, 1)]
    if not (box[0] + 0.01 < box[2] and box[1] + 0.01 < box[3]):
        raise ValueError("the box is empty or lies outside the picture")
    where, said = f"[{', '.join(f'{v:.2f}' for v in box)}]", text_of(field_of(row, layout.answer)).rstrip(".")
    if int(row["region_id"]) % 2:
        return [layout.ask(f"Where in the picture do you see this: {said}?", where, "coordinates")]
    brief = len(said.split()) <= 8
    return [
        layout.ask(
            f"What is in the region {where}?", said if brief else full_sentence(said), "phrase" if brief else "sentence"
        )
    ]


def conversation(layout: Layout, row: Row, _: Any) -> list[Asked]:
    """LLaVA JSON: the rounds as they are, together and in order."""
    turns = field_of(row, layout.question)
    texts = [str(t["value"]).replace("<image>", "").strip() for t in turns]
    speakers = [t["from"] for t in turns]
    if not texts or len(texts) % 2 or speakers != ["human", "gpt"] * (len(texts) // 2) or not all(texts):
        raise ValueError("turns are not human and gpt in turn, or one is empty")
    group = f"{row.get('id', '')}"
    return [layout.ask(q, a, "", request=False, group=group) for q, a in zip(texts[::2], texts[1::2], strict=True)]


_VQA = ("annotations", "questions")
_GENOME = ("questions", "image_data")
LAYOUTS: dict[str, Layout] = {
    "coco-qa": Layout(short, "img_ids", "questions", "answers", files=("folder",)),
    "vqav2": Layout(short, "image_id", answer="multiple_choice_answer", at="annotations", join=True, files=_VQA, licence=CC_BY),
    "ok-vqa": Layout(short, "image_id", answer="answers", at="annotations", join=True, files=_VQA, licence=CC_BY),
    "a-okvqa": Layout(choice, "image_id", answer="correct_choice_idx", options="choices", reason="rationales", licence=APACHE),
    "vqa-e": Layout(explained, "img_id|image_id", answer="multiple_choice_answer|answers", reason="explanation"),
    "vsr": Layout(statement, "image", "caption", "label", licence=APACHE),
    "tallyqa": Layout(short, "image", licence=APACHE),
    "vg-qa": Layout(short, "image_id", inner="qas", genome=True, files=_GENOME, licence=CC_BY),
    "vg-regions": Layout(region, "image_id", answer="phrase", inner="regions", genome=True, files=_GENOME, licence=CC_BY),
    "image-paragraphs": Layout(paragraph, "image_id", answer="paragraph", genome=True, files=_GENOME, licence=CC_BY),
    "st-vqa": Layout(short, "file_path|file_name", answer="answers", at="data"),
    "llava": Layout(conversation, "image", "conversations"),
    "llava-instruct": Layout(conversation, "image", "conversations", licence=CC_BY),
    "sharegpt4v": Layout(conversation, "image", "conversations", licence=NC),
    "lvis-instruct4v": Layout(conversation, "image", "conversations"),
}  # fmt: skip
LAYOUTS = {name: replace(layout, name=name) for name, layout in LAYOUTS.items()}


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """One `--questions NAME=FILE[,FILE]`."""

    layout: Layout
    paths: tuple[Path, ...]

    @staticmethod
    def parse(text: str) -> QuestionFile:
        name, equals, rest = text.partition("=")
        if not equals or name not in LAYOUTS:
            raise UsageError(
                f"--questions {text!r} names no format", remedy=f"NAME=FILE, NAME one of {', '.join(LAYOUTS)}"
            )
        layout, paths = LAYOUTS[name], tuple(Path(p) for p in rest.split(",") if p)
        if len(paths) != len(layout.files):
            raise UsageError(f"--questions {name} needs {','.join(layout.files).upper()}", remedy=f"{len(paths)} given")
        return QuestionFile(layout, paths)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(where, row), as far as rows can be told apart. Raises DataError naming the file."""
        layout, path = self.layout, self.paths[0]
        if layout.files == ("folder",):
            yield from _lines(path, (layout.picture, layout.question, layout.answer))
            return
        questions = _by_id(self.paths[1], "questions", "question_id") if layout.join else {}
        for where, row in _rows(path, layout.at):
            for inside in row.get(layout.inner) or () if layout.inner else (row,):
                if not isinstance(inside, dict):
                    raise DataError("a row is no object", where=where)
                yield where, {**questions.get(inside.get("question_id"), {}), **inside} if layout.join else inside


def _rows(path: Path, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    if path.suffix == ".jsonl":
        numbered: Iterator[tuple[int, Any]] = read_jsonl(path)
    else:
        numbered = ((k, v) for k, (key, v, _, _) in enumerate(elements(path, lists=True), 1) if key == at)
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DataError("a row is no object", where=f"{path}: row {number}")
        yield f"{path}: row {number}", row
    if not number:
        raise DataError(f"holds no rows{f' under {at!r}' if at else ''}", where=path, remedy="is it the right file?")


def _lines(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """COCO-QA: a folder of text files whose lines belong together."""
    try:
        columns = [(folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in names]
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(
            f"cannot be read ({e})", where=folder, remedy=f"it holds {', '.join(f'{n}.txt' for n in names)}"
        ) from e
    if len({len(c) for c in columns}) > 1:
        raise DataError("its files differ in their number of lines", where=folder, remedy="fetch them again")
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield f"{folder}: line {number}", dict(zip(names, values, strict=True))


def _by_id(path: Path, at: str, key: str) -> dict[Any, dict[str, Any]]:
    return {row[key]: {"question": row.get("question")} for _, row in _rows(path, at) if key in row}


def _genome(path: Path) -> Visual:
    """Visual Genome's image_data.json."""
    found = {}
    for where, row in _rows(path, ""):
        try:
            found[int(row["image_id"])] = (row.get("coco_id"), int(row["width"]), int(row["height"]))
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"is no row of image_data.json ({e})", where=where) from e
    return found


def coco_id(value: Any) -> int | None:
    """A COCO id, or the one that a COCO picture's path ends in."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        found = COCO_NAME.search(value)
        return int(found[1]) if found else int(value) if value.isdigit() else None
    return None


@dataclass
class WithQuestions(Wrapping):
    """The scenes of `source`, each with what question files ask about its picture. A row that cannot be used is a fault of its scene."""

    files: Sequence[QuestionFile]

    def describe(self) -> dict[str, Any]:
        held = [
            {"format": f.layout.name, "licence": f.layout.licence, "sha256": [_hash(p) for p in f.paths]}
            for f in self.files
        ]
        return {**self.source.describe(), "questions": held}

    def __iter__(self) -> Iterator[Scene]:
        place = {_key(scene): number for number, scene in enumerate(self.source)}
        with tempfile.TemporaryDirectory(prefix="visift-") as folder:
            spools = [self._spool(f, place, Path(folder) / str(k)) for k, f in enumerate(self.files)]
            handles = [rows.path.open("rb") for rows in spools]
            try:
                for number, scene in enumerate(self.source):
                    found: list[Asked] = []
                    faults: list[tuple[str, str]] = []
                    for rows, handle in zip(spools, handles, strict=True):
                        for row in rows.of(handle, number):
                            found += [Asked(**a) for a in row.get("asked", ())]
                            faults += [tuple(f) for f in row.get("faults", ())]  # type: ignore[misc]
                    yield replace(scene, asked=tuple(found), faults=(*scene.faults, *faults))
            finally:
                for handle in handles:
                    handle.close()

    def _spool(self, file: QuestionFile, place: Mapping[int, int], path: Path) -> Rows:
        """What a file asks about pictures of the source, in file order."""
        layout, owner, offset, length = file.layout, array("q"), array("q"), array("q")
        genome = _genome(file.paths[1]) if layout.genome else {}
        read = used = 0
        with path.open("wb") as out, progress(layout.name, None, "rows") as tick:
            for where, row in file.rows():
                read += 1
                tick(1)
                try:
                    value = field_of(row, layout.picture)
                except KeyError as e:
                    raise DataError(
                        f"field {e} is missing", where=where, remedy=f"is it a file of {layout.name}?"
                    ) from e
                seen = genome.get(value) if layout.genome else None
                picture = place.get(coco_id(seen[0] if seen else None if layout.genome else value) or -1)
                if picture is None:
                    continue
                used += 1
                line = json.dumps(_asked(layout, row, seen, where), ensure_ascii=False).encode()
                owner.append(picture)
                offset.append(out.tell())
                length.append(len(line))
                out.write(line + b"\n")
        if not read:
            raise DataError("holds no rows", where=file.paths[0], remedy=f"is it a file of {layout.name}?")
        print(f"{layout.name}: {used} of {read} rows are about pictures of the source", file=sys.stderr)
        rows = Rows(path, owner, offset, length)
        rows.seal(len(place))
        return rows


def _asked(layout: Layout, row: Row, genome: Any, where: str) -> dict[str, Any]:
    try:
        found = layout.make(layout, row, genome)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        what = f"field {e} is missing" if isinstance(e, KeyError) else str(e)
        return {"faults": [(f"{layout.name}:{where.rpartition(': ')[2]}", what)]}
    return {"asked": [{name: getattr(a, name) for name in Asked.__slots__} for a in found]}


def _key(scene: Scene) -> int:
    found = coco_id(scene.id.rpartition(":")[2]) or coco_id(scene.path)
    if found is None:
        raise UsageError(f"question files are about COCO pictures, {scene.path!r} is none", remedy="use a COCO source")
    return found


def _hash(path: Path) -> str:
    if path.is_dir():
        return "+".join(sha256_file(p) for p in sorted(path.glob("*.txt")))
    return sha256_file(path) if path.is_file() else ""
