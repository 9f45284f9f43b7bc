from __future__ import annotations

import pytest

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
        for arm in (claim.plus, claim.minus):
            recipe = read_recipe(shipped(claim.recipe), claim.variants[arm.variant])
            assert arm.task in recipe.questions
            assert arm.model in {"base", *recipe.arms}
    assert len(lines()) == len(CLAIMS)


def test_out_of_reach_is_said(tmp_path):
    row = run_claim(CLAIMS["A2"], tmp_path, 3, [])
    assert row["verdict"].startswith("undecided")
    assert row["why"]


def test_an_unknown_claim_is_named(tmp_path):
    with pytest.raises(UsageError, match="Z9"):
        run_claims(["Z9"], tmp_path, 1, [])
