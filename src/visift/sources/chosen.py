"""Some pictures of a source, by file name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from visift.core.errors import DataError
from visift.core.types import Scene
from visift.sources.source import Wrapping, finish, outlines


@dataclass
class Chosen(Wrapping):
    """The scenes of `source` whose picture has one of `names`, in the source's order. DataError for a name it lacks."""

    names: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        return {**self.source.describe(), "chosen": sorted(self.names)}

    def __len__(self) -> int:
        return len(set(self.names))

    def __iter__(self) -> Iterator[Scene]:
        return map(self.finish, self.outlines())

    def finish(self, scene: Scene) -> Scene:
        return finish(self.source, scene)

    def outlines(self) -> Iterator[Scene]:
        missing = set(self.names)
        for scene in outlines(self.source):
            name = PurePosixPath(scene.path).name
            if name in self.names:
                missing.discard(name)
                yield scene
        if missing:
            raise DataError(f"the source has no picture {sorted(missing)[0]!r}", remedy="check names and --images")
