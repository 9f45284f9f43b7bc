"""COCO files -> scenes: instances, captions, panoptic (JSON and PNG), LVIS.

The files are indexed in one streaming pass (byte offsets only) and read again picture by picture, so a training set of
118k pictures needs little more memory than its index. What is wrong with the file as a whole is a DataError; a single
annotation that is wrong becomes a fault of its scene, with id and reason.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from PIL import Image

from visift.core.coco_words import named, phrases
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_file, under
from visift.core.types import Region, Scene
from visift.sources.json_stream import elements
from visift.sources.panoptic import panoptic_regions
from visift.sources.pictures import open_rgb

LICENCE = re.compile(r"creativecommons\.org/licenses/([a-z-]+)/([0-9.]+)")
Id = int | str


@dataclass(slots=True)
class Rows:
    """Where the annotations of each picture lie in one file. Filled in file order, then sealed."""

    path: Path
    owner: array[int] = field(default_factory=lambda: array("q"))  # index of the picture, per annotation
    offset: array[int] = field(default_factory=lambda: array("q"))  # bytes
    length: array[int] = field(default_factory=lambda: array("q"))  # bytes
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    start: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def seal(self, pictures: int) -> None:
        owner = np.asarray(self.owner)
        self.order = np.argsort(owner, kind="stable")
        self.start = np.searchsorted(owner[self.order], np.arange(pictures + 1))

    def of(self, file: BinaryIO, picture: int) -> Iterator[dict[str, Any]]:
        """The annotations of one picture, parsed, in file order."""
        for row in self.order[self.start[picture] : self.start[picture + 1]]:
            file.seek(self.offset[row])
            try:
                yield json.loads(file.read(self.length[row]).decode("utf-8"))
            except UnicodeDecodeError as e:
                raise DataError("is not UTF-8 text", where=f"{self.path}: byte {self.offset[row]}") from e


@dataclass(slots=True)
class Index:
    """What one pass over the files yields."""

    pictures: list[tuple[Id, str, int, int, str]]  # id, path under the image root, width, height, licence
    unsure: dict[Id, tuple[tuple[str, ...], tuple[str, ...]]]  # LVIS: names absent, names not counted to the end
    categories: dict[int, tuple[str, bool]]  # id -> name, is a thing (not stuff)
    instances: Rows | None
    captions: Rows | None
    panoptic: Rows | None
    lvis: Rows | None
    lvis_categories: dict[int, tuple[str, bool]]  # their ids are not COCO's; without those that COCO itself names
    closed: bool  # every category was looked for in every picture, so an absent one is absent


class CocoSource:
    """Scenes of a COCO-format folder. Needs `images` and at least one of the three files.

    With instances and panoptic both given, panoptic adds only its stuff; LVIS beside instances adds only what COCO's 80
    categories do not name. Masks of panoptic lie in a folder of PNGs beside the JSON, named as it is. Raises UsageError for no file, DataError for a missing folder; file contents are checked when
    scenes are first asked for.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path | None = None,
        captions: Path | None = None,
        panoptic: Path | None = None,
        root: str = "images",
        lvis: Path | None = None,
    ) -> None:
        self.images, self.root = Path(images), root
        self.files: dict[str, Path] = {
            kind: Path(path)
            for kind, path in (
                ("instances", annotations),
                ("captions", captions),
                ("panoptic", panoptic),
                ("lvis", lvis),
            )
            if path is not None
        }
        if not self.files:
            raise UsageError("COCO needs an annotation file", remedy="pass --annotations, --captions or --panoptic")
        if not self.images.is_dir():
            raise DataError("is no folder of pictures", where=self.images, remedy="check --images")
        self._index: Index | None = None

    def __getstate__(self) -> dict[str, Any]:  # workers only open pictures: the index stays here
        return {**self.__dict__, "_index": None}

    @property
    def index(self) -> Index:
        if self._index is None:
            self._index = read_index(self.images, self.files)
        return self._index

    @property
    def roots(self) -> dict[str, str]:
        return {self.root: str(self.images.resolve())}

    @property
    def categories(self) -> tuple[str, ...]:
        """Names that are surely absent where no annotation has them; empty for LVIS, which does not look everywhere."""
        return tuple(sorted({name for name, _ in self.index.categories.values()})) if self.index.closed else ()

    def describe(self) -> dict[str, Any]:
        hashes = {f"{kind}_sha256": sha256_file(path) for kind, path in self.files.items() if path.is_file()}
        return {"source": "coco", **hashes}

    def __len__(self) -> int:
        return len(self.index.pictures)

    def __iter__(self) -> Iterator[Scene]:
        index = self.index
        handles: dict[str, BinaryIO] = {kind: path.open("rb") for kind, path in self.files.items()}
        try:
            for number in range(len(index.pictures)):
                yield self._scene(number, handles)
        finally:
            for handle in handles.values():
                handle.close()

    def _scene(self, number: int, handles: dict[str, BinaryIO]) -> Scene:
        index = self.index
        identity, path, width, height, licence = index.pictures[number]
        regions: list[Region] = []
        faults: list[tuple[str, str]] = []
        absent, uncounted = index.unsure.get(identity, ((), ()))
        if index.instances:
            for row in index.instances.of(handles["instances"], number):
                try:
                    regions.append(region_from(row, index.categories))
                except DataError as e:
                    faults.append((e.where, e.what))
                    uncounted += _names_of(row, index.categories)
        for row in index.lvis.of(handles["lvis"], number) if index.lvis else ():
            if row.get("category_id") in index.lvis_categories:
                try:
                    regions.append(
                        replace(region_from(row, index.lvis_categories), id=f"lvis-ann:{row.get('id', '?')}")
                    )
                except DataError as e:
                    faults.append((e.where, e.what))
                    uncounted += _names_of(row, index.lvis_categories)
        if index.panoptic:
            for row in index.panoptic.of(handles["panoptic"], number):
                try:
                    folder = index.panoptic.path.with_suffix("")
                    only_stuff = index.instances is not None
                    regions += panoptic_regions(row, folder, (width, height), index.categories, only_stuff)
                except DataError as e:
                    faults.append((f"coco-panoptic:{identity}", e.what))
        captions: list[str] = []
        for row in index.captions.of(handles["captions"], number) if index.captions else ():
            text = row.get("caption")
            if isinstance(text, str) and text.strip():
                captions.append(" ".join(text.split()))
            else:
                faults.append((f"coco-caption:{row.get('id', '?')}", "field 'caption' is no text"))
        return Scene(
            f"coco:{identity}", self.root, path, width, height, licence, _told_apart(regions), tuple(captions), tuple(faults),
            absent, tuple(dict.fromkeys(uncounted)),
        )  # fmt: skip

    def open(self, scene: Scene) -> Image.Image:
        return open_rgb(under(self.images, scene.path), (scene.width, scene.height))


