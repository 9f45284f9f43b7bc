"""docs/formats.md shows rows that are read as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from visift.core.types import Answer, Conversation, TaggedPicture
from visift.curate.mix_recipe import MixRecipe
from visift.formats import FORMATS, TEXT, format_of_row

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```(?:json|yaml) (\w+)\n(.*?)```", PAGE, re.DOTALL))
OURS = {"conversation": Conversation, "tagged": TaggedPicture, "answer": Answer}


@pytest.mark.parametrize("name", OURS)
def test_our_rows_are_written_as_shown(name: str) -> None:
    row = json.loads(BLOCKS[name])
    assert OURS[name].from_json(row).to_json() == row


@pytest.mark.parametrize("name", ["llava", "chat", "messages"])
def test_foreign_rows_are_written_as_shown(name: str) -> None:
    row = json.loads(BLOCKS[name])
    decode, encode = TEXT[name]
    assert format_of_row(row) == name and encode(decode(row, 1, "")) == row


def test_the_mixture_is_one() -> None:
    recipe = MixRecipe.model_validate(yaml.safe_load(BLOCKS["mix"]))
    shown = set(yaml.safe_load(BLOCKS["mix"]))
    assert shown == set(MixRecipe.model_fields) and recipe.sources[1].format == "llava"


def test_every_format_has_its_row_in_the_table() -> None:
    assert all(f"| `{name}` |" in PAGE for name in FORMATS)
