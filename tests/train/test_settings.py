from __future__ import annotations

from pathlib import Path

import pytest

from visift.core.errors import UsageError
from visift.train.settings import read_recipe


def test_recipe_and_overrides(tmp_path: Path) -> None:
    recipe = tmp_path / "sft.yaml"
    recipe.write_text("steps: 10\nlr: 2e-5\nmodule_lr: {llm: 1e-5}\n")
    settings = read_recipe(recipe, ["lr=1e-3", "module_lr.projector=2e-4", "bf16=false"])
    assert (settings.steps, settings.lr, settings.bf16) == (10, 1e-3, False)
    assert settings.module_lr == {"llm": 1e-5, "projector": 2e-4}


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("stepz: 1", [], r"unknown key 'stepz'.*allowed: .*steps"),
        ("steps: many", [], "steps: .*many"),
        ("- 1", [], "is not a mapping"),
        ("a: [", [], "cannot read the recipe"),
        ("a: 2024-13-45", [], "cannot read the recipe"),
        ("steps: 1", ["lr"], "is not key=value"),
        ("steps: 1", ["lr=[1"], r"\[1' is not a YAML value"),
        ("steps: 1", ["lr=2024-13-45"], "is not a YAML value"),
        ("steps: 1", ["lr=-1"], "lr: .*greater than 0"),
        ("!!python/object/apply:os.system ['true']", [], "cannot read the recipe"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(recipe, overrides)


def test_what_only_concerns_how_it_runs_is_not_part_of_the_identity() -> None:
    a, b = read_recipe(None, ["save_every=3", "threads=1"]), read_recipe(None)
    assert a.identity() == b.identity() != read_recipe(None, ["seed=1"]).identity()
