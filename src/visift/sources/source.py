"""What every source offers: scenes in a fixed order, and the pixels of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from visift.core.types import Scene


class Source(Protocol):
    """Picklable: workers open pictures themselves."""

    @property
    def roots(self) -> dict[str, str]:
        """Image root name -> absolute folder; empty when the source draws its pictures."""
        ...

    def describe(self) -> dict[str, Any]:
        """What this source is, for the dataset card and the settings hash: no absolute path, only what decides content."""
        ...

    def __len__(self) -> int:
        """How many scenes there are."""
        ...

    def __iter__(self) -> Iterator[Scene]: ...

    def open(self, scene: Scene) -> Image.Image:
        """The picture as RGB, upright. Raises DataError when it cannot be read."""
        ...


@runtime_checkable
class SlowSource(Protocol):
    """A source whose regions cost time offers this besides: workers find them. Iterating it gives whole scenes all the same."""

    def outlines(self) -> Iterator[Scene]:
        """The scenes without what costs time."""
        ...

    def finish(self, scene: Scene) -> Scene:
        """One of `outlines`, made whole. Raises DataError when its picture cannot be read."""
        ...


@dataclass
class Wrapping:
    """What a source made of another keeps of it; `__iter__` and `describe` are its own."""

    source: Source

    @property
    def roots(self) -> dict[str, str]:
        return self.source.roots

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(getattr(self.source, "categories", ()))

    @property
    def named(self) -> bool:
        """Whether regions have categories."""
        return bool(getattr(self.source, "named", True))

    def __len__(self) -> int:
        return len(self.source)

    def open(self, scene: Scene) -> Image.Image:
        return self.source.open(scene)


def outlines(source: Source) -> Iterator[Scene]:
    """What the parent hands to workers; `finish` makes it whole there."""
    return source.outlines() if isinstance(source, SlowSource) else iter(source)


def finish(source: Source, scene: Scene) -> Scene:
    return source.finish(scene) if isinstance(source, SlowSource) else scene
