"""Parquet in the layout of `datasets`: `images: list<struct<bytes, path>>` beside `messages`, pictures inside the file.

Row groups are cut by bytes, not by rows: a group is what readers hold in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from visift.core.errors import DataError
from visift.core.files import atomic
from visift.formats.normal import EXTRA
from visift.formats.pictures import Sample, suffix_of

GROUP = 64 << 20  # bytes a row group
TEXT = 4096  # bytes that the text of a row counts for
ROWS = 1000  # and at most this many rows
BATCH = 64  # rows decoded at a time when reading

_STRING = {"dtype": "string", "_type": "Value"}
_FEATURES = {
    "id": _STRING,
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "messages": {
        "feature": {"role": _STRING, "content": {"feature": {"type": _STRING, "text": _STRING}, "_type": "List"}},
        "_type": "List",
    },
    EXTRA: _STRING,
}


def _schema() -> Any:
    import pyarrow as pa

    part = pa.struct([("type", pa.string()), ("text", pa.string())])
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
            ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(part))]))),
            (EXTRA, pa.string()),
        ]
    )
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": _FEATURES}})})


def write(out: Path, samples: Iterable[Sample]) -> int:
    """Write one parquet file and return the count of rows. Same samples, same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    with atomic(out) as f, pq.ParquetWriter(f, schema, compression="zstd", use_dictionary=False) as writer:
        group: list[dict[str, Any]] = []
        size = 0
        for row, blobs in samples:
            pictures = [{"bytes": b, "path": p} for b, p in zip(blobs, row["images"], strict=True)]
            group.append({**row, "images": pictures})
            size += sum(map(len, blobs)) + TEXT
            count += 1
            if size >= GROUP or len(group) >= ROWS:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    return count


def files_of(path: Path) -> list[Path]:
    """The parquet files of a folder, in order, or the one file."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def rows(path: Path) -> Iterator[tuple[int, Any, list[bytes | None]]]:
    """(row number, JSON-like row with picture paths, pictures' bytes) for every row; absent values are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    for file in files_of(path):
        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, *_row(row, number)
        except pa.ArrowException as e:
            raise DataError(f"is no readable parquet file ({e})", where=file, remedy="fetch it again") from e
        except OSError as e:
            raise DataError(f"cannot be read ({e.strerror or e})", where=file, remedy="check the path") from e


def _row(row: dict[str, Any], number: int) -> tuple[dict[str, Any], list[bytes | None]]:
    row = {key: value for key, value in row.items() if value is not None}
    blobs: list[bytes | None] = []
    for field in ("image", "images"):
        value = row.get(field)
        cells = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        if not any(isinstance(cell, dict) for cell in cells):
            continue
        names = []
        for k, cell in enumerate(cells):
            data = cell.get("bytes") if isinstance(cell, dict) else None
            blobs.append(data)
            path = cell.get("path") if isinstance(cell, dict) else None
            names.append(path or f"{number:08d}.{k}{suffix_of(data or b'')}")
        row[field] = names
    return row, blobs
