"""A dataset on disk: written part by part, resumable after a kill, byte-identical however often it was interrupted.

    DIR/dataset.json                     the card, written last: a folder without it is unfinished
    DIR/conversations/part-00000.jsonl   PART source scenes a part, in source order
    DIR/marks/part-00000.jsonl           the manifest (only where pictures were tagged)
    DIR/images/…                         only pictures that visift drew
    DIR/rejected.jsonl                   {"id", "stage", "reason"} for all that was left out

While a build is under way, DIR/.build/ holds its settings and each finished part's counts. A part is finished when its
counts are there; they are written after everything else of the part.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import visift
from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.executor import Executor, map_ordered
from visift.core.files import (
    begun_with,
    canonical_json,
    read_json,
    read_jsonl,
    sha256_json,
    under,
    write_json,
    write_jsonl,
)
from visift.core.progress import progress
from visift.core.types import Conversation, Picture, TaggedPicture, get

PART = 1000  # source items a part
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something left out, and why."""

    id: str
    stage: str
    reason: str


@dataclass(slots=True)
class Made:
    """What one source item became: conversations, manifest lines, rejections. Pictures are already written."""

    conversations: list[Conversation] = field(default_factory=list)
    tagged: list[TaggedPicture] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def build(
    out: Path,
    *,
    kind: str,
    items: Iterable[Item],
    make: Callable[[Item], Made],
    settings: Mapping[str, Any],
    roots: Mapping[str, str] | None = None,
    total: int | None = None,
    workers: int = 1,
    executor: Executor = "local",
    max_rejected: float = 0.5,
) -> dict[str, Any]:
    """Turn source items into a dataset at `out` and return its card. Run again after a kill, it goes on where it stopped.

    items     the source, in a fixed order; finished parts are skipped, not made again
    make      item -> Made, a pure function of the item (picklable for workers > 1); draws its pictures into out/images
    settings  everything that decides the content; a folder begun with other settings is refused (UsageError)
    roots     name -> absolute folder of pictures that stay where they are; not part of the content
    max_rejected  more than this share of rejected items stops the run (VisiftError); what was finished stays

    Where all that was found is rejected there is no dataset either (VisiftError): with the source mended, it is made.
    """
    settings = json.loads(canonical_json({"kind": kind, "part": PART, **settings}))  # as a restart will read them
    if (out / "dataset.json").exists():
        card = read_card(out)
        if card.get("config_sha256") != sha256_json(settings):
            raise UsageError(
                "holds a dataset made with other settings", where=out, remedy="choose another --out or remove it"
            )
        shutil.rmtree(out / ".build", ignore_errors=True)  # a kill can fall between the card and this
        return dict(card)
    if out.exists() and not out.is_dir():
        raise UsageError("is a file, a folder is needed", where=out, remedy="choose another --out")
    state = out / ".build"
    done = len(list(state.glob("part-?????.json")))
    if not done and (state / "settings.json").exists():  # perhaps by other settings: no part of it is finished
        for folder in ("images", "conversations", "marks"):
            shutil.rmtree(out / folder, ignore_errors=True)
    if not begun_with(state / "settings.json", settings, done=done > 0):
        raise UsageError(
            "holds a build begun with other settings", where=out, remedy="choose another --out or remove it"
        )

    for left in out.rglob(".*.part"):  # half-written files of a killed run
        left.unlink(missing_ok=True)
    seen = sum(read_json(state / f"part-{k:05d}.json")["items"] for k in range(done))
    with progress(kind, total, "scenes", done=seen) as tick:
        stream = islice(items, seen, None)
        results = map_ordered(make, stream, workers=workers, executor=executor)
        for number, part in enumerate(_batched(_ticked(results, tick), PART), done):
            _write_part(out, number, part, max_rejected)
    return _finish(out, kind, settings, roots or {})


def _batched(stream: Iterator[Made], size: int) -> Iterator[tuple[Made, ...]]:
    while chunk := tuple(islice(stream, size)):
        yield chunk


def _ticked(results: Iterable[Made], tick: Callable[[int], None]) -> Iterator[Made]:
    for made in results:
        tick(1)
        yield made


def _write_part(out: Path, number: int, part: tuple[Made, ...], max_rejected: float) -> None:
    name = f"part-{number:05d}"
    rejected = [r for made in part for r in made.rejected]
    failed = sum(1 for made in part if made.rejected and not made.conversations and not made.tagged)
    if len(part) >= 20 and failed > max_rejected * len(part):
        raise VisiftError(
            f"{failed} of {len(part)} items were rejected, the first because: {rejected[0].reason}",
            where=f"{out} ({rejected[0].id})", remedy="check the source; the same command then goes on",
        )  # fmt: skip
    conversations = [c for made in part for c in made.conversations]
    tagged = [t for made in part for t in made.tagged]
    write_jsonl(out / "conversations" / f"{name}.jsonl", (c.to_json() for c in conversations))
    if tagged:
        write_jsonl(out / "marks" / f"{name}.jsonl", (t.to_json() for t in tagged))
    write_jsonl(
        out / ".build" / f"{name}.rejected.jsonl",
        ({"id": r.id, "stage": r.stage, "reason": r.reason} for r in rejected),
    )
    licences = sorted({licence for c in conversations for licence in c.provenance.licences})
    teachers = sorted({c.provenance.teacher for c in conversations if c.provenance.teacher})
    counts = {
        "items": len(part), "conversations": len(conversations), "tagged": len(tagged), "rejected": len(rejected),
        "pictures": sum(len(c.images) for c in conversations), "licences": licences, "teachers": teachers,
    }  # fmt: skip
    write_json(out / ".build" / f"{name}.json", counts)