def _names_of(row: dict[str, Any], categories: dict[int, tuple[str, bool]]) -> tuple[str, ...]:
    """What an annotation that was left out may be of: its category, or any where it names none."""
    known = categories.get(row["category_id"]) if isinstance(row.get("category_id"), int) else None
    return (known[0],) if known else tuple(name for name, _ in categories.values())


def _told_apart(regions: list[Region]) -> tuple[Region, ...]:
    """Files put together from others repeat annotation ids, some have none: within a scene each region is one."""
    seen: Counter[str] = Counter()
    found = []
    for region in regions:
        seen[region.id] += 1
        again = seen[region.id]
        found.append(region if again == 1 else replace(region, id=f"{region.id}~{again}"))
    return tuple(found)


def region_from(row: dict[str, Any], categories: dict[int, tuple[str, bool]]) -> Region:
    """One instance annotation. Raises DataError whose `where` is the annotation's id."""
    name = f"coco-ann:{row.get('id', '?')}"
    category = row.get("category_id")
    if not isinstance(category, int) or category not in categories:
        raise DataError(f"category {category!r} is not among the categories", where=name)
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(v) for v in box):
        raise DataError("field 'bbox' is not four finite numbers", where=name)
    if box[2] < 0 or box[3] < 0:
        raise DataError("field 'bbox' has a negative width or height", where=name)
    segmentation = row.get("segmentation")
    if segmentation is not None and not isinstance(segmentation, list | dict):
        raise DataError("field 'segmentation' is neither polygons nor RLE", where=name)
    if segmentation == []:  # as exporters of boxes write it
        segmentation = None
    # COCO has no attributes; what other tools keep there ("occluded", a rotation) is no part of a name, but size and colour are
    told = row["attributes"] if isinstance(row.get("attributes"), dict) else {}
    attributes = {k: told[k] for k in ("size", "colour") if isinstance(told.get(k), str)}
    x, y, w, h = (float(v) for v in box)
    return Region(name, categories[category][0], (x, y, w, h), segmentation, attributes, bool(row.get("iscrowd", 0)))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e7 and math.isfinite(value)


