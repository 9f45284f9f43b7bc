"""`visift mix`: one dataset out of several, weighted, seeded, without the pictures of the evaluation sets.

Two passes. The first reads each source once: rows are checked, leaks and faults put aside, and what stays is kept in a
spool file with its offsets (8 bytes a row is all that stands in memory). The second draws by weight, in seeded order.
"""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from visift.core.dataset import Dataset, Made, Rejection, build
from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.files import atomic, begun_with, once, read_json, read_jsonl, sha256_file, sha256_json, under
from visift.core.licences import not_for_sale
from visift.core.progress import progress
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, TaggedPicture
from visift.curate.card import ensure_card, write_card
from visift.curate.decontaminate import Decontaminator, Held, held
from visift.curate.mix_recipe import MixRecipe, MixSource, read_recipe
from visift.formats import EMBEDDING, read, recognise
from visift.formats.rows import json_bytes

Locate = Callable[[Picture], Path]


@dataclass(frozen=True, slots=True)
class Opened:
    """A source, ready to be read. `roots` are the mixture's: root name -> folder; `rename` gives a picture its path there."""

    source: MixSource
    format: str
    sha256: str
    roots: dict[str, str]
    conversations: Callable[[Callable[[str, DataError], None]], Iterator[Conversation]]
    tagged: Callable[[], Iterator[TaggedPicture]]
    locate: Locate
    rename: Callable[[str], str]


