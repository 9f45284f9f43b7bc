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


@pytest.mark.integration
def test_the_response_form_arms_hold_the_same_rounds_and_as_many_steps(tmp_path):
    """Equal answers, once; batch sizes in proportion to the rows that hold them."""
    from visift.core.dataset import Dataset
    from visift.recipe.job import synth

    recipe = read_recipe(shipped("response_forms"))
    answers, steps = {}, {}
    for name, arm in recipe.arms.items():
        (data,) = (recipe.data[d] for d in arm.data)
        synth(0, [{"data": data.model_dump(mode="json") | {"tabletop": 30}, "out": str(tmp_path / name)}])
        rows = list(Dataset(tmp_path / name))
        answers[name] = sorted((c.provenance.scenes[0], t.text) for c in rows for t in c.turns[1::2])
        steps[name] = len(rows) / arm.train["batch_size"]
    assert len({tuple(a) for a in answers.values()}) == 1
    assert max(steps.values()) < 1.1 * min(steps.values()), steps


@pytest.mark.integration
def test_lengths_after_earlier_rounds_stand_beside_those_alone(tmp_path):
    import json

    from visift.core.types import Answer
    from visift.recipe.run import Run

    recipe = read_recipe(shipped("response_forms"))
    for model in ("base", *recipe.arms):
        for name, asked in recipe.questions.items():
            words = "one" if asked.rounds and not asked.neutral and model == "one-form" else "four words of text"
            history = (
                ({"role": "user", "text": "q"}, {"role": "assistant", "text": "two words"}) if asked.rounds else ()
            )
            rows = [Answer(str(k), asked.task, (str(k),), "?", words, "stop", history=history) for k in range(3)]
            path = tmp_path / "answers" / model / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(r.to_json()) + "\n" for r in rows))
    rows = Run(recipe, tmp_path)._lengths(recipe)["lengths"]
    assert len(rows) == 2 * (1 + len(recipe.arms)) and {r["than_task"] for r in rows} == {"caption"}
    (shorter,) = [r for r in rows if r["model"] == "one-form" and r["task"] == "caption-after-short"]
    assert shorter["metrics"]["short"]["difference"] == 1 and shorter["metrics"]["words"]["difference"] == -3
    assert shorter["rounds"] == {"a": [4.0], "b": [2.0, 1.0]}
    assert Run(read_recipe(shipped("demo")), tmp_path)._lengths(read_recipe(shipped("demo"))) == {}
