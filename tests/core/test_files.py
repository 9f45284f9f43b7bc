"""Files: whole or absent, and never outside their root."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from visift.core import files
from visift.core.errors import DataError, VisiftError
from visift.core.files import (
    appending,
    atomic,
    canonical_json,
    once,
    read_json,
    read_jsonl,
    sha256_json,
    under,
    write_atomic,
    write_jsonl,
)

NAMES = st.lists(st.sampled_from(["..", ".", "a", "b", "link", "...", "~", "a\\..", ""]), max_size=5).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, st.booleans())
@example("link/secret", False)
def test_under_never_leaves_its_root(tmp_path: Path, relative: str, absolute: bool) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True, exist_ok=True)
    (tmp_path / "secret").write_text("s")
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(tmp_path)
    try:
        path = under(root, ("/" if absolute else "") + relative)
    except DataError:
        return
    assert os.path.realpath(path).startswith(os.path.realpath(root))


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../x", "link", "link/secret", "a\0b", "x" * 5000, "../root-2/x"]
)
def test_under_refuses(tmp_path: Path, path: str) -> None:
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path)
    with pytest.raises(DataError):
        under(tmp_path / "root", path)


def test_under_takes_a_root_that_is_itself_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert under(tmp_path / "root", "a/./b") == tmp_path.resolve() / "real/a/b"


@pytest.mark.parametrize("place", ["write", "replace", "mkstemp"])
def test_a_full_disk_leaves_the_old_file_and_no_rest(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "write":

        class Full:
            def __init__(self, fd: int, mode: str) -> None:
                self.fd = fd

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                os.close(self.fd)

            write = full

        monkeypatch.setattr(files.os, "fdopen", Full)
    else:
        monkeypatch.setattr(files.os if place == "replace" else files.tempfile, place, full)
    with pytest.raises(VisiftError, match=r"a\.json: cannot write \(No space left on device\)"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VisiftError, match="cannot write"):
        write_atomic(tmp_path / "file/a.json", "x")


def test_an_error_of_the_writer_keeps_its_own_name(tmp_path: Path) -> None:
    """A picture that cannot be read while a file is written is not called a full disk."""
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a") as f:
        f.write((tmp_path / "absent.jpg").read_bytes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_cannot_be_added_says_where() -> None:
    with (
        pytest.raises(VisiftError, match=r"/dev/full: cannot write \(No space left on device\)"),
        appending(Path("/dev/full")) as add,
    ):
        add(b"x")


def test_what_is_added_is_there_at_once(tmp_path: Path) -> None:
    for line in (b"a\n", b"b\n"):
        with appending(tmp_path / "new" / "a.jsonl") as add:
            add(line)
            assert (tmp_path / "new" / "a.jsonl").read_bytes().endswith(line)
    assert (tmp_path / "new" / "a.jsonl").read_bytes() == b"a\nb\n"
    with pytest.raises(VisiftError, match="cannot write"), appending(tmp_path / "new"):
        pass
    with pytest.raises(FileNotFoundError), appending(tmp_path / "a"):  # not called a full disk
        (tmp_path / "absent.jpg").read_bytes()


def test_rows_that_fail_leave_no_file(tmp_path: Path) -> None:
    def rows() -> Any:
        yield {"a": 1}
        raise DataError("broken")

    with pytest.raises(DataError):
        write_jsonl(tmp_path / "a.jsonl", rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": }', r"a\.json:1:7.*not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply|not valid JSON"),
        (b"7" * 5000, "number of thousands of digits"),
    ],
)
def test_broken_json_names_file_and_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.json"):
        list(read_jsonl(tmp_path / "a.json"))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError):
            read_json(path)
        with pytest.raises(DataError):
            list(read_jsonl(path))


@pytest.mark.parametrize(
    "line",
    [
        "18446744073709551616", "-123456789012345678901234567890", "[1e400, -Infinity]", '"\\ud800"', '{"a": 1, "a": 2}',
        "\t[0.1, -0, 1e-400]\r", '"\\u0000é🙂"', '{"": [[], {}, null, true]}',
    ],
)  # fmt: skip
def test_json_lines_say_what_json_says(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(f"{line}\n".encode())
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [(1, json.loads(line))]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_value_is_read_as_json_reads_it(value: Any) -> None:
    line = json.dumps(value).encode()
    assert repr(files._decoded(line)) == repr(json.loads(line))


def test_json_lines_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"b"\n')
    rows = read_jsonl(tmp_path / "a.jsonl")
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(DataError, match=r"a\.jsonl:3"):
        next(rows)


@given(
    st.dictionaries(
        st.text(max_size=3), st.integers() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_equal_values_have_one_spelling(value: dict[str, Any]) -> None:
    shuffled = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(shuffled)
    assert sha256_json(value) == sha256_json(shuffled)


def test_nan_has_none() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_once_makes_a_thing_once(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(3):
        assert once(tmp_path / "x.json", lambda: calls.append(1) or {"v": 1}) == {"v": 1}
    assert len(calls) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=12), max_size=6))  # fmt: skip
def test_rows_are_written_as_json_writes_them(tmp_path: Path, row: Any) -> None:
    write_jsonl(tmp_path / "a.jsonl", [row])
    line = (tmp_path / "a.jsonl").read_text("utf-8")
    assert json.loads(line) == row
    assert line.count("\n") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_holds_no_number_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_jsonl(tmp_path / "a.jsonl", [{"score": 1.0}, {"score": [value]}])
    assert list(tmp_path.iterdir()) == []
