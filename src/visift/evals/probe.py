"""What a model looks at when it lists (papers.md A.4.5, made a number): of the patches that a number's token attends to most, how many
lie in the region of that number. Per layer, heads averaged, beside what the same patches score against another number's region (shuffled),
what the model does on a blank picture, and what patches drawn at random would score (chance).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import write_json
from visift.core.lists import render_list
from visift.core.progress import progress
from visift.core.seeds import rng
from visift.core.types import Conversation, Mark, TaggedPicture, assistant
from visift.evals import stats
from visift.evals.answer import ready
from visift.evals.engine import Engine
from visift.evals.question import Question
from visift.models import Renderer, Vlm, fingerprint
from visift.models.image_attention import PatchGrid, text_attention
from visift.models.pictures import Pictures

TOP = 5  # patches a number, as in the paper's figure
LISTS = ("own", "given")
CONTROLS = ("shuffled", "blank")
SHOWN_PX, FRAME = 480, 3  # an overlay's longest side at least about so long; a frame's width
_LINE = re.compile(r"\s*(\d{1,3})")
Array = np.ndarray


@dataclass(slots=True)
class Look:
    """Where a model looked on one picture: layer and number -> the patches it attended to most, best first."""

    tagged: TaggedPicture
    path: Path
    centres: Array  # (patches, 2): x and y of each patch's middle, pixels of the drawn picture; NaN where it shows none of it
    inside: Mapping[int, Array]  # number -> bool (patches,)
    top: dict[int, Array]  # number -> (layers, k)
    blank: dict[int, Array] = field(default_factory=dict)
    unlisted: int = 0


def probe(
    model: str, dataset: Dataset, out: Path, *, top: int = TOP, lists: str = "own", limit: int = 0, overlays: int = 4,
    seed: int = 0, max_new_tokens: int = 256, vlm: Vlm | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Probe one model on a listing dataset; write probe.json and overlays/ to `out` and return what probe.json holds.

    lists  "own": the list that the model writes, greedily; "given": the true list is read to it, which compares models that list with
           such that do not
    Raises UsageError for a model that does not read a picture as one grid of patches, DataError for a dataset without marks.
    """
    if lists not in LISTS:
        raise UsageError(f"lists {lists!r} is none of {', '.join(LISTS)}")
    vlm = vlm or ready(model)
    vlm.model.set_attn_implementation("eager")  # the others give no weights
    manifest = {t.image: t for t in dataset.tagged()}
    asked = [c for c in dataset if c.images and c.images[0].path in manifest]
    if not asked:
        raise DataError("has no tagged picture with a question", where=dataset.path, remedy="name a listing dataset")
    asked = list(islice(asked, limit or None))
    replies = _own(vlm, dataset, asked, max_new_tokens) if lists == "own" else _given(asked, manifest)
    found = []
    with progress("probe", len(asked), "pictures") as tick:
        for look in _looks(vlm, dataset, asked, manifest, replies, top):
            found.append(look)
            tick(1)
    shown = _summary(found, top, seed)
    result = shown | {
        "model": model, "lists": lists, "top": top, "pictures": len(found), "numbers": sum(len(f.top) for f in found),
        "unlisted": sum(f.unlisted for f in found), "fingerprint": fingerprint(model), "seed": seed,
        "data_sha256": dataset.card["content_sha256"],
    }  # fmt: skip
    if shown["layers"]:
        best = max(range(len(shown["layers"])), key=lambda k: shown["layers"][k]["share"]["value"])
        result["best_layer"] = best
        result["overlays"] = []
        for look in [f for f in found if f.top][:overlays]:
            name = f"overlays/{Path(look.tagged.image).stem}.png"
            (out / "overlays").mkdir(parents=True, exist_ok=True)
            overlay(look, best).save(out / name)
            result["overlays"].append(name)
    write_json(out / "probe.json", result)
    return result


def _given(asked: Iterable[Conversation], manifest: Mapping[str, TaggedPicture]) -> dict[str, str]:
    return {
        c.id: render_list({m.number: m.name or m.category for m in manifest[c.images[0].path].marks}) for c in asked
    }


def _own(vlm: Vlm, dataset: Dataset, asked: Sequence[Conversation], max_new_tokens: int) -> dict[str, str]:
    engine = Engine(vlm, dataset, max_new_tokens, grey=False)
    return {q.conversation.id: text for q, text, _ in engine.answers([Question(c, "") for c in asked], 8)}


def _looks(
    vlm: Vlm, dataset: Dataset, asked: Sequence[Conversation], manifest: Mapping[str, TaggedPicture],
    replies: Mapping[str, str], top: int,
) -> Iterator[Look]:  # fmt: skip
    renderer = Renderer(vlm)
    seen, blank = Pictures(dataset, vlm.family), Pictures(dataset, vlm.family, grey=True)
    for c in asked:
        tagged = manifest[c.images[0].path]
        centres = PatchGrid(vlm.family, tagged.width, tagged.height).centres()
        inside = {m.number: patches_of(m, centres, tagged) for m in tagged.marks}
        look = Look(tagged, dataset.picture_path(c.images[0]), centres, inside, {})
        if replies[c.id].strip():
            row = renderer.row(replace(c, turns=(*c.prompt, assistant(replies[c.id]))))
            places = {
                n: k for n, k in number_tokens(vlm.tokenizer, row.input_ids, row.loss_mask).items() if n in inside
            }
            if places:
                look.top = _attended(vlm, row.input_ids, seen.of(c, row.slots), places, top)
                look.blank = _attended(vlm, row.input_ids, blank.of(c, row.slots), places, top)
        look.unlisted = len(inside) - len(look.top)
        yield look


