from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from visift.core.errors import DataError, UsageError
from visift.recipe.schema import BaseRecipe, Recipe, read_recipe, shipped

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def written(tmp_path, values):
    path = tmp_path / "r.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def demo():
    return yaml.safe_load(shipped("demo").read_text())


def test_the_shipped_recipes_are_valid():
    assert isinstance(read_recipe(shipped("demo")), Recipe)
    assert isinstance(read_recipe(shipped("builtin_base")), BaseRecipe)


def test_the_demo_s_arms_are_equal_but_for_their_data():
    """Equal steps, rate and seed stand in `train`; equal scenes and rows are worked out here."""
    recipe = read_recipe(shipped("demo"))
    rows, scenes = {}, {}
    for name, arm in recipe.arms.items():
        assert not arm.train and not arm.model
        rows[name] = sum(recipe.data[d].tabletop for d in arm.data)
        scenes[name] = {
            k for d in arm.data for k in range(recipe.data[d].start, recipe.data[d].start + recipe.data[d].tabletop)
        }
    assert scenes["control"] == scenes["listing"]
    assert all(q.split == "held-out" for q in recipe.questions.values())
    assert all(d.split == "train" for d in recipe.data.values())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tain": {}}, "tain"),
        ({"arms": {"a": {"data": ["nothing"]}}}, "nothing"),
        ({"compare": [["base", "ghost"]]}, "ghost"),
        ({"data": {"x": {"kind": "skills"}}}, "tabletop"),
        ({"questions": {"q": {"kind": "listing", "tabletop": 3}}}, "task"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path, change, named):
    with pytest.raises(UsageError, match=named):
        read_recipe(written(tmp_path, {**demo(), **change}))


@pytest.mark.parametrize("text", ["[1, 2", "just words", "- a\n- b"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises((UsageError, DataError)):
        read_recipe(written(tmp_path, text))


def test_a_missing_recipe_is_usage():
    with pytest.raises(UsageError, match="no such recipe"):
        read_recipe(Path("nowhere.yaml"))


def test_overrides_reach_into_the_recipe(tmp_path):
    recipe = read_recipe(shipped("demo"), ["train.steps=7", "data.lists.tabletop=9", "seed=3"])
    assert (recipe.train["steps"], recipe.data["lists"].tabletop, recipe.seed) == (7, 9, 3)
    with pytest.raises(UsageError, match="key=value"):
        read_recipe(shipped("demo"), ["train.steps"])
    with pytest.raises(UsageError, match="leads into"):
        read_recipe(shipped("demo"), ["seed.deep=1"])
