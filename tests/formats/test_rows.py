"""Reading rows in a stream: the same values as json.load, flat memory, and one clear error for whatever is broken."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from conversation_strategies import JSON
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visift.core.errors import DataError
from visift.formats import recognise, rows

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = st.lists(
    st.dictionaries(st.text("ab", max_size=2), JSON | st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    max_size=6,
)


@SHARED
@given(ROWS, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_read_as_json_reads_it(
    tmp_path: Path, values: list[Any], chunk: int, indent: int | None, ascii: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", chunk)
        assert list(rows.read_rows(path)) == list(enumerate(values, 1))


@SHARED
@given(ROWS, st.sampled_from([".json", ".jsonl"]))
def test_what_is_written_is_read(tmp_path: Path, values: list[Any], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with rows.row_writer(path) as write:
        for value in values:
            write(value)
    assert list(rows.read_rows(path)) == list(enumerate(values, 1))


@SHARED
@given(st.integers(1, 50), st.data())
def test_an_array_cut_anywhere_is_an_error(tmp_path: Path, chunk: int, data: st.DataObject) -> None:
    text = json.dumps([{"id": 'a\\"é', "n": [1, -2.5e3, True, None]}, {"b": {"c": "<image>"}}], ensure_ascii=False)
    cut = data.draw(st.integers(1, len(text) - 1))
    path = tmp_path / "cut.json"
    path.write_text(text[:cut], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", chunk)
        with pytest.raises(DataError, match=r"cut\.json: row \d"):
            list(rows.read_rows(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1} {"b": 2}]', "a comma or a closing bracket is missing"),
        ('[{"a": 1}]]', "something follows"),
        ('[{"a": 1}, {"b": tru}' + " " * 100 + "]", "row 2.*Expecting value"),
        ("[" * 200_000, "nested too deeply"),
        ("plain text", "neither a JSON array nor JSON Lines"),
        ('{\n "a": 1\n}', "one JSON object"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"(?s){message}") as e:
        list(rows.read_rows(path))
    assert "broken.json" in str(e.value)


def test_no_file_a_folder_and_no_text(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            list(rows.read_rows(path))
    (tmp_path / "b.json").write_bytes(b'[{"a": "\xff\xfe"}]')
    with pytest.raises(DataError, match="not UTF-8"):
        list(rows.read_rows(tmp_path / "b.json"))


def test_a_broken_line_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n{"a": 3}\n')
    (_, first), (number, broken), (_, last) = rows.read_rows(path)
    assert (first, last) == ({"a": 1}, {"a": 3})
    assert number == 2 and isinstance(broken, DataError) and "a.jsonl:3" in str(broken)


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    row = {"id": "x", "conversations": [{"from": "human", "value": "word " * 400}] * 4}
    with rows.row_writer(path) as write:
        for _ in range(3_000):
            write(row)
    assert path.stat().st_size > 24e6
    tracemalloc.start()
    count = sum(1 for _ in rows.read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 3_000
    assert peak < 10e6


def test_an_error_is_seen_where_it_stands_not_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    path.write_text("[{]" + " " * 30_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="row 1"):
        list(rows.read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6


def test_nan_is_refused_on_the_way_out_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="conversation c1"), rows.row_writer(tmp_path / "a.json") as write:
        write({"id": "c1", "score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_conversation_file_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"images": [], "annotations": []}]')
    with pytest.raises(DataError, match="--from"):
        recognise(tmp_path / "a.json")
    with pytest.raises(DataError, match="no such file"):
        recognise(tmp_path / "b.json")
