"""What a recipe's names stand for. Checked when it is read, before anything is made: a typo must not cost a training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from visift.core.errors import UsageError
from visift.core.files import HUB_ID
from visift.evals.tasks import TASKS
from visift.sources.tabletop import OBJECTS
from visift.synth.frame import KINDS, load_kind
from visift.train.settings import fitting, settings_from

if TYPE_CHECKING:
    from visift.recipe.schema import BaseRecipe, Control, Data, Questions, Recipe

NAME = re.compile(r"\w[\w.-]*")


def check_recipe(recipe: Recipe, where: object) -> None:
    """Raises UsageError naming the file, the key and what is known there."""
    models = ("base", *recipe.arms)
    _check_names(recipe, where)
    for name, data in recipe.data.items():
        _check_data(f"data.{name}", data, where)
    _check_arms(recipe, where)
    _check_questions(recipe.questions, models, where)
    for name, control in recipe.controls.items():
        _check_control(name, control, recipe, where)
    scored = {model: _scored(recipe, model) for model in models}
    for a, b in recipe.compare:
        _known("compare", a, models, where)
        _known("compare", b, models, where)
        if not scored[a] & scored[b]:
            raise UsageError(f"compare: {a} and {b} are asked nothing in common", where=where,
                             remedy="see `models` of the questions")  # fmt: skip
    for claim in recipe.claims:
        key = f"claims.{claim.name}"
        than_model = claim.than_model or claim.model
        _known(f"{key}.model", claim.model, models, where)
        _known(f"{key}.than_model", than_model, models, where)
        _known(f"{key}.task", claim.task, scored[claim.model], where, f"of what {claim.model} is asked")
        than_task = claim.than_task or claim.task
        _known(f"{key}.than_task", than_task, scored[than_model], where, f"of what {than_model} is asked")


def check_base(recipe: BaseRecipe, where: object) -> None:
    """As `check_recipe`. Imports torch, which such a run needs for hours anyway."""
    from visift.models.builtin.settings import PretrainSettings

    fitting(PretrainSettings, recipe.pretrain, f"{where}: pretrain")
    _check_names(recipe, where)
    _check_questions(recipe.questions, ("base",), where)


def _check_names(recipe: Recipe | BaseRecipe, where: object) -> None:
    """Names become files and folders of the run."""
    for key in ("data", "arms", "questions", "controls"):
        for name in getattr(recipe, key, ()):
            if not NAME.fullmatch(name):
                raise UsageError(f"{key}: {name!r} cannot name a folder", where=where,
                                 remedy="letters, digits, '_', '-' and '.', the first a letter or digit")  # fmt: skip


def _known(key: str, name: object, names: Iterable[object], where: object, of: str = "") -> None:
    if name not in (known := list(names)):
        listed = ", ".join(map(str, sorted(known, key=str))) or "nothing"
        raise UsageError(f"{key}: {name!r} is unknown", where=where, remedy=f"known{f' {of}' if of else ''}: {listed}")


def _check_data(key: str, data: Data, where: object) -> None:
    _known(f"{key}.kind", data.kind, KINDS, where)
    options = load_kind(data.kind).options
    for option in data.options:
        _known(f"{key}.options", option, options, where)
    _known(f"{key}.level", data.level, OBJECTS, where)
    for field in ("images", "annotations", "captions"):
        path: Path | None = getattr(data, field)
        if path and not path.exists():
            raise UsageError(f"{key}.{field}: there is no {path}", where=where, remedy="check the path")
    if data.attention_of:
        _check_model(f"{key}.attention_of", data.attention_of, (), where)


def _check_model(key: str, name: str, arms: Iterable[str], where: object) -> None:
    """Whether a hub id can be reached is seen when it is loaded."""
    if name not in ("builtin", *arms) and not Path(name).exists() and not HUB_ID.fullmatch(name):
        known = ", ".join(("builtin", *arms))
        raise UsageError(f"{key}: {name!r} is unknown", where=where, remedy=f"known: {known}, a folder, a hub id")


def _check_arms(recipe: Recipe, where: object) -> None:
    _check_model("base", recipe.base, (), where)
    settings_from(recipe.train, f"{where}: train")
    for name, arm in recipe.arms.items():
        key = f"arms.{name}"
        if name in ("base", "blind"):
            raise UsageError(f"{key}: {name!r} is taken", where=where, remedy="name the arm otherwise")
        for data in arm.data:
            _known(f"{key}.data", data, recipe.data, where)
        settings_from({**recipe.train, **arm.train}, f"{where}: {key}.train")
        _check_model(f"{key}.model", arm.model or recipe.base, ("base", *recipe.arms), where)
        chain, at = [name], arm.model or recipe.base
        while at in recipe.arms:
            if at in chain:
                raise UsageError(f"{key}.model: {' starts from '.join([*chain, at])}", where=where,
                                 remedy="one of them must start from a model that is there")  # fmt: skip
            chain.append(at)
            at = recipe.arms[at].model or recipe.base


def _check_questions(questions: Mapping[str, Questions], models: Iterable[str], where: object) -> None:
    for name, asked in questions.items():
        key = f"questions.{name}"
        _check_data(key, asked, where)
        _known(f"{key}.task", asked.task, TASKS, where)
        for model in asked.models:
            _known(f"{key}.models", model, models, where)


def _check_control(name: str, control: Control, recipe: Recipe, where: object) -> None:
    key = f"controls.{name}"
    _known(f"{key}.questions", control.questions, recipe.questions, where)
    asked = recipe.questions[control.questions]
    if control.kind != "grey" and asked.task != "tag-listing":
        raise UsageError(f"{key}.questions: {control.kind} is a control of tag-listing, {control.questions} is {asked.task}",
                         where=where, remedy="name questions of that task")  # fmt: skip
    if control.kind == "blind":
        if not control.data:
            raise UsageError(f"{key}: `data` is missing", where=where, remedy="name the lists that it is fitted on")
        _known(f"{key}.data", control.data, recipe.data, where)
        return
    if name in recipe.questions:
        raise UsageError(f"{key}: questions have that name too", where=where, remedy="name the control otherwise")
    if not control.models:
        raise UsageError(f"{key}: `models` is missing", where=where, remedy=f"some of base, {', '.join(recipe.arms)}")
    for model in control.models:
        _known(f"{key}.models", model, ("base", *recipe.arms), where)
        if control.kind == "permuted" and not asked.asks(model):
            raise UsageError(f"{key}.models: {control.questions} are not asked of {model}", where=where,
                             remedy="see `models` of the questions")  # fmt: skip


def _scored(recipe: Recipe, model: str) -> set[str]:
    asked = {name for name, questions in recipe.questions.items() if questions.asks(model)}
    return asked | {name for name, c in recipe.controls.items() if c.kind != "blind" and model in c.models}
