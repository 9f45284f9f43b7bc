"""WebDataset shards: tar files of `KEY.json` (a `messages` row) followed by `KEY.0.jpg`, `KEY.1.png`, … in order of use.

Written to a folder: `shard-00000.tar`, … of at most 1,000 rows or 512 MiB, and `index.json` with the counts, last.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from visift.core.errors import DataError
from visift.core.files import atomic, write_json
from visift.formats.pictures import Sample, suffix_of
from visift.formats.rows import json_bytes

ROWS = 1000  # rows a shard
BYTES = 512 << 20  # picture bytes a shard
LARGEST = 256 << 20  # bytes of one member; more is refused before it is read
_PICTURE = re.compile(r"^(?:(\d+)\.)?(jpg|jpeg|png|webp|gif|bmp)$", re.IGNORECASE)


def write(out: Path, samples: Iterable[Sample]) -> int:
    """Write shards into the folder `out` and return the count of rows. Same samples, same bytes."""
    (out / "index.json").unlink(missing_ok=True)  # it says that all shards are there
    stream = iter(samples)
    shards: list[dict[str, Any]] = []
    following = next(stream, None)
    while following is not None:
        name = f"shard-{len(shards):05d}.tar"
        rows = size = 0
        with atomic(out / name) as f, tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT) as tar:
            while following is not None and rows < ROWS and size < BYTES:
                row, blobs = following
                key = f"{len(shards):05d}{rows:04d}"
                _add(tar, f"{key}.json", json_bytes(row))
                for k, blob in enumerate(blobs):
                    _add(tar, f"{key}.{k}{suffix_of(blob)}", blob)
                    size += len(blob)
                rows += 1
                following = next(stream, None)
        shards.append({"name": name, "rows": rows})
    for old in out.glob("shard-?????.tar"):  # of an earlier, longer run
        if old.name not in {s["name"] for s in shards}:
            old.unlink()
    count = sum(s["rows"] for s in shards)
    write_json(out / "index.json", {"rows": count, "shards": shards})
    return count


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no owner, no time: the same rows give the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def shards_of(path: Path) -> list[Path]:
    """The tar files of a folder, in order, or the one file."""
    return sorted(path.glob("*.tar")) if path.is_dir() else [path]


def rows(path: Path) -> Iterator[tuple[int, Any | DataError, list[bytes | None]]]:
    """(row number, JSON row, pictures' bytes) for every sample. A sample without JSON comes as a DataError.

    Nothing is unpacked to disk by its name in the archive. Raises DataError for a file that is no tar.
    """
    number = 0
    for shard in shards_of(path):
        try:
            with tarfile.open(shard, mode="r|") as tar:
                for key, members in _samples(tar, shard):
                    number += 1
                    yield _sample(number, f"{shard}: {key}", members)
        except (tarfile.TarError, EOFError) as e:
            raise DataError(f"is no readable tar file ({e})", where=shard, remedy="fetch it again") from e
        except OSError as e:
            raise DataError(f"cannot be read ({e.strerror or e})", where=shard, remedy="check the path") from e


def _samples(tar: tarfile.TarFile, shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Members that share a name up to the first dot of its last part belong together; they follow each other."""
    key = ""
    members: dict[str, bytes] = {}
    for member in tar:
        if not member.isfile():
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if member.size > LARGEST:
            raise DataError(f"member {member.name!r} is larger than {LARGEST} bytes", where=shard)
        if (found := f"{folder}/{stem}") != key and members:
            yield key, members
            members = {}
        key = found
        content = tar.extractfile(member)
        members[extension] = content.read() if content else b""
    if members:
        yield key, members


def _sample(number: int, where: str, members: dict[str, bytes]) -> tuple[int, Any | DataError, list[bytes | None]]:
    if "json" not in members:
        return number, DataError("the sample has no JSON", where=where, remedy="captions alone are no conversation"), []
    try:
        row = json.loads(members["json"])
    except (ValueError, RecursionError) as e:
        return number, DataError(f"the JSON of the sample is not valid ({e})", where=where), []
    found = [(int(m[1] or 0), data) for name, data in members.items() if (m := _PICTURE.match(name))]
    return number, row, [data for _, data in sorted(found, key=lambda pair: pair[0])]
