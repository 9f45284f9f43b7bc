"""What a recipe may say. Unknown keys are errors; everything here decides the result and is kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from visift.core.errors import DataError, UsageError
from visift.recipe.check import check_base, check_recipe
from visift.train.settings import Stage, override


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Data(Strict):
    """Scenes and what to make of them. Either `tabletop` scenes from `start` on, or a COCO folder. `attention_of` names
    the model whose attention says what is ignored in them."""

    kind: str
    tabletop: int = Field(0, ge=0)
    split: Literal["train", "held-out"] = "train"
    level: int = 0
    start: int = Field(0, ge=0)
    images: Path | None = None
    annotations: Path | None = None
    captions: Path | None = None
    attention_of: str = ""
    limit: int | None = Field(None, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if bool(self.tabletop) == bool(self.images):
            raise ValueError("name either `tabletop: N` or `images: DIR`")
        others = {"annotations", "captions"} if self.tabletop else {"split", "level", "start"}
        if idle := sorted(others & self.model_fields_set):
            raise ValueError(
                f"`{idle[0]}` says nothing of {'tabletop scenes' if self.tabletop else 'pictures in a folder'}"
            )
        return self


class Questions(Data):
    """A held-out dataset to answer. `task` scores it; `models` limits who answers; `rounds` and `neutral` as `visift answer`."""

    task: str
    split: Literal["train", "held-out"] = "held-out"
    models: list[str] = Field(default_factory=list)
    max_new_tokens: int = Field(16, ge=1)
    rounds: int = Field(0, ge=0, le=8)  # evals/rounds.py has so many
    neutral: bool = False

    def asks(self, model: str) -> bool:
        return not self.models or model in self.models


class Arm(Strict):
    """One fine-tuning run. `model` is `builtin`, a folder, a hub id or another arm; `data` names datasets of the recipe; the report
    says what it is `about`."""

    data: list[str] = Field(min_length=1)
    model: str = ""
    stage: Stage = "sft"
    about: str = ""
    train: dict[str, Any] = Field(default_factory=dict)


class Control(Strict):
    """A score without its own training: `grey` asks `model` with grey pictures, `permuted` scores its answers against
    the truth permuted, `blind` is the best constant list fitted on the lists of dataset `data`."""

    kind: Literal["grey", "permuted", "blind"]
    questions: str
    models: list[str] = Field(default_factory=list)
    data: str = ""


class Claim(Strict):
    """`better` on `task` than another model, or than another task of the same model; the verdict comes from the interval.

    better: the difference is above 0. equal: it lies within +-margin. no worse: it is above -margin.
    `chance`: where the interval of the base's accuracy holds it the verdict is `undecided: base at floor`; unless given, it is
    what the majority answer scores, where the task knows that. Where no gain shows and the interval of what is compared with
    holds 1, it is `undecided: ... at ceiling`.
    """

    name: str
    text: str
    task: str
    model: str
    than_model: str = ""
    than_task: str = ""
    kind: Literal["better", "equal", "no worse"] = "better"
    margin: float = 0.05
    chance: float | None = None


class Recipe(Strict):
    title: str
    seed: int = 0
    base: str = "builtin"
    data: dict[str, Data]
    train: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, Arm]
    questions: dict[str, Questions]
    controls: dict[str, Control] = Field(default_factory=dict)
    claims: list[Claim] = Field(default_factory=list)
    compare: list[tuple[str, str]] = Field(default_factory=list)  # pairs of models, over every question set
    jobs: int = Field(2, ge=1)  # how many things at once, each on one thread


class BaseRecipe(Strict):
    """Pre-trains the built-in model and measures it on the questions of another recipe's kind."""

    title: str
    pretrain: dict[str, Any]
    questions: dict[str, Questions]
    jobs: int = Field(2, ge=1)


def shipped(name: str) -> Path:
    """A recipe that comes with visift, in the checkout or in the installed package."""
    for folder in (Path(__file__).parents[3] / "recipes", Path(str(files("visift"))) / "recipes"):
        if (folder / f"{name}.yaml").exists():
            return folder / f"{name}.yaml"
    raise UsageError(f"no recipe {name!r} comes with visift", remedy="name a YAML file")


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe | BaseRecipe:
    """Read and check a recipe. `overrides` are `dotted.key=value`, the value being YAML. Raises UsageError or DataError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise UsageError("no such recipe", where=path, remedy="check the path, or name one of recipes/") from e
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"cannot read the recipe ({e})", where=path) from e
    except (yaml.YAMLError, ValueError) as e:
        raise DataError(f"is not valid YAML ({' '.join(str(e).split())[:160]})", where=path) from e
    if not isinstance(values, dict):
        raise UsageError("is not a mapping", where=path, remedy="see recipes/demo.yaml for one that runs")
    for key, value in map(override, overrides):
        _set(values, key, value)
    return parse_recipe(values, path)


def parse_recipe(values: Mapping[str, Any], where: object) -> Recipe | BaseRecipe:
    kind = BaseRecipe if "pretrain" in values else Recipe
    try:
        recipe = kind.model_validate(values)
    except ValidationError as e:
        # a misspelt key is also a missing one; the misspelling says more
        first = sorted(e.errors(), key=lambda error: error["type"] != "extra_forbidden")[0]
        key = ".".join(str(k) for k in first["loc"]) or "recipe"
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{key}: {what}", where=where, remedy="see recipes/demo.yaml for one that runs") from e
    if isinstance(recipe, BaseRecipe):
        check_base(recipe, where)
    else:
        check_recipe(recipe, where)
    return recipe


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    at: Any = values
    *path, last = key.split(".")
    for step in path:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at
    if not isinstance(at, dict):
        raise UsageError(f"{key!r} leads into a value", remedy="check the recipe's structure")
    at[last] = value
