"""Tagged pictures and their manifest, nothing else."""

from __future__ import annotations

from visift.core.dataset import Made
from visift.core.types import Scene
from visift.synth.frame import TAG_OPTIONS, Kind, Task, draw_tagged


def make(task: Task, scene: Scene) -> Made:
    tagged, _, rejected = draw_tagged(task, scene)
    return Made(tagged=[tagged], rejected=rejected)


KIND = Kind(make, TAG_OPTIONS)
