"""What a model looks at: patches are found in the picture, shares are those of hand-made attention, controls fall to chance."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.types import TaggedPicture
from visift.evals import probe as probing
from visift.evals.probe import number_tokens, patches_of, probe
from visift.models import load
from visift.models.image_attention import PatchGrid
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def vlm() -> Any:
    return load("builtin")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("probe") / "q"
    synthesise("listing", Tabletop(4, seed=3), out, seed=3)
    return out


def first(questions: Path) -> TaggedPicture:
    return next(iter(Dataset(questions).tagged()))


def test_patches_are_found_where_the_processor_puts_them(vlm: Any) -> None:
    side = round(vlm.family.tokens**0.5)
    for width, height in ((96, 96), (200, 100)):
        centres = PatchGrid(vlm.family, width, height).centres().reshape(side, side, 2)
        seen = ~np.isnan(centres[..., 0])
        assert seen.any() and np.nanmin(centres) >= 0
        assert np.nanmax(centres[..., 0]) <= width and np.nanmax(centres[..., 1]) <= height
        x, y = centres[..., 0], centres[..., 1]
        assert (np.diff(x, axis=1)[seen[:, 1:] & seen[:, :-1]] > 0).all() and (
            np.diff(y, axis=0)[seen[1:] & seen[:-1]] > 0
        ).all()


def test_a_bright_patch_stands_where_its_centre_says(vlm: Any) -> None:
    """Independent of the colour trick: a white dot drawn at a patch's centre lights up that patch of the processed picture."""
    side, size = round(vlm.family.tokens**0.5), 160
    centres = PatchGrid(vlm.family, size, size).centres()
    for patch in (0, side + 1, side * side // 2 + side // 3, side * side - 1):
        x, y = centres[patch].astype(int)
        picture = Image.new("RGB", (size, size))
        picture.paste((255, 255, 255), (x - 2, y - 2, x + 2, y + 2))
        seen = vlm.family.pixels(picture)["pixel_values"].float().mean(0)
        edge = seen.shape[-1] // side
        assert int(seen.reshape(side, edge, side, edge).mean((1, 3)).flatten().argmax()) == patch


def test_number_tokens_stand_at_the_head_of_their_lines() -> None:
    words = ["<s>", "USER", "1", "0", ".", " a", " 7", "\n", "2", ".", " b", "\n", "1", "0", ":", " again"]
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: "".join(words[i] for i in ids))
    learnt = [k >= 2 for k in range(len(words))]
    assert number_tokens(tokenizer, range(len(words)), learnt) == {10: 3, 2: 8}  # the last figure; the first line holds
    assert number_tokens(tokenizer, range(len(words)), [False] * len(words)) == {}


def planted(where: str) -> Any:
    """Attention that goes to the number's own region, to the next number's, or to the same place whatever the number."""

    def attended(vlm: Any, ids: Any, pixels: Any, places: Any, top: int) -> dict[int, np.ndarray]:
        inside = planted.inside
        numbers = sorted(inside)
        found = {}
        for n in places:
            target = numbers[(numbers.index(n) + 1) % len(numbers)] if where == "next" else n
            good = np.flatnonzero(inside[target])[:1] if where != "fixed" else np.array([0])
            found[n] = np.stack([np.resize(good, top), np.full(top, int(np.flatnonzero(~inside[n])[-1]))])
        return found

    return attended


@pytest.mark.parametrize(("where", "own"), [("own", 1.0), ("next", 0.0)])
def test_shares_of_planted_attention(
    vlm: Any, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, own: float
) -> None:
    real = patches_of

    def kept(mark: Any, centres: Any, tagged: Any) -> np.ndarray:
        found = real(mark, centres, tagged)
        if tagged.image != getattr(planted, "image", None):
            planted.image, planted.inside = tagged.image, {}
        planted.inside[mark.number] = found
        return found

    monkeypatch.setattr(probing, "patches_of", kept)
    monkeypatch.setattr(probing, "_attended", planted(where))
    result = probe("builtin", Dataset(questions), tmp_path, lists="given", vlm=vlm, overlays=0)
    assert result["layers"][0]["share"]["value"] == pytest.approx(own)
    assert result["layers"][1]["share"]["value"] == 0.0  # the second layer looks elsewhere
    if where == "own":
        assert result["layers"][0]["shuffled"]["value"] < 0.2 and result["best_layer"] == 0


@pytest.mark.integration
def test_a_real_model_end_to_end(vlm: Any, questions: Path, tmp_path: Path) -> None:
    result = probe("builtin", Dataset(questions), tmp_path / "p", lists="given", vlm=vlm, overlays=2)
    marks = sum(len(t.marks) for t in Dataset(questions).tagged())
    assert (
        result["numbers"] == marks
        and result["unlisted"] == 0
        and len(result["layers"]) == len(vlm.model.model.language_model.layers)
    )
    for row in result["layers"]:
        for kind in ("share", "shuffled", "blank"):
            assert 0 <= row[kind]["low"] <= row[kind]["value"] <= row[kind]["high"] <= 1
    assert 0 < result["chance"] < 0.5 and len(list((tmp_path / "p" / "overlays").glob("*.png"))) == 2
    again = probe("builtin", Dataset(questions), tmp_path / "q", lists="given", vlm=vlm, overlays=0)
    assert again["layers"] == result["layers"]
    made = CliRunner().invoke(app, ["report", str(tmp_path / "p"), "--json"])
    page = Path(json.loads(made.stdout)["pages"][0]).read_text()
    assert (
        page.count("data:image/png;base64,") == 2 and "another number" in page and "http" not in page.split("<body>")[1]
    )


def test_what_cannot_be_probed(vlm: Any, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of own, given"):
        probe("builtin", Dataset(questions), tmp_path, lists="both", vlm=vlm)
    synthesise("questions", Tabletop(3), tmp_path / "plain")
    with pytest.raises(DataError, match="no tagged picture"):
        probe("builtin", Dataset(tmp_path / "plain"), tmp_path, vlm=vlm)

    class Tiles:
        tokens, as_uint8 = 16, True

        def pixels(self) -> None: ...

    with pytest.raises(UsageError, match="Tiles does not read a picture as one grid"):
        PatchGrid(Tiles(), 10, 10)  # type: ignore[arg-type]
