"""Keep evaluation pictures out of training data: by COCO id, and by perceptual hash.

train2017 holds most of val2014, from which POPE and others are drawn, so folder names tell nothing: the id does. The hash
finds the copies that carry no id: resized, re-encoded, brightened, slightly cropped, with tags drawn on them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visift.core.errors import DataError
from visift.core.progress import progress
from visift.core.types import Conversation, Picture
from visift.sources.pictures import SUFFIXES, open_rgb

# Measured on 975 COCO photographs (docs/formats.md): copies resized or re-encoded differ in at most 10 of 255 bits, with
# eight tags drawn on them in at most 74, cropped by 2 % a side in at most 58; different photographs in at least 90.
NEAR = 64
SIDE = 64  # pixels a side before the transform
LOW = 16  # lowest frequencies a side that make the hash
PLAIN = 2  # of 255: standard deviation of brightness below which a picture is of one colour; photographs have 9 or more
REMEMBERED = 1 << 16  # pictures whose verdict is kept: rows about one picture stand near each other

_COCO_NAME = r"(?<!\d)(\d{12})\.(?:jpe?g|png)"
COCO_NAME = re.compile(_COCO_NAME, re.IGNORECASE)
COCO_ID = re.compile(_COCO_NAME + r'|"image_id"\s*:\s*"?(\d{1,12})(?!\d)|"coco:(\d{1,12})"', re.IGNORECASE)
COCO_NUMBER = re.compile(r"(?<!\d)0{6}\d{6}(?!\d)")
CHUNK = 1 << 22


def coco_id(path: str) -> int | None:
    """The COCO image id that a picture's file name holds (`COCO_val2014_000000000872.jpg`, `000000000872.jpg`)."""
    found = COCO_NAME.search(path.rpartition("/")[2])
    return int(found[1]) if found else None


def coco_scenes(conversation: Conversation) -> list[int]:
    """COCO ids of the scenes: empty where neither a picture's path (`images/000000000872/1.jpg`) nor the row's id carries
    the scene's, as other COCO-format files number their pictures themselves.

    Of a row of several scenes, what lends a thing is not shown, and labelled pictures are named after a neighbour: there
    one COCO name vouches for all scenes.
    """
    texts = (conversation.id, *(p.path for p in conversation.images))
    named = {int(n) for text in texts for n in COCO_NUMBER.findall(text)}
    scenes = [s.removeprefix("coco:") for s in conversation.provenance.scenes if s.startswith("coco:")]
    numbers = [int(s) for s in scenes if s.isdecimal()]
    return numbers if named.intersection(numbers) or (named and len(numbers) > 1) else []


def picture_hash(path: Path) -> np.ndarray:
    """255 bits of the lowest frequencies as uint64 (4,): equal for equal pictures, near for near ones.

    A picture of nearly one colour, or that varies along one side only, has no looks: all bits are 0.
    Raises DataError when the picture cannot be decoded.
    """
    from PIL import Image
    from scipy.fft import dctn

    image = open_rgb(path, rough=2 * SIDE)  # JPEG decodes at an eighth of the work
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    low = dctn(grey, norm="ortho")[:LOW, :LOW].ravel()
    low[0] = 0  # the mean brightness says nothing
    bits = low > np.median(low[1:])
    bits[0] = False
    if np.linalg.norm(low) < PLAIN * SIDE or bits.sum() <= NEAR:  # a photograph sets half of them
        bits[:] = False
    return np.packbits(bits).view(np.uint64)


@dataclass(slots=True)
class Held:
    """The pictures of the evaluation sets: COCO ids and perceptual hashes."""

    ids: set[int] = field(default_factory=set)
    hashes: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.uint64))
    names: list[str] = field(default_factory=list)  # of each hash
    sets: list[dict[str, Any]] = field(default_factory=list)  # what was given: name, ids, pictures

    def near(self, hash: np.ndarray) -> tuple[str, int] | None:
        """(name of the nearest held picture, bits that differ) when it is near."""
        if not len(self.hashes) or not hash.any():
            return None
        apart = np.bitwise_count(self.hashes ^ hash).sum(1)
        k = int(apart.argmin())
        return (self.names[k], int(apart[k])) if apart[k] <= NEAR else None


def held(paths: Sequence[Path]) -> Held:
    """Read what must not be trained on. A folder: its pictures are hashed, and their names and text files searched for COCO
    ids. A file: its text is searched for them (names of pictures, `image_id`, `coco:…`).

    Raises DataError for a path with neither a picture nor an id, and for a picture that cannot be decoded.
    """
    out = Held()
    hashes: list[np.ndarray] = []
    for path in paths:
        if not path.exists():
            raise DataError("no such file or folder", where=path, remedy="check `evaluation` in the recipe")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
        ids = {i for p in pictures if (i := coco_id(p.name)) is not None}
        for p in files:
            if p.suffix.lower() in (".json", ".jsonl", ".tsv", ".csv", ".txt"):
                ids |= set(_ids_in_text(p))
        if not pictures and not ids:
            raise DataError(
                "holds neither pictures nor COCO ids",
                where=path,
                remedy="name the pictures' folder, or a file that names them",
            )
        with progress(f"hash {path.name}", len(pictures), "pictures") as tick:
            for p in pictures:
                if (hash := picture_hash(p)).any():
                    hashes.append(hash)
                    out.names.append(f"{path.name}/{p.relative_to(path).as_posix()}" if path.is_dir() else p.name)
                tick(1)
        out.ids |= ids
        out.sets.append({"name": path.name, "coco_ids": len(ids), "pictures": len(pictures)})
    if hashes:
        out.hashes = np.stack(hashes)
    return out


def _ids_in_text(path: Path) -> Iterator[int]:
    rest = ""
    with path.open(encoding="utf-8", errors="replace") as f:
        while chunk := f.read(CHUNK):
            text = rest + chunk
            for found in COCO_ID.finditer(text):
                yield int(found[1] or found[2] or found[3])
            rest = text[-64:]  # an id may be cut; finding one twice does no harm


class Decontaminator:
    """Says of one source's conversations whether they show an evaluation picture. `locate` finds a picture's file."""

    def __init__(self, held: Held, locate: Callable[[Picture], Path]) -> None:
        self.held, self.locate = held, locate
        self._known: OrderedDict[str, str] = OrderedDict()

    def leak(self, conversation: Conversation) -> str:
        """Why it must go, or "". Raises DataError for a picture that is missing or cannot be decoded."""
        for number in coco_scenes(conversation):
            if number in self.held.ids:
                return f"COCO picture {number} is in an evaluation set"
        for picture in conversation.images:
            if why := self.leaked_picture(picture):
                return why
        return ""

    def leaked_picture(self, picture: Picture) -> str:
        """Why the picture must go, or "". Raises DataError when it is missing or cannot be decoded."""
        if (why := self._known.get(picture.path)) is not None:
            return why
        why = self._look(self.locate(picture))
        self._known[picture.path] = why
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return why

    def _look(self, path: Path) -> str:
        if not path.is_file():
            raise DataError(f"the picture is missing: {path}", remedy="check image_root")
        number = coco_id(path.name)
        if number is not None and number in self.held.ids:
            return f"COCO picture {number} is in an evaluation set"
        if len(self.held.hashes) and (found := self.held.near(picture_hash(path))):
            return f"looks like the evaluation picture {found[0]} ({found[1]} of 255 bits differ)"
        return ""