def mix(recipe_path: Path, out: Path, roots: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Make the mixture at `out` and return its card; run again after a kill, it goes on.

    roots  overrides image roots: a foreign source's by its name, those of datasets of ours by their own names

    The card's `settings.ratios` says for each source what was read, leaked, rejected, kept and taken; `rejected.jsonl`
    lists every row that was left out. Raises UsageError for the recipe, DataError for a source that cannot be read,
    VisiftError when more than `max_rejected` of a source's rows are faulty.
    """
    recipe = read_recipe(recipe_path)
    opened = [_open(source, out, roots or {}) for source in recipe.sources]
    plan = _plan(recipe, opened)
    all_roots = _all_roots(opened, recipe_path)
    if (out / "dataset.json").exists():
        card = read_json(out / "dataset.json")
        if card.get("settings", {}).get("plan_sha256") == sha256_json(plan):
            ensure_card(out)
            shutil.rmtree(out / ".build", ignore_errors=True)
            return dict(card)
        raise UsageError(
            "holds a dataset made with other settings", where=out, remedy="choose another --out or remove it"
        )
    if out.exists() and not out.is_dir():
        raise UsageError("is a file, a folder is needed", where=out, remedy="choose another --out")
    spool = out / ".build" / "spool"
    if not begun_with(spool.parent / "mix.json", plan, done=any(spool.glob("*/counts.json"))):
        raise UsageError(
            "holds a mixture begun with other settings", where=out, remedy="choose another --out or remove it"
        )
    evaluation = held(recipe.evaluation) if recipe.decontaminate else Held()
    counts = [_spool(o, spool, Decontaminator(evaluation, o.locate), recipe) for o in opened]
    ratios = _ratios(recipe, counts)
    settings = {
        "seed": recipe.seed, "plan_sha256": sha256_json(plan), "ratios": ratios, "size": recipe.size,
        "sources": [{"name": o.source.name, "format": o.format, "sha256": o.sha256} for o in opened],
        "decontaminated": {"on": recipe.decontaminate, "sets": evaluation.sets}, "drop_noncommercial": recipe.drop_noncommercial,
    }  # fmt: skip
    with ExitStack() as stack:
        files = [stack.enter_context((spool / o.source.name / "kept.jsonl").open("rb")) for o in opened]
        items = _items(recipe, opened, spool, counts, ratios)
        card = build(
            out, kind="mix", items=items, make=lambda item: _make(item, files, opened), settings=settings, roots=all_roots,
            total=sum(r["taken"] for r in ratios) + sum(c["out"] + c["tagged"] for c in counts), max_rejected=1.0,
        )  # fmt: skip
    write_card(out)
    return card


def _all_roots(opened: list[Opened], where: Path) -> dict[str, str]:
    """The mixture's roots: name -> folder. Raises UsageError for two sources whose names and roots spell one name."""
    found: dict[str, tuple[str, str]] = {}  # root name -> source, folder
    for o in opened:
        for name, folder in o.roots.items():
            first, known = found.setdefault(name, (o.source.name, folder))
            if Path(known).resolve() != Path(folder).resolve():
                raise UsageError(
                    f"the sources {first} and {o.source.name} both have an image root {name}: {known} and {folder}",
                    where=where, remedy="give one of the two sources another name",
                )  # fmt: skip
    return {name: folder for name, (_, folder) in found.items()}


def _plan(recipe: MixRecipe, opened: list[Opened]) -> dict[str, Any]:
    """What decides the content: no absolute path, the sources by their hashes."""
    sources = [
        {
            "name": o.source.name,
            "weight": o.source.weight,
            "licence": o.source.licence,
            "format": o.format,
            "sha256": o.sha256,
        }
        for o in opened
    ]
    evaluation = [{"name": p.name, "sha256": _identity(p)} for p in recipe.evaluation]
    rest = recipe.model_dump(mode="json", exclude={"sources", "evaluation"})
    plan = {**rest, "sources": sources, "evaluation": evaluation}
    return dict(json.loads(json.dumps(plan)))


def _identity(path: Path) -> str:
    """A file's hash; a folder's file names and sizes (its pictures may be many gigabytes)."""
    if path.is_file():
        return sha256_file(path)
    return sha256_json(
        [[p.relative_to(path).as_posix(), p.stat().st_size] for p in sorted(path.rglob("*")) if p.is_file()]
    )


def _open(source: MixSource, out: Path, roots: Mapping[str, str]) -> Opened:
    format = source.format or recognise(source.path)
    name = source.name
    if format == "visift":
        data = Dataset(source.path, roots)
        own = {f"{name}.{root}": folder for root, folder in data.roots.items()}

        def rename(path: str) -> str:
            return f"{name}.{path}" if ":" in path else f"{name}:{path}"

        return Opened(
            source, format, data.card["content_sha256"], {name: str(source.path.resolve()), **own},
            lambda _: iter(data), data.tagged, data.picture_path, rename,
        )  # fmt: skip
    if format in EMBEDDING:
        folder = out / "images" / name
        return Opened(
            source, format, _identity(source.path), {},
            lambda fault: read(source.path, format, pictures=folder, on_fault=fault), lambda: iter(()),
            lambda p: under(folder, p.path), lambda path: f"images/{name}/{path}",
        )  # fmt: skip
    root = Path(roots.get(name) or source.image_root or source.path.parent)
    if not root.is_dir():
        raise DataError(
            f"the image root of {name} is no folder",
            where=root,
            remedy=f"set image_root, or pass --image-root {name}=DIR",
        )
    return Opened(
        source, format, sha256_file(source.path), {name: str(root.resolve())},
        lambda fault: read(source.path, format, on_fault=fault), lambda: iter(()),
        lambda p: under(root, p.path), lambda path: f"{name}:{path}",
    )  # fmt: skip


def _spool(o: Opened, spool: Path, guard: Decontaminator, recipe: MixRecipe) -> dict[str, Any]:
    """Read a source once: what stays goes to NAME/kept.jsonl, what does not to NAME/out.jsonl, manifest lines to NAME/tagged.jsonl.

    Returns {"read", "leaked", "rejected", "kept", "out", "tagged"}; finished sources are not read again.
    """
    name = o.source.name
    return dict(once(spool / name / "counts.json", lambda: _read_source(o, spool, guard, recipe)))


def _read_source(o: Opened, spool: Path, guard: Decontaminator, recipe: MixRecipe) -> dict[str, Any]:
    name = o.source.name
    offsets: array[int] = array("Q")
    counts = {"read": 0, "leaked": 0, "rejected": 0, "kept": 0, "tagged": 0, "unlisted": 0}
    with (
        atomic(spool / name / "kept.jsonl") as kept, atomic(spool / name / "out.jsonl") as left,
        atomic(spool / name / "tagged.jsonl") as manifest, progress(f"read {name}", None, "rows") as tick,
    ):  # fmt: skip

        def leave(id: str, stage: str, reason: str) -> None:
            counts["leaked" if stage == "decontaminate" else "rejected"] += 1
            left.write(json_bytes({"id": f"{name}/{id}", "stage": stage, "reason": reason}) + b"\n")

        def fault(row: str, e: DataError) -> None:
            counts["read"] += 1
            leave(row, "mix", str(e))

        for c in o.conversations(fault):
            tick(1)
            counts["read"] += 1
            stage, reason = _left_out(c, o, guard, recipe)
            if stage:
                leave(c.id, stage, reason)
                continue
            offsets.append(kept.tell())
            kept.write(json_bytes(_renamed(c, o).to_json()) + b"\n")
        for tagged in o.tagged():  # all but those of leaked pictures, whichever conversations are drawn
            try:
                leaked = guard.leaked_picture(Picture(tagged.image))
            except DataError as e:
                counts["unlisted"] += 1
                left.write(json_bytes({"id": f"{name}/{tagged.image}", "stage": "manifest", "reason": str(e)}) + b"\n")
                continue
            if not leaked:
                manifest.write(json_bytes(replace(tagged, image=o.rename(tagged.image)).to_json()) + b"\n")
                counts["tagged"] += 1
    if counts["rejected"] > recipe.max_rejected * counts["read"]:
        _, first = next(read_jsonl(spool / name / "out.jsonl"))
        raise VisiftError(
            f"{counts['rejected']} of {counts['read']} rows are faulty, the first because: {first['reason']}",
            where=f"source {name} ({first['id']})", remedy="run `visift check` on it, or raise max_rejected",
        )  # fmt: skip
    if not offsets:
        raise DataError(
            "no row of it can be used", where=f"source {name}: {o.source.path}", remedy="run `visift check` on it"
        )
    with atomic(spool / name / "offsets") as f:
        f.write(np.asarray(offsets, "<u8").tobytes())
    counts["kept"] = len(offsets)
    counts["out"] = counts["leaked"] + counts["rejected"] + counts["unlisted"]
    return counts


def _left_out(c: Conversation, o: Opened, guard: Decontaminator, recipe: MixRecipe) -> tuple[str, str]:
    """(stage, reason) when the conversation must stay out of the mixture."""
    licences = c.provenance.licences or ((o.source.licence,) if o.source.licence else ())
    if recipe.drop_noncommercial and (why := not_for_sale(licences)):
        return "licence", why
    try:
        why = guard.leak(c)
    except DataError as e:
        return "mix", str(e)
    return ("decontaminate", why) if why else ("", "")


def _renamed(c: Conversation, o: Opened) -> Conversation:
    images = tuple(replace(p, path=o.rename(p.path)) for p in c.images)
    provenance = c.provenance
    if not provenance.licences and o.source.licence:
        provenance = replace(provenance, licences=(o.source.licence,))
    return replace(c, id=f"{o.source.name}/{c.id}", images=images, provenance=provenance)


def _ratios(recipe: MixRecipe, counts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table: how many of each source are taken."""
    weights = [s.weight for s in recipe.sources]
    if recipe.size is None:
        taken = [round(w * c["kept"]) for w, c in zip(weights, counts, strict=True)]
    else:  # largest remainders, so that the sum is `size` exactly
        exact = [recipe.size * w / sum(weights) for w in weights]
        taken = [int(x) for x in exact]
        for k in sorted(range(len(exact)), key=lambda k: (taken[k] - exact[k], k))[: recipe.size - sum(taken)]:
            taken[k] += 1
    whole = max(sum(taken), 1)
    return [
        {
            "name": s.name,
            "weight": s.weight,
            **{k: c[k] for k in ("read", "leaked", "rejected", "kept")},
            "taken": n,
            "share": n / whole,
        }
        for s, c, n in zip(recipe.sources, counts, taken, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Item:
    """What one line of a spool file becomes: a conversation (its n-th use), a manifest line, or a rejection."""

    what: str
    source: int
    value: Any
    use: int = 0


def _items(
    recipe: MixRecipe, opened: list[Opened], spool: Path, counts: list[dict[str, Any]], ratios: list[dict[str, Any]]
) -> Iterator[Item]:
    """Conversations in seeded order, then manifest lines, then what was left out."""
    offsets = [np.frombuffer((spool / o.source.name / "offsets").read_bytes(), "<u8") for o in opened]
    source, row, use = [], [], []
    for k, (o, ratio) in enumerate(zip(opened, ratios, strict=True)):
        kept, taken = len(offsets[k]), ratio["taken"]
        uses, rest = divmod(taken, kept)
        chosen = np.sort(rng(recipe.seed, "mix", o.source.name).permutation(kept)[:rest])
        row.append(np.concatenate([np.tile(np.arange(kept, dtype=np.int64), uses), chosen]))
        use.append(np.repeat(np.arange(uses + 1, dtype=np.int32), [kept] * uses + [rest]))
        source.append(np.full(taken, k, np.int16))
    order = rng(recipe.seed, "mix", "order").permutation(sum(r["taken"] for r in ratios))
    sources, rows, used = np.concatenate(source), np.concatenate(row), np.concatenate(use)
    for n in order:
        k = int(sources[n])
        yield Item("conversation", k, int(offsets[k][rows[n]]), int(used[n]))
    for k, o in enumerate(opened):
        for _, line in read_jsonl(spool / o.source.name / "tagged.jsonl"):
            yield Item("tagged", k, line)
    for k, o in enumerate(opened):
        for _, line in read_jsonl(spool / o.source.name / "out.jsonl"):
            yield Item("out", k, line)


def _make(item: Item, files: Sequence[BinaryIO], opened: list[Opened]) -> Made:
    if item.what == "out":
        return Made(rejected=[Rejection(**item.value)])
    if item.what == "tagged":
        return Made(tagged=[TaggedPicture.from_json(item.value)])
    files[item.source].seek(item.value)
    c = Conversation.from_json(json.loads(files[item.source].readline()))
    return Made([replace(c, id=f"{c.id}#{item.use + 1}") if item.use else c])