def _finish(out: Path, kind: str, settings: Mapping[str, Any], roots: Mapping[str, str]) -> dict[str, Any]:
    state = out / ".build"
    parts = sorted(state.glob("part-?????.json"))
    counts = [read_json(p) for p in parts]
    write_jsonl(out / "rejected.jsonl", (row for p in parts for _, row in read_jsonl(p.with_suffix(".rejected.jsonl"))))
    if not any(c["conversations"] or c["tagged"] for c in counts) and any(c["rejected"] for c in counts):
        _, first = next(read_jsonl(out / "rejected.jsonl"))
        shutil.rmtree(out / "conversations", ignore_errors=True)  # empty files
        shutil.rmtree(state)
        raise VisiftError(
            f"nothing could be made, the first because: {first['reason']}", where=f"{out} ({first['id']})",
            remedy="check the source and run the same command again; rejected.jsonl says what was left out",
        )  # fmt: skip
    card = {
        "kind": kind,
        "counts": {k: sum(c[k] for c in counts) for k in ("items", "conversations", "tagged", "rejected", "pictures")},
        "seed": settings.get("seed", 0),
        "visift": visift.__version__,
        "sources": settings.get("sources", []),
        "licences": sorted({x for c in counts for x in c["licences"]}),
        "teacher": sorted({x for c in counts for x in c["teachers"]}),
        "settings": dict(settings),
        "config_sha256": sha256_json(settings),
        "roots": dict(roots),
        "content_sha256": content_sha256(out),
    }
    write_json(out / "dataset.json", card)
    shutil.rmtree(state)
    return card


def content_sha256(out: Path) -> str:
    """A hash over conversations, manifest and rejections; pictures count through the sha256 in their rows."""
    digest = hashlib.sha256()
    for path in [
        *sorted(out.glob("conversations/*.jsonl")),
        *sorted(out.glob("marks/*.jsonl")),
        out / "rejected.jsonl",
    ]:
        digest.update(path.relative_to(out).as_posix().encode() + b"\0")
        with path.open("rb") as f:
            digest.update(hashlib.file_digest(f, "sha256").digest())
    return digest.hexdigest()


def read_card(out: Path) -> dict[str, Any]:
    """What `build` returned. Raises DataError naming the file where it is no card."""
    path = out / "dataset.json"
    card = read_json(path)
    try:
        get(get(card, "counts", dict, "card"), "conversations", int, "counts")
        get(card, "content_sha256", str, "card")
        get(card, "roots", dict, "card", {})
    except DataError as e:
        raise DataError(f"is no card of a dataset ({e.what})", where=path, remedy="make the dataset again") from e
    return dict(card)


class Dataset:
    """A finished dataset, read in a stream."""

    def __init__(self, path: Path, roots: Mapping[str, str] | None = None) -> None:
        """`roots` overrides where the card says that pictures lie. Raises DataError when `path` holds no finished dataset."""
        self.path = Path(path)
        if not (self.path / "dataset.json").exists():
            unfinished = (self.path / ".build").exists()
            raise DataError(
                "the dataset is unfinished" if unfinished else "holds no dataset (no dataset.json)", where=self.path,
                remedy="run the command that makes it again" if unfinished else "check the path, or `visift convert` a foreign file",
            )  # fmt: skip
        self.card = read_card(self.path)
        self.roots: dict[str, str] = {**self.card.get("roots", {}), **(roots or {})}

    def __len__(self) -> int:
        return int(self.card["counts"]["conversations"])

    def __iter__(self) -> Iterator[Conversation]:
        return (self.conversation(where, row) for where, row in self.rows())

    def rows(self) -> Iterator[tuple[str, Any]]:
        """(file and line, JSON) of every conversation, in order, not checked yet."""
        for path in sorted(self.path.glob("conversations/*.jsonl")):
            yield from ((f"{path}:{number}", row) for number, row in read_jsonl(path))

    @staticmethod
    def conversation(where: str, row: Any) -> Conversation:
        """One of `rows`. Raises DataError naming file, line and field."""
        try:
            return Conversation.from_json(row)
        except DataError as e:
            raise DataError(e.what, where=f"{where}: {e.where}", remedy=e.remedy) from e

    def tagged(self) -> Iterator[TaggedPicture]:
        """The manifest."""
        for path in sorted(self.path.glob("marks/*.jsonl")):
            for _, row in read_jsonl(path):
                yield TaggedPicture.from_json(row)

    def picture_path(self, picture: Picture) -> Path:
        """Where a picture lies. Raises DataError for an unknown root and for paths that leave their root."""
        name, colon, rest = picture.path.partition(":")
        if not colon:
            return under(self.path, picture.path)
        if name not in self.roots:
            raise DataError(f"image root {name!r} is unknown", where=self.path, remedy=f"pass --image-root {name}=DIR")
        return under(Path(self.roots[name]), rest)
