"""Rows mutated at random: reading ends in a conversation or in a DataError, and check calls an error whatever reading refuses."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from visift.core.errors import DataError
from visift.core.types import Conversation, Picture, Provenance, Turn, assistant, user
from visift.curate.check import check
from visift.formats import TEXT, format_of_row, read
from visift.formats.normal import normal
from visift.formats.rows import row_writer

VALUES: list[Any] = [
    None, True, -1, 0, 1e308, "", "<image>", "a" * 5000, "\x00", "../x", "http://x/y.jpg", "\u202e<image>\u200d", [], {}, [[]], [None],
    {"type": "image"}, {"type": "text", "text": None}, [{"type": "image"}] * 3, {"bytes": "x", "path": None}, ["a.jpg", 7],
]  # fmt: skip


def start(name: str) -> dict[str, Any]:
    provenance = Provenance("listing", ("coco:1",), ("CC BY 2.0",), 0, "t", "rules")
    turns = (user(0, "x ", 1), assistant("1. a", "list"), user("more?"), assistant("no"))
    return TEXT[name][1](
        Conversation("c", (Picture("a.jpg", "00", 4, 3), Picture("b.jpg")), turns, provenance, {"n": [1]})
    )


def mutated(row: dict[str, Any], chance: random.Random) -> Any:
    row = copy.deepcopy(row)
    if row.get("visift") and isinstance(row["visift"], str) and chance.random() < 0.3:
        row["visift"] = json.dumps(mutated(json.loads(row["visift"]), chance))
        return row
    for _ in range(chance.randint(1, 2)):
        target: Any = row
        while True:
            keys = list(target) if isinstance(target, dict) else range(len(target))
            key = chance.choice(list(keys))
            if not isinstance(target[key], (dict, list)) or not target[key] or chance.random() < 0.3:
                break
            target = target[key]
        what = chance.randrange(4)
        if what == 0 and isinstance(target, dict):
            del target[key]
        elif what == 1 and isinstance(target, dict):
            target[chance.choice(["extra", "video", "system", "image", "images", "type"])] = copy.deepcopy(
                chance.choice(VALUES)
            )
        elif what == 2 and isinstance(target, list):
            target.insert(chance.randrange(len(target) + 1), copy.deepcopy(chance.choice([*VALUES, target[key]])))
        else:
            target[key] = copy.deepcopy(chance.choice(VALUES))
        if not row:
            break
    return row


def _fuzz(tmp_path: Path, name: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    rows = [mutated(start(name), chance) for _ in range(count)]
    refused = set()
    for number, row in enumerate(rows, 1):
        try:
            c = TEXT[name][0](row, number, "f")
        except DataError as e:
            assert e.what and len(str(e)) < 2000
            refused.add(number)
        else:
            try:  # what was read can be written again and means the same
                again = TEXT["messages"][0](json.loads(json.dumps(TEXT["messages"][1](c))), number, "f")
            except DataError:
                continue
            assert again.turns == normal(c).turns and again.images == normal(c).images
    assert count / 10 < len(refused) < count  # the mutations bite, and not always
    with row_writer(tmp_path / "f.jsonl") as write:
        for row in rows:
            write(row)
    report = check(tmp_path / "f.jsonl", format=name, keep=count)
    found = {f["row"] for f in report["findings"] if f["severity"] == "error"}
    assert refused <= found
    skipped: list[str] = []
    kept = list(read(tmp_path / "f.jsonl", name, on_fault=lambda row, e: skipped.append(row)))
    assert (len(kept), len(skipped)) == (count - len(refused), len(refused))


@pytest.mark.parametrize("name", TEXT)
def test_mutated_rows_are_read_or_refused(tmp_path: Path, name: str) -> None:
    _fuzz(tmp_path, name, 300, 0)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("name", TEXT)
def test_many_mutated_rows_are_read_or_refused(tmp_path: Path, name: str, seed: int) -> None:
    _fuzz(tmp_path, name, 3000, seed)


@pytest.mark.parametrize("row", [None, 7, "x", [], {}, {"messages": None}, {"conversations": [None]}])
def test_what_is_no_row_is_of_no_format_or_refused(row: Any) -> None:
    name = format_of_row(row)
    for decode, _ in [TEXT[name]] if name else TEXT.values():
        with pytest.raises(DataError):
            decode(row, 1, "f")


def test_a_system_turn_is_kept_where_there_is_room(tmp_path: Path) -> None:
    c = Conversation("c", (), (Turn("system", user("be brief").parts), user("q"), assistant("a")), Provenance("x"))
    for name in ("sharegpt", "chat", "messages"):
        assert TEXT[name][0](TEXT[name][1](c), 1, "f") == c
