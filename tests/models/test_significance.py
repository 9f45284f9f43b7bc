"""What a model ignores: patches are where the processor puts them, pooling is done by hand, both kinds of model are read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
from PIL import Image

from visift.core.errors import UsageError
from visift.core.types import Region, Scene
from visift.models import load, significance
from visift.models.image_attention import PatchGrid, query_attention, text_attention
from visift.models.significance import Diagnosed, attention_map, middle_third, significances
from visift.sources.tabletop import Tabletop

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def builtin() -> Any:
    vlm = load("builtin")
    vlm.model.set_attn_implementation("eager")
    return vlm


@pytest.fixture(scope="module", params=["blip-2", "instructblip"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    vlm = load(tiny_families.BUILDERS[request.param](tmp_path_factory.mktemp("blip")))
    vlm.model.set_attn_implementation("eager")
    return vlm


def box(x: int, y: int, w: int, h: int) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def scene(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Scene:
    regions = tuple(Region(f"r{k}", "thing", b, box(*b)) for k, b in enumerate(boxes))
    return Scene("s:1", "", "1.png", *size, regions=regions)


def test_area_weighted_pooling_by_hand(builtin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a picture of the model's own size a patch is a square of it: one patch and a half, and a quarter of four."""
    edge = builtin.family.pixels(Image.new("RGB", (9, 9)))["pixel_values"].shape[-1]
    side = round(builtin.family.tokens**0.5)
    patch = edge // side
    weights = np.arange(side * side, dtype=float)
    monkeypatch.setattr(significance, "attention_map", lambda vlm, picture: weights)
    half = patch // 2
    asked = scene((edge, edge), (0, 0, patch + half, patch), (half, half, patch, patch), (0, 0, edge, edge))
    found = [r.significance for r in significances(builtin, asked, Image.new("RGB", (edge, edge)))]
    assert found[0] == pytest.approx((0 + 1 * half / patch) / (1 + half / patch), abs=1e-3)
    shares = np.outer([patch - half, half], [patch - half, half]) / patch**2  # of the patches 0, 1, side, side + 1
    assert found[1] == pytest.approx((shares * [[0, 1], [side, side + 1]]).sum(), abs=1e-3)
    assert found[2] == pytest.approx(weights.mean())


def test_even_attention_makes_nothing_significant(builtin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "attention_map", lambda vlm, picture: np.ones(builtin.family.tokens))
    world = next(iter(Tabletop(1, seed=5)))
    regions = significances(builtin, world, Image.new("RGB", (world.width, world.height)))
    assert len(regions) == len(world.regions) and all(r.significance == pytest.approx(1.0) for r in regions)


def test_what_the_view_leaves_out_has_no_significance(blip: Any, builtin: Any) -> None:
    torn = Scene("s:1", "", "1.png", 90, 30, regions=(Region("r", "thing", (0, 0, 5, 5), [[1.0, 2.0]]),))
    assert significances(blip, torn, Image.new("RGB", (90, 30)))[0].significance is None  # a malformed mask
    grid = PatchGrid(blip.family, 90, 30)
    whole = grid.cover(np.ones((30, 90), bool))
    assert np.allclose(whole, grid.shown) and grid.cover(np.zeros((30, 90), bool)).sum() == 0
    speck = scene((900, 300), (10, 10, 1, 1))
    assert significances(blip, speck, Image.new("RGB", (900, 300)))[0].significance is None  # too little of a patch


def test_a_projector_model_looks_at_things(builtin: Any) -> None:
    """The built-in model knows this world: what stands on the table gets more than the picture's average."""
    found = []
    source = Tabletop(2, seed=2)
    for one in source:
        picture = source.open(one)
        weights = attention_map(builtin, picture)
        assert weights.shape == (builtin.family.tokens,) and weights.mean() == pytest.approx(1) and weights.min() >= 0
        found += [r.significance for r in significances(builtin, one, picture)]
    assert None not in found and np.mean(found) > 1.5  # type: ignore[arg-type]


def test_a_q_former_is_read_through_its_cross_attention(blip: Any) -> None:
    picture = Image.effect_noise((64, 64), 90).convert("RGB")
    pixels = [blip.family.with_words(blip.family.pixels(picture), "x")]
    ids = [blip.family.image_id] * blip.family.tokens + [9, 10]
    found = query_attention(blip, ids, pixels)
    side = PatchGrid(blip.family, 64, 64).side
    layers = sum(name.endswith("crossattention") for name, _ in blip.model.qformer.named_modules())
    assert found.shape == (blip.family.tokens, layers, side * side)
    total = found.sum(-1)
    assert (total < 1).all() and (total > 0.3).all()  # what is missing went to the class token
    assert not any(m._forward_hooks for m in blip.model.qformer.modules())
    weights = attention_map(blip, picture)
    assert weights.mean() == pytest.approx(1) and not np.allclose(
        weights, attention_map(blip, Image.new("RGB", (64, 64)))
    )
    with pytest.raises(UsageError, match="queries, not patches"):
        text_attention(blip, ids, pixels, [5])


def test_tiles_have_no_grid(tmp_path: Path) -> None:
    vlm = load(tiny_families.BUILDERS["llava-next"](tmp_path))
    with pytest.raises(UsageError, match="does not read a picture as one grid"):
        PatchGrid(vlm.family, 40, 40)


def test_the_middle_third() -> None:
    assert [list(range(n))[middle_third(n)] for n in (1, 2, 6, 7)] == [[0], [0, 1], [2, 3], [2, 3, 4]]
    assert middle_third(32) == slice(10, 22)


def test_a_diagnosed_source_travels_without_its_model() -> None:
    source = Diagnosed(Tabletop(1, seed=1), "builtin")
    scenes = list(source)
    assert all(r.significance is not None for s in scenes for r in s.regions)
    again = pickle.loads(pickle.dumps(source))
    assert again._vlm is None and source._vlm is not None
    assert list(again) == scenes and len(again) == 1
    assert "significance" in source.describe() and source.describe() != Tabletop(1, seed=1).describe()
