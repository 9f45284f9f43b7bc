from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

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


def test_the_demo_is_valid():
    assert isinstance(read_recipe(shipped("demo")), Recipe)


@pytest.mark.integration
def test_the_recipe_of_the_base_is_valid():
    assert isinstance(read_recipe(shipped("builtin_base")), BaseRecipe)


def test_the_demo_s_arms_are_equal_but_for_their_data():
    """Equal steps, rate and seed stand in `train`; equal scenes and rows are worked out here."""
    recipe = read_recipe(shipped("demo"))
    rows, scenes = {}, {}
    for name, arm in recipe.arms.items():
        assert not arm.train and not arm.model
        rows[name] = sum(recipe.data[d].tabletop for d in arm.data)
        scenes[name] = {
            (recipe.data[d].level, k)
            for d in arm.data
            for k in range(recipe.data[d].start, recipe.data[d].start + recipe.data[d].tabletop)
        }
    assert scenes["control"] == scenes["listing"]
    assert rows["control"] == rows["listing"] == recipe.train["steps"] * recipe.train["batch_size"]  # one epoch
    assert all(q.split == "held-out" for q in recipe.questions.values())
    assert all(d.split == "train" for d in recipe.data.values())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tain": {}}, "tain"),
        ({"arms": {"a": {"data": ["nothing"]}}}, "nothing"),
        ({"compare": [["base", "ghost"]]}, "ghost"),
        ({"data": {"x": {"kind": "skills"}}}, "tabletop"),
        ({"data": {"x": {"kind": "skills", "tabletop": 3, "start": -1}}}, "start"),
        (
            {"data": {"x": {"kind": "skills", "tabletop": 3, "captions": "c.json"}}},
            "`captions` says nothing of tabletop scenes",
        ),
        (
            {"data": {"x": {"kind": "listing", "images": ".", "level": 1}}},
            "`level` says nothing of pictures in a folder",
        ),
        ({"questions": {"../../q": {"task": "pope", "kind": "questions", "tabletop": 3}}}, "cannot name a folder"),
        ({"questions": {"q": {"kind": "listing", "tabletop": 3}}}, "task"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path, change, named):
    with pytest.raises(UsageError, match=named):
        read_recipe(written(tmp_path, {**demo(), **change}))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.stepz=3", r"r.yaml: train: unknown key 'stepz'. allowed: .*steps"),
        ("arms.listing.train.stepz=3", r"r.yaml: arms.listing.train: unknown key 'stepz'. allowed: .*steps"),
        ("arms.listing.train.lr=-1", r"arms.listing.train: lr: .*greater than 0"),
        ("arms.listing.stage=ful", r"arms.listing.stage: .*'full'"),
        ("arms.listing.model=contrl", r"arms.listing.model: 'contrl' is unknown. known: builtin, .*control"),
        ("arms.listing.data=[]", r"arms.listing.data"),
        ("arms.base={data: [vqa]}", r"arms.base: 'base' is taken"),
        ("base=bultin", r"base: 'bultin' is unknown. known: builtin"),
        ("data.lists.kind=listting", r"data.lists.kind: 'listting' is unknown. known: .*listing"),
        ("data.lists.options.modelpx=3", r"data.lists.options: 'modelpx' is unknown. known: .*model_px"),
        ("data.lists.level=3", r"data.lists.level: 3 is unknown. known: 0, 1, 2"),
        ("data.lists={kind: listing, images: nowhere}", r"data.lists.images: there is no nowhere"),
        ("data.lists.attention_of=bultin", r"data.lists.attention_of: 'bultin' is unknown"),
        ("questions.existence.kind=question", r"questions.existence.kind: 'question' is unknown"),
        ("questions.existence.options.skil=existence", r"questions.existence.options: 'skil' is unknown"),
        ("questions.existence.task=popee", r"questions.existence.task: 'popee' is unknown. known: .*pope"),
        ("questions.existence.models=[listin]", r"questions.existence.models: 'listin' is unknown. known: .*listing"),
        ("questions.existence.rounds=9", r"questions.existence.rounds"),
        ("questions.existence.max_new_tokens=0", r"questions.existence.max_new_tokens"),
        ("controls.tag-listing.data=list", r"controls.tag-listing.data: 'list' is unknown. known: .*lists"),
        ("controls.tag-listing={kind: blind, questions: tag-listing}", r"controls.tag-listing: `data` is missing"),
        ("controls.tag-listing.questions=existence", r"blind is a control of tag-listing, existence is pope"),
        ("controls.tag-listing-grey.models=[listin]", r"controls.tag-listing-grey.models: 'listin' is unknown"),
        ("controls.tag-listing-grey.models=[]", r"controls.tag-listing-grey: `models` is missing"),
        ("controls.tag-listing-grey.questions=tag", r"controls.tag-listing-grey.questions: 'tag' is unknown"),
        (
            "controls.existence={kind: grey, questions: existence, models: [base]}",
            r"controls.existence: questions have",
        ),
        (
            "controls.x={kind: permuted, questions: tag-listing-area, models: [base]}",
            r"controls.x.models: tag-listing-area are not asked of base",
        ),
        ("compare=[[base, contrl]]", r"compare: 'contrl' is unknown. known: base, control, listing"),
        ("claims=[{name: Z, text: t, task: existance, model: listing}]", r"claims.Z.task: 'existance' is unknown"),
        ("claims=[{name: Z, text: t, task: existence, model: list}]", r"claims.Z.model: 'list' is unknown"),
        (
            "claims=[{name: Z, text: t, task: existence, model: listing, than_model: x}]",
            r"claims.Z.than_model: 'x' is unknown",
        ),
        (
            "claims=[{name: Z, text: t, task: existence, model: listing, than_task: x}]",
            r"claims.Z.than_task: 'x' is unknown. known of what listing is asked: .*existence",
        ),
        (
            "claims=[{name: Z, text: t, task: tag-listing-area, model: listing, than_model: base}]",
            r"claims.Z.than_task: 'tag-listing-area' is unknown. known of what base is asked: ",
        ),
    ],
)
def test_a_typo_is_found_when_the_recipe_is_read(tmp_path, override, said):
    path = written(tmp_path, demo())
    with pytest.raises(UsageError, match=said) as caught:
        read_recipe(path, [override])
    assert str(path) in str(caught.value)