def read_index(images: Path, files: dict[str, Path]) -> Index:
    """One pass over each file. Raises DataError naming file and entry for what cannot be attached to a picture."""
    pictures: dict[Id, int] = {}
    listed: list[tuple[Id, str, int, int, str]] = []
    categories: dict[int, tuple[str, bool]] = {}
    lvis_categories: dict[int, tuple[str, bool]] = {}
    unsure: dict[Id, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    rows: dict[str, Rows] = {}
    closed = True
    for kind, path in files.items():
        found = _read_file(path)
        if kind == "lvis" and not found.lvis:
            raise DataError("is no LVIS file: its categories have no synset", where=path, remedy="check --lvis")
        closed = closed and (kind == "lvis" or not found.lvis)
        for identity, name, width, height, licence in found.pictures:
            if identity not in pictures:
                pictures[identity] = len(listed)
                listed.append((identity, name, width, height, found.licences.get(licence, "")))
        if kind == "lvis" and "instances" in files:  # what COCO looked for is told by COCO
            coco = phrases()
            found.categories = {k: v for k, v in found.categories.items() if not named(v[0], coco)}
        unsure |= _unsure(found)
        (lvis_categories if kind == "lvis" else categories).update(found.categories)
        if kind != "captions" and not found.categories:
            raise DataError(
                f"has no categories, so it is no COCO {kind} file", where=path, remedy="check which file is which"
            )
        owner = array("q")
        for number, identity in enumerate(found.owners):
            if identity not in pictures:
                where = f"{path}: annotation number {number + 1}"
                raise DataError(f"belongs to picture {identity!r}, which is not listed", where=where)
            owner.append(pictures[identity])
        rows[kind] = Rows(path, owner, found.offset, found.length)
    for row in rows.values():
        row.seal(len(listed))
    _unique_paths(listed, next(iter(files.values())))
    if (not closed or "lvis" in rows) and not (images / listed[-1][1]).is_file():
        listed = [(i, p.rpartition("/")[2], w, h, lic) for i, p, w, h, lic in listed]  # LVIS names the split's folder
    held = (rows.get(kind) for kind in ("instances", "captions", "panoptic", "lvis"))
    return Index(listed, unsure, categories, *held, lvis_categories, closed)


def _unsure(found: _File) -> dict[Id, tuple[tuple[str, ...], tuple[str, ...]]]:
    """What an LVIS file says about each picture: names that are surely absent, and names not counted to the end."""

    def names(ids: list[Any]) -> tuple[str, ...]:
        return tuple(sorted(found.categories[k][0] for k in ids if k in found.categories))

    return {picture: (names(absent), names(open_)) for picture, (absent, open_) in found.unsure.items()}


def _unique_paths(listed: list[tuple[Id, str, int, int, str]], path: Path) -> None:
    seen: dict[str, Id] = {}
    for identity, name, *_ in listed:
        if seen.setdefault(name, identity) != identity:
            raise DataError(f"pictures {seen[name]} and {identity} are the same file {name!r}", where=path)


@dataclass(slots=True)
class _File:
    """One file's pass: what is in it, before pictures are known."""

    pictures: list[tuple[Id, str, int, int, Any]] = field(default_factory=list)
    categories: dict[int, tuple[str, bool]] = field(default_factory=dict)
    licences: dict[Any, str] = field(default_factory=dict)
    owners: list[Id] = field(default_factory=list)
    offset: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))
    lvis: bool = False
    unsure: dict[Id, tuple[list[Any], list[Any]]] = field(default_factory=dict)  # LVIS: ids absent, ids not counted


