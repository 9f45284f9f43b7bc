"""What may not be used commercially is left out, and listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from visift.core.dataset import Dataset
from visift.core.files import read_jsonl
from visift.core.licences import not_for_sale
from visift.core.types import Asked, Scene
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise


@pytest.mark.parametrize(
    "name", ["CC BY-NC 2.0", "CC BY-NC-SA 4.0", "for non-commercial use", "research, noncommercial"]
)
def test_names_of_noncommercial_licences(name: str) -> None:
    assert not_for_sale((name,)) and not_for_sale(("CC BY 4.0", name))


def test_other_names() -> None:
    assert (
        not not_for_sale(("CC BY 4.0", "Apache-2.0", "CC0-1.0", "CC BY-SA 2.0"))
        and not_for_sale(()) == "no licence is stated"
    )


class Mixed(Tabletop):
    """Every second picture is under NC, and one of two public questions."""

    def scene(self, index: int) -> Scene:
        asked = (
            Asked("a", "Is it free?", "yes", "yes/no", "CC BY 4.0"),
            Asked("b", "Is it paid?", "no", "yes/no", "CC BY-NC 4.0"),
        )
        return replace(super().scene(index), licence="CC BY-NC 2.0" if index % 2 else "CC0-1.0", asked=asked)


def test_pictures_and_questions_are_left_out_and_listed(tmp_path: Path) -> None:
    card = synthesise("dialog", Mixed(30), tmp_path / "a", drop_noncommercial=True)
    assert card["licences"] == ["CC BY 4.0", "CC0-1.0"] and card["settings"]["drop_noncommercial"] is True
    asked = [t.text for c in Dataset(tmp_path / "a") for t in c.turns]
    assert sum("Is it free?" in t for t in asked) == 15 and not any("Is it paid?" in t for t in asked)
    reasons = [row["reason"] for _, row in read_jsonl(tmp_path / "a" / "rejected.jsonl")]
    assert (
        sum("its picture: CC BY-NC 2.0" in r for r in reasons) == 15
        and sum("b: CC BY-NC 4.0" in r for r in reasons) == 15
    )
    whole = synthesise("dialog", Mixed(4), tmp_path / "b")
    assert "CC BY-NC 4.0" in whole["licences"] and "drop_noncommercial" not in whole["settings"]
