"""A build that takes a while and can be killed: `python counting_build.py OUT ITEMS WORKERS`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from visift.core import dataset
from visift.core.dataset import Made, Rejection, build
from visift.core.executor import map_ordered  # noqa: F401  (what spawn imports again)
from visift.core.files import sha256_bytes, write_atomic
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, Provenance, TaggedPicture, assistant, user

PART = 25  # items a part in these tests, so that a few hundred items make many parts


def make(number: int, *, out: Path, delay: float) -> Made:
    """Every seventh item is rejected; the others get a picture, a manifest line and a conversation."""
    time.sleep(delay)
    if number % 7 == 3:
        return Made(rejected=[Rejection(f"item-{number}", "make", "every seventh")])
    data = rng(0, "picture", number).bytes(200)
    write_atomic(out / f"images/{number:05d}.bin", data)
    picture = Picture(f"images/{number:05d}.bin", sha256_bytes(data), 10, 10)
    tagged = TaggedPicture(picture.path, picture.sha256, f"item-{number}", "x", 10, 10, "default", ())
    provenance = Provenance("listing", (f"item-{number}",), ("CC BY 2.0",), 0, "listing/01", "rules")
    return Made(
        [Conversation(f"c-{number}", (picture,), (user(0, "List."), assistant(f"1. {number}")), provenance)], [tagged]
    )


def run(out: Path, items: int, workers: int = 1, delay: float = 0.0, **settings: Any) -> dict[str, Any]:
    with short_parts():
        return build(
            out, kind="listing", items=range(items), make=partial(make, out=out, delay=delay),
            settings={"seed": 0, "pair": (1, 2), **settings}, roots={"coco": "/pictures"}, total=items, workers=workers,
        )  # fmt: skip


@contextmanager
def short_parts() -> Iterator[None]:
    """Parts of 25 items; put back afterwards, since other tests in this process build datasets too."""
    before, dataset.PART = dataset.PART, PART
    try:
        yield
    finally:
        dataset.PART = before


def content(out: Path) -> dict[str, bytes]:
    """Every file below `out`, hidden ones too."""
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), delay=0.002)
