"""What MIX.yaml may say. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from visift.core.errors import DataError, UsageError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class MixSource(Strict):
    """One dataset of ours or one foreign file.

    weight      without `size` in the recipe: how often each row is used (0.5: a seeded half, 2: twice).
                With it: this source's share of `size`, in proportion to the other weights.
    image_root  where the pictures of a foreign text file lie; its own folder when not given
    licence     of rows that do not state one
    """

    name: Name
    path: Path
    weight: float = Field(1.0, gt=0)
    format: str | None = Field(None, alias="from")
    image_root: Path | None = None
    licence: str = ""


class MixRecipe(Strict):
    """A mixture. Paths are relative to the recipe's folder.

    size                conversations to draw; the weights then are shares
    evaluation          files and folders of the evaluation sets, whose pictures must not be trained on
    decontaminate       false keeps even those (for a control arm)
    drop_noncommercial  leave out what stands under a non-commercial licence
    max_rejected        more than this share of a source's rows being faulty stops the run
    """

    sources: list[MixSource] = Field(min_length=1)
    seed: int = 0
    size: int | None = Field(None, gt=0)
    evaluation: list[Path] = Field(default_factory=list)
    decontaminate: bool = True
    drop_noncommercial: bool = False
    max_rejected: float = Field(0.5, ge=0, le=1)

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: list[MixSource]) -> list[MixSource]:
        names = [s.name for s in sources]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"two sources are called {sorted(twice)[0]}")
        return sources


def read_recipe(path: Path) -> MixRecipe:
    """The recipe with its paths made absolute. Raises DataError for a file that is no YAML, UsageError for its content."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"cannot be read ({e})", where=path, remedy="check the path") from e
    except (yaml.YAMLError, ValueError) as e:  # ValueError: a date that is none
        raise DataError(f"is not valid YAML ({' '.join(str(e).split())})", where=path) from e
    try:
        recipe = MixRecipe.model_validate(content)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise UsageError(
            first["msg"],
            where=f"{path}: {place}" if place else path,
            remedy="see docs/formats.md for what a mixture may say",
        ) from e
    base = path.resolve().parent
    for source in recipe.sources:
        source.path = base / source.path
        source.image_root = base / source.image_root if source.image_root else None
    recipe.evaluation = [base / p for p in recipe.evaluation]
    return recipe