def _read_file(path: Path) -> _File:
    found = _File()
    for key, value, offset, length in elements(path, frozenset({"annotations"})):
        if key not in ("images", "annotations", "categories", "licenses"):
            continue
        if not isinstance(value, dict):
            raise DataError(f"an entry of {key!r} is no object", where=f"{path}: byte {offset}")
        if key == "annotations":
            identity = value.get("image_id")
            if not _is_id(identity):
                raise DataError(
                    "field 'image_id' is missing or no id", where=f"{path}: annotation {value.get('id', '?')}"
                )
            found.owners.append(identity)
            found.offset.append(offset)
            found.length.append(length)
        elif key == "images":
            found.pictures.append(_picture(value, path))
            held = [value.get(name) for name in ("neg_category_ids", "not_exhaustive_category_ids")]
            if any(held):
                absent, open_ = ([k for k in ids if _is_id(k)] if isinstance(ids, list) else [] for ids in held)
                found.unsure[found.pictures[-1][0]] = (absent, open_)
        elif key == "categories":
            identity, entry, lvis = _category(value, path)
            found.categories[identity] = entry
            found.lvis |= lvis
        elif isinstance(value.get("id"), int | str):
            found.licences[value["id"]] = licence_name(value)
    if not found.pictures:
        raise DataError("lists no 'images', so it is no COCO file", where=path, remedy="is it the right JSON?")
    seen: set[Id] = set()
    for identity, *_ in found.pictures:
        if identity in seen:
            raise DataError(f"picture {identity!r} is listed twice", where=path)
        seen.add(identity)
    return found


def _is_id(value: Any) -> TypeGuard[Id]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _picture(row: dict[str, Any], path: Path) -> tuple[Id, str, int, int, Any]:
    identity = row.get("id")
    where = f"{path}: picture {identity!r}"
    if not _is_id(identity):
        raise DataError("field 'id' is missing or no id", where=where)
    name = row.get("file_name")
    if name is None and isinstance(row.get("coco_url"), str):
        name = "/".join(row["coco_url"].split("/")[-2:])
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError("field 'file_name' is missing or no text", where=where)
    size = row.get("width"), row.get("height")
    if not all(isinstance(v, int) and not isinstance(v, bool) and 0 < v < 1 << 17 for v in size):
        raise DataError("fields 'width' and 'height' are not two sizes in pixels", where=where)
    licence = row.get("license")
    return identity, name, size[0], size[1], licence if isinstance(licence, int | str) else None  # type: ignore[return-value]


def _category(row: dict[str, Any], path: Path) -> tuple[int, tuple[str, bool], bool]:
    identity, name = row.get("id"), row.get("name")
    if not isinstance(identity, int) or isinstance(identity, bool) or not isinstance(name, str) or not name.strip():
        raise DataError("a category has no id or no name", where=f"{path}: category {identity!r}")
    lvis = "synset" in row
    plain = " ".join(name.replace("_", " ").split()) if lvis else " ".join(name.split())
    return identity, (plain, bool(row.get("isthing", 1))), lvis


def licence_name(row: dict[str, Any]) -> str:
    """`CC BY-NC 2.0` from the licence's URL where it is a Creative Commons one, else its name."""
    found = LICENCE.search(str(row.get("url", "")))
    return f"CC {found[1].upper()} {found[2]}" if found else str(row.get("name", ""))
