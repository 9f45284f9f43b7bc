from __future__ import annotations

import json

import pytest

from visift.claims import run, table
from visift.claims.run import decide, run_claim, run_claims
from visift.claims.table import CLAIMS, lines
from visift.core.errors import UsageError
from visift.recipe.schema import read_recipe, shipped


def test_the_t_interval_by_hand():
    """0.1, 0.2, 0.3: mean .2, standard deviation .1, t(2) = 4.3027: half width .2484."""
    row = decide([0.1, 0.2, 0.3], "up", 0.03)
    assert row["low"] == pytest.approx(0.2 - 0.24842, abs=1e-4)
    assert row["verdict"] == "undecided"
    assert decide([0.19, 0.2, 0.21], "up", 0.03)["verdict"] == "supported"
    assert decide([-0.19, -0.2, -0.21], "up", 0.03)["verdict"] == "not supported"
    assert decide([0.001, 0.0, -0.001], "about zero", 0.03)["verdict"] == "supported"
    assert decide([0.2, 0.21, 0.19], "about zero", 0.03)["verdict"] == "not supported"


def test_one_seed_decides_nothing():
    assert decide([0.9], "up", 0.03)["verdict"] == "undecided"


def test_every_claim_names_what_its_recipe_measures():
    for claim in CLAIMS.values():
        if not claim.recipe:
            assert claim.reach
            continue
        for arm in (claim.plus, *claim.against):
            recipe = read_recipe(shipped(claim.recipe), claim.variants[arm.variant])
            assert arm.task in recipe.questions
            assert arm.model in {"base", *recipe.arms}
    assert len(lines()) == len(CLAIMS)


def test_rivals_are_averaged_and_each_is_shown(tmp_path, monkeypatch):
    """B3 by hand: .5 against .3 and .1 is .3 above their mean, .2 and .4 above each; seeds scatter by .01."""
    values = {"as shipped": 0.5, "zero guidance": 0.3, "shuffled guidance": 0.1}

    def ran(claim, arm, out, seed, overrides):
        value = values[arm.variant] + (0.01 * seed if arm.variant == "as shipped" else 0.0)
        return {"scores": {arm.model: {arm.task: {"headline": "f1", "metrics": {"f1": {"value": value}}}}}}

    monkeypatch.setattr(run, "_run", ran)
    row = run.run_claim(CLAIMS["B3"], tmp_path, 3, [])
    assert row["effects"] == [0.3, 0.31, 0.32] and row["verdict"] == "supported"
    assert [found["effect"] for found in row["against"].values()] == pytest.approx([0.21, 0.41])
    assert row["values"]["adapter on difference, as shipped"] == [0.5, 0.51, 0.52]
    assert "against shuffled guidance: +0.410" in row["why"]


@pytest.mark.parametrize(
    ("rivals", "verdict"), [((0.3, 0.1), "supported"), ((0.6, 0.1), "not supported"), ((0.5, 0.1), "undecided")]
)
def test_one_better_rival_refutes_whatever_the_mean_says(monkeypatch, tmp_path, rivals, verdict):
    """B3 at .5: the mean of its rivals is below it each time."""
    values = {"as shipped": 0.5, "zero guidance": rivals[0], "shuffled guidance": rivals[1]}

    def ran(claim, arm, out, seed, overrides):
        value = values[arm.variant] + (0.01 * (seed - 1) if arm.variant == "as shipped" else 0.0)
        return {"scores": {arm.model: {arm.task: {"headline": "f1", "metrics": {"f1": {"value": value}}}}}}

    monkeypatch.setattr(run, "_run", ran)
    row = run.run_claim(CLAIMS["B3"], tmp_path, 3, [])
    assert row["effect"] > 0.1 and row["verdict"] == verdict


def test_what_a_claim_varies_cannot_be_set(tmp_path):
    with pytest.raises(UsageError, match="would undo what claim B5 varies"):
        run.run_claim(CLAIMS["B5"], tmp_path, 1, ["data.difference.tabletop=9"])


def test_few_lists_are_asked_the_same_and_are_a_tenth():
    """The variant repeats the demo's question and arm; it must not drift from them."""
    demo, few = (read_recipe(shipped("demo"), overrides) for overrides in ((), table.FEW))
    assert few.questions == {"tag-listing": demo.questions["tag-listing"]} and few.arms == {
        "listing": demo.arms["listing"].model_copy(update={"about": ""})
    }
    assert few.train == demo.train
    assert all(10 * few.data[n].tabletop == demo.data[n].tabletop for n in demo.arms["listing"].data)  # the same shares


@pytest.mark.integration
def test_every_vpgc_variant_changes_one_thing():
    """No two of them train the same, none changes what is asked, and B4 holds every layer of the built-in model."""
    from visift.models import load

    shipped_one = read_recipe(shipped("vpgc_claims"))
    kept = [shipped_one]
    for name, overrides in table.VPGC_VARIANTS.items():
        if name != "as shipped":
            kept.append(read_recipe(shipped("vpgc_claims"), overrides))
    trained = [(r.arms, r.train, r.data) for r in kept]
    assert all(a != b for k, a in enumerate(trained) for b in trained[:k])
    asked = {n: q.model_dump(exclude={"models"}) for n, q in shipped_one.questions.items()}
    assert all({n: q.model_dump(exclude={"models"}) for n, q in r.questions.items()} == asked for r in kept)
    layers = len(load("builtin").model.model.language_model.layers)
    assert list(table.VPGC_LAYERS) == list(range(layers)) and layers // 2 == table.VPGC_MIDDLE
    assert len(CLAIMS["B4"].against) == layers - 1


def test_out_of_reach_is_said(tmp_path):
    row = run_claim(CLAIMS["A2"], tmp_path, 3, [])
    assert row["verdict"].startswith("undecided")
    assert row["why"]


def test_what_was_found_of_other_claims_is_kept(tmp_path):
    run_claims(["A2"], tmp_path, 1, [])
    run_claims(["C4", "A2"], tmp_path, 1, [])
    run_claims(["C4"], tmp_path, 1, [])
    assert [row["claim"] for row in json.loads((tmp_path / "claims.json").read_text())] == ["A2", "C4"]


def test_an_unknown_claim_is_named(tmp_path):
    with pytest.raises(UsageError, match="Z9"):
        run_claims(["Z9"], tmp_path, 1, [])
