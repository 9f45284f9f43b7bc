"""Whole conversations: our ids are those that the original processor wrote (golden_ids.py made the file)."""

from __future__ import annotations

import json
from pathlib import Path

import golden_ids
import pytest
import tiny_families

from visift.models import Renderer, load

pytestmark = pytest.mark.integration

GOLDEN = json.loads(golden_ids.FILE.read_text())["ids"]


@pytest.mark.parametrize("family", tiny_families.BUILDERS)
def test_ids_of_whole_conversations_are_the_originals(family: str, tmp_path: Path) -> None:
    renderer = Renderer(load(tiny_families.BUILDERS[family](tmp_path)))
    found = [renderer.row(golden_ids.conversation(k)).input_ids for k in golden_ids.of_family(family)]
    assert found == GOLDEN[family]
