"""A source whose pictures have no annotations, with the regions that a segmenter finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from visift.core.errors import DataError
from visift.core.types import Region, Scene
from visift.segment.mask_cache import MaskCache
from visift.segment.segmenter import Segmenter
from visift.sources.source import Wrapping


@dataclass
class Segmented(Wrapping):
    """The scenes of `source` with a segmenter's masks as regions, kept in the folder `cache`."""

    segmenter: Segmenter
    cache: Path
    _masks: MaskCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._masks = MaskCache(self.cache, self.segmenter)

    @property
    def named(self) -> bool:
        return self.segmenter.named

    def describe(self) -> dict[str, Any]:
        return {**self.source.describe(), **self.segmenter.describe()}

    def __iter__(self) -> Iterator[Scene]:
        for scene in self.outlines():
            try:
                yield self.finish(scene)
            except DataError as e:
                yield replace(scene, faults=(*scene.faults, (scene.id, e.what)))

    def outlines(self) -> Iterator[Scene]:
        return iter(self.source)

    def finish(self, scene: Scene) -> Scene:
        found = self._masks.masks(self.open(scene))
        regions = tuple(
            Region(f"{scene.id}#{k}", one.category, _box(one.rle), one.rle) for k, one in enumerate(found, 1)
        )
        return replace(scene, regions=regions)


def _box(rle: dict[str, Any]) -> tuple[float, float, float, float]:
    x, y, w, h = (float(v) for v in coco_mask.toBbox({**rle, "counts": rle["counts"].encode()}))
    return x, y, w, h