def patches_of(mark: Mark, centres: Array, tagged: TaggedPicture) -> Array:
    """Which patches lie in a mark's region: those whose middle does, and the one nearest to the mark's own centre: bool (patches,)."""
    region = coco.decode({"size": mark.rle["size"], "counts": mark.rle["counts"].encode()}).astype(bool)
    there = ~np.isnan(centres[:, 0])
    x = np.clip(np.nan_to_num(centres[:, 0]).astype(int), 0, tagged.width - 1)
    y = np.clip(np.nan_to_num(centres[:, 1]).astype(int), 0, tagged.height - 1)
    inside: Array = region[y, x] & there
    inside[np.nanargmin(((centres - np.array(mark.center)) ** 2).sum(1))] = True
    return inside


def number_tokens(tokenizer: Any, ids: Sequence[int], learnt: Sequence[bool]) -> dict[int, int]:
    """Number -> position of the last token of its figures, for each line of the learnt text that begins with a number; first lines hold."""
    places = [k for k, yes in enumerate(learnt) if yes]
    if not places:
        return {}
    found: dict[int, tuple[int, int]] = {}  # line -> (number, position)
    for n, place in enumerate(places, 1):
        *before, line = tokenizer.decode([ids[k] for k in places[:n]], skip_special_tokens=True).split("\n")
        if match := _LINE.fullmatch(line):
            found[len(before)] = (int(match[1]), place)
    numbers: dict[int, int] = {}
    for number, place in found.values():
        numbers.setdefault(number, place)
    return numbers


def _attended(
    vlm: Vlm, ids: Sequence[int], pixels: Sequence[Any], places: Mapping[int, int], top: int
) -> dict[int, Array]:
    """Number -> (layers, k): the patches that its token attends to most, heads averaged."""
    weights = text_attention(vlm, ids, pixels, list(places.values()))  # (numbers, layers, patches)
    best = np.argsort(-weights, axis=-1, kind="stable")[..., :top]
    return dict(zip(places, best, strict=True))


def _summary(found: Sequence[Look], top: int, seed: int) -> dict[str, Any]:
    """Shares per layer with intervals by picture, and the chance of patches drawn at random."""
    looks = [f for f in found if f.top]
    if not looks:
        return {"layers": [], "chance": None}
    n = np.array([len(f.top) for f in looks], float)
    hits = {
        kind: np.stack([_hits(f, kind, seed) for f in looks]) for kind in ("share", *CONTROLS)
    }  # (pictures, layers)
    chance = sum(float(f.inside[k].mean()) for f in looks for k in f.top) / n.sum()
    layers = []
    for layer in range(hits["share"].shape[1]):
        row: dict[str, Any] = {"layer": layer}
        for kind, counted in hits.items():
            sums = np.stack([counted[:, layer], n], 1)
            low, high = stats.bootstrap(sums, lambda s: s[..., 0] / s[..., 1], seed=seed)
            row[kind] = {"value": float(counted[:, layer].sum() / n.sum()), "low": low, "high": high}
        layers.append(row)
    return {"layers": layers, "chance": chance, "method": f"mean over numbers; bootstrap over {len(looks)} pictures"}


def _hits(look: Look, kind: str, seed: int) -> Array:
    """The sum over numbers of the share of top patches that lie where they should: (layers,)."""
    regions: Mapping[int, Array] = look.inside
    if kind == "shuffled":
        numbers = sorted(regions)
        shift = int(rng("probe", seed, look.tagged.image).integers(1, len(numbers))) if len(numbers) > 1 else 0
        regions = {n: look.inside[numbers[(k + shift) % len(numbers)]] for k, n in enumerate(numbers)}
        if not shift:  # a single number has no other's region
            regions = {n: ~r for n, r in regions.items()}
    given = look.blank if kind == "blank" else look.top
    total: Array = sum(
        (regions[n][best].mean(-1) for n, best in given.items()), np.zeros(len(next(iter(given.values()))))
    )
    return total


COLOURS = (
    (230, 57, 70),
    (29, 120, 210),
    (20, 150, 90),
    (240, 150, 20),
    (130, 70, 200),
    (0, 160, 175),
    (200, 60, 150),
    (110, 110, 110),
)


def overlay(look: Look, layer: int) -> Image.Image:
    """The tagged picture, paler; each number's region in a colour, and the patches that its token looked at framed in that colour."""
    from PIL import ImageDraw

    with Image.open(look.path) as opened:
        scale = max(1, round(SHOWN_PX / max(opened.size)))
        base = Image.blend(opened.convert("RGB"), Image.new("RGB", opened.size, (255, 255, 255)), 0.35)
    side = round(len(look.centres) ** 0.5)
    half = scale * float(np.nanmax(np.abs(np.diff(look.centres.reshape(side, side, 2), axis=1)[..., 0]))) / 2
    tint = np.asarray(base).astype(float)
    chosen = {m.number: COLOURS[k % len(COLOURS)] for k, m in enumerate(look.tagged.marks)}
    for mark in look.tagged.marks:
        region = coco.decode({"size": mark.rle["size"], "counts": mark.rle["counts"].encode()}).astype(bool)
        tint[region] = 0.6 * tint[region] + 0.4 * np.array(chosen[mark.number])
    picture = Image.fromarray(tint.round().astype(np.uint8)).resize(
        (base.width * scale, base.height * scale), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(picture)
    frames: Counter[int] = Counter()  # on a patch so far: each further one is drawn inside the last
    for number, best in sorted(look.top.items()):
        for patch in best[layer].tolist():
            x, y = look.centres[patch] * scale
            reach = half - FRAME * frames[patch]
            if not np.isnan(x) and reach > FRAME:
                draw.rectangle([x - reach, y - reach, x + reach, y + reach], outline=chosen[number], width=FRAME)
                frames[patch] += 1
    return picture
