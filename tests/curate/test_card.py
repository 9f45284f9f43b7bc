"""Every dataset that a command makes has a page: sources, licences, forms, switches, what was left out, pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Made, build
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.curate.card import _counter, ensure_card


@pytest.mark.parametrize("command", [["synth", "dialog"], ["synth", "listing"], ["mark"]])
def test_every_dataset_has_its_page(tmp_path: Path, command: list[str]) -> None:
    arguments = [*command, "--tabletop", "6", "--out", str(tmp_path / "d"), "--drop-noncommercial"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    page = (tmp_path / "d" / "README.md").read_text()
    assert "Licences of the pictures and texts: CC0-1.0" in page or command == ["mark"]
    for word in (
        "tabletop",
        "## Left out",
        "seed 0",
        *(["## Samples", "card/1-0.jpg"] if command[-1] != "mark" else []),
    ):
        assert word in page
    if command[-1] == "dialog":
        assert "| coordinates |" in page and "Neighbouring answers switch form in 100.0% of" in page
        assert list((tmp_path / "d" / "card").glob("*.jpg"))
    ensured = ensure_card(tmp_path / "d")
    ensured.unlink()
    assert CliRunner().invoke(app, arguments).exit_code == 0  # a kill fell between the card and its page
    assert ensured.read_text() == page


def test_a_sample_is_turned_as_its_row_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    picture = Picture("p:a.jpg", width=8, height=4)
    row = Conversation("c", (picture,), (user(0, "What?"), assistant("Red.")), Provenance("x"))
    build(tmp_path / "d", kind="x", items=[row], make=lambda c: Made([c]), settings={}, roots={"p": str(tmp_path)})
    ensure_card(tmp_path / "d")
    with Image.open(tmp_path / "d/card/1-0.jpg") as image:
        assert image.size == (8, 4)


def test_numbers_stand_in_their_order() -> None:
    lines = _counter("rounds", Counter({10: 1, 9: 3})).splitlines()
    assert lines[2:] == ["| 9 | 3 |", "| 10 | 1 |"]