def test_arms_that_start_from_each_other_are_refused(tmp_path):
    path = written(tmp_path, demo())
    with pytest.raises(UsageError, match="control starts from listing starts from control"):
        read_recipe(path, ["arms.control.model=listing", "arms.listing.model=control"])
    with pytest.raises(UsageError, match="control starts from control"):
        read_recipe(path, ["arms.control.model=control"])
    chain = read_recipe(path, ["arms.listing.model=control"])
    assert chain.arms["listing"].model == "control"


def test_models_that_are_asked_nothing_in_common_cannot_be_compared(tmp_path):
    only = [f"questions.{name}.models=[listing]" for name in demo()["questions"]]
    with pytest.raises(UsageError, match="base and listing are asked nothing in common"):
        read_recipe(written(tmp_path, demo()), [*only, "controls={}", "claims=[]", "compare=[[base, listing]]"])


def test_a_typo_leaves_the_folder_free_for_the_recipe_mended(tmp_path):
    from visift.recipe.run import run_recipe

    with pytest.raises(UsageError, match="stepz"):
        run_recipe(written(tmp_path, demo()), tmp_path / "run", ["train.stepz=3"])
    assert not (tmp_path / "run").exists()


def test_questions_are_held_out_unless_the_recipe_says_otherwise(tmp_path):
    values = demo()
    for asked in values["questions"].values():
        del asked["split"]
    recipe = read_recipe(written(tmp_path, values), ["questions.colour.split=train"])
    assert {n for n, q in recipe.questions.items() if q.split == "train"} == {"colour"}
    assert all(d.split == "train" for d in recipe.data.values())


@pytest.mark.parametrize(
    "code",
    [
        "from visift.recipe.schema import read_recipe, shipped; read_recipe(shipped('demo'))",
        "import visift.recipe.run, visift.report, visift.evals.compare, visift.evals.rounds, visift.train.model_card",
        "import visift.evals.answer, visift.evals.remote_engine",
    ],
    ids=["reading a recipe", "what walks and reports it", "asking a server"],
)
def test_what_needs_no_model_loads_no_torch(code):
    code = f"{code}; import sys; print([x for x in ('torch', 'transformers') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.integration
def test_what_is_known_without_torch_is_what_torch_s_side_knows():
    from visift.evals.rounds import TABLETOP
    from visift.recipe.schema import Questions
    from visift.train.settings import Stage
    from visift.train.stages import TRAINS

    assert set(get_args(Stage)) == set(TRAINS)
    asked = {"task": "caption", "kind": "questions", "tabletop": 1}
    assert Questions(**asked, rounds=len(TABLETOP)).rounds == 8
    with pytest.raises(ValueError, match="less than or equal"):
        Questions(**asked, rounds=len(TABLETOP) + 1)


@pytest.mark.integration
def test_a_typo_in_what_pretraining_is_told_is_found_too():
    with pytest.raises(UsageError, match=r"builtin_base.yaml: pretrain: unknown key 'stepz'. allowed: .*steps"):
        read_recipe(shipped("builtin_base"), ["pretrain.stepz=3"])
    with pytest.raises(UsageError, match=r"pretrain: steps: .*found 'many'"):
        read_recipe(shipped("builtin_base"), ["pretrain.steps=many"])
    with pytest.raises(UsageError, match=r"questions.colour.models: 'listing' is unknown. known: base"):
        read_recipe(shipped("builtin_base"), ["questions.colour.models=[listing]"])


@pytest.mark.parametrize("text", ["[1, 2", "just words", "- a\n- b", "title: 2024-13-45"])
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
    for value in ("[a", "2024-13-45"):
        with pytest.raises(UsageError, match=f"title={re.escape(value)}.* is not a YAML value"):
            read_recipe(shipped("demo"), [f"title={value}"])


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
