"""`visift check`: every fault of a dataset of ours or of a foreign file, with row, field and fix, in one stream."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset, content_sha256
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_file, under
from visift.core.progress import progress
from visift.core.seeds import seed_of
from visift.core.types import Picture, TaggedPicture
from visift.curate.forms import Audit
from visift.curate.row_faults import Fault, Finding, Outline, outline_conversation, outline_faults, outline_row
from visift.formats import EMBEDDING, FORMATS, decode_row, format_of_row, raw_rows, recognise

PIXELS = 100_000_000  # more is refused unread: a picture of some KB can hold gigabytes


@dataclass(slots=True)
class Report:
    """Findings in a stream: the first of each kind are kept, all are counted."""

    keep: int
    findings: list[Finding] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)  # (severity, kind) -> findings
    rows: int = 0
    pictures: int = 0
    audit: Audit = field(default_factory=Audit)
    ids: array[int] = field(default_factory=lambda: array("Q"))  # a hash per row: 8 MB for a million

    def add(self, row: int, id: str, fault: Fault, severity: str = "error") -> None:
        kind = fault[0]
        count = self.counts[severity, kind] = self.counts.get((severity, kind), 0) + 1
        if count <= self.keep:
            self.findings.append(Finding(row, id, *fault, severity=severity))

    def see(self, row: int, id: str) -> None:
        self.ids.append(seed_of(id) if id else seed_of("row without id", row))

    def total(self, severity: str) -> int:
        return sum(n for (s, _), n in self.counts.items() if s == severity)


def check(
    path: Path,
    *,
    format: str | None = None,
    image_root: Path | None = None,
    roots: Mapping[str, str] | None = None,
    max_tokens: int = 4096,
    keep: int = 20,
) -> dict[str, Any]:
    """Look at every row of `path` and return what was found.

    format      one of FORMATS or `visift`; recognised when None
    image_root  folder of a foreign file's pictures: with it, every picture must be there and be a picture
    roots       image roots of a dataset of ours, by name
    max_tokens  text longer than this is reported (4 bytes count as a token)
    keep        findings listed of each kind; all are counted

    Returns {"path", "format", "rows", "pictures", "pictures_opened", "errors", "warnings", "faults": [{"severity",
    "kind", "count"}], "findings": [{"row", "id", "kind", "field", "fault", "fix", "severity"}], "forms": the form audit}.
    """
    path = Path(path)
    name = format or recognise(path)
    if name not in (*FORMATS, "visift"):
        raise UsageError(f"--from {name!r} is not one of {', '.join(FORMATS)}, visift")
    report = Report(keep)
    if name == "visift":
        _check_ours(Dataset(path, roots), report, max_tokens)
    else:
        _check_foreign(path, name, image_root, report, max_tokens)
    _check_ids(report)
    return {
        "path": str(path), "format": name, "rows": report.rows, "pictures": report.pictures,
        "pictures_opened": name == "visift" or name in EMBEDDING or image_root is not None,
        "errors": report.total("error"), "warnings": report.total("warning"),
        "faults": [{"severity": s, "kind": k, "count": n} for (s, k), n in sorted(report.counts.items())],
        "findings": [asdict(f) for f in sorted(report.findings, key=lambda f: (f.severity, f.row))],
        "forms": report.audit.report(),
    }  # fmt: skip


def _check_foreign(path: Path, format: str, image_root: Path | None, report: Report, max_tokens: int) -> None:
    looked = _picture_checker(lambda p: under(image_root, p)) if image_root else None
    with progress("check", None, "rows") as tick:
        try:
            for number, row, blobs in raw_rows(path, format):
                tick(1)
                report.rows += 1
                if isinstance(row, DataError):
                    report.see(number, "")
                    report.add(number, "", ("json", "", row.what, row.remedy))
                    continue
                out = _check_row(number, row, format, report, max_tokens)
                for k, blob in enumerate(blobs or []):
                    if fault := _bytes_fault(blob):
                        report.add(number, out.id, ("picture", f"images[{k}]", *fault))
                for p in out.paths if looked else ():
                    if looked and (fault := looked(p)):
                        report.add(number, out.id, ("picture", p, *fault))
        except DataError as e:  # nothing after this can be read
            report.add(report.rows + 1, "", ("json", "", str(e), e.remedy))


def _check_row(number: int, row: Any, format: str, report: Report, max_tokens: int) -> Outline:
    name = (format_of_row(row) or "messages") if format in EMBEDDING else format
    faults: list[Fault] = []
    out = outline_row(row, name, faults)
    found = [(fault, "error") for fault in faults] + list(outline_faults(out, max_tokens))
    if not any(severity == "error" for _, severity in found):
        try:  # whatever the outline did not show
            decode_row(row, number, "", format)
        except DataError as e:
            found.append((("row", "", e.what, e.remedy), "error"))
    for fault, severity in found:
        report.add(number, out.id, fault, severity)
    report.pictures += len(out.paths)
    report.audit.add(out.spoken("user"), out.spoken("assistant"))
    report.see(number, out.id)
    return out


def _check_ours(dataset: Dataset, report: Report, max_tokens: int) -> None:
    if dataset.card.get("content_sha256") != content_sha256(dataset.path):
        report.add(
            0,
            "",
            (
                "content",
                "content_sha256",
                "the files are not those that the card was written for",
                "make the dataset again",
            ),
        )
    looked = _picture_checker(lambda p: dataset.picture_path(Picture(p)))
    with progress("check", len(dataset), "conversations") as tick:
        for number, c in enumerate(dataset, 1):
            tick(1)
            report.rows += 1
            out = outline_conversation(c)
            for fault, severity in outline_faults(out, max_tokens):
                report.add(number, c.id, fault, severity)
            for picture in c.images:
                if found := looked(picture.path, picture.sha256, (picture.width, picture.height)):
                    report.add(number, c.id, ("picture", picture.path, *found))
            report.pictures += len(c.images)
            report.audit.add(out.spoken("user"), out.spoken("assistant"), [t.form for t in c.turns])
            report.see(number, c.id)
    if report.rows != len(dataset):
        report.add(
            0,
            "",
            (
                "content",
                "counts",
                f"{report.rows} conversations, the card says {len(dataset)}",
                "make the dataset again",
            ),
        )
    for number, tagged in enumerate(dataset.tagged(), 1):
        for mismatch in _manifest_faults(tagged):
            report.add(number, tagged.image, ("manifest", *mismatch))
        if found := looked(tagged.image, tagged.sha256, (tagged.width, tagged.height)):
            report.add(number, tagged.image, ("picture", tagged.image, *found))


def _manifest_faults(tagged: TaggedPicture) -> list[tuple[str, str, str]]:
    """Numbers 1..N, disjoint regions, centres inside, areas as stated."""
    import numpy as np
    from pycocotools import mask as coco_mask

    again = "draw the picture again: the manifest is not of this partition"
    numbers = [m.number for m in tagged.marks]
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        return [("marks", f"numbers are {numbers}, not 1 to {len(numbers)}", again)]
    if not numbers:
        return []
    faults = []
    masks = [{"size": m.rle["size"], "counts": str(m.rle["counts"]).encode()} for m in tagged.marks]
    areas = [int(a) for a in coco_mask.area(masks)]
    for m, rle, area in zip(tagged.marks, masks, areas, strict=True):
        if rle["size"] != [tagged.height, tagged.width]:
            return [(f"mark {m.number}", f"mask is of size {rle['size']}", again)]
        if area != m.area:
            faults.append((f"mark {m.number}", f"area is {area}, stated {m.area}", again))
        point = coco_mask.frPyObjects(np.array([[*m.center, 1, 1]], float), tagged.height, tagged.width)
        if int(coco_mask.area(coco_mask.merge([rle, *point], intersect=True))) != 1:
            faults.append((f"mark {m.number}", "its centre lies outside its region", again))
    if int(coco_mask.area(coco_mask.merge(masks))) != sum(areas):
        faults.append(("marks", "regions overlap", again))
    return faults


def _picture_checker(locate: Callable[[str], Path]) -> Callable[..., tuple[str, str] | None]:
    """path -> (fault, fix) or None; remembers the last ones, since rows about one picture follow each other."""

    @lru_cache(maxsize=1 << 14)
    def look(path: str, sha256: str = "", size: tuple[int, int] = (0, 0)) -> tuple[str, str] | None:
        try:
            file = locate(path)
        except DataError as e:
            return e.what, e.remedy
        if not file.is_file():
            return "the file is missing", "check --image-root"
        if fault := _file_fault(file, size):
            return fault
        if sha256 and sha256_file(file) != sha256:
            return "the file is not the one that the row was made for (sha256)", "fetch it again"
        return None

    return look


def _file_fault(file: Any, size: tuple[int, int] = (0, 0)) -> tuple[str, str] | None:
    """Reads the header alone. `size` (width, height) may be that of the picture as stored or upright."""
    import warnings

    from PIL import Image

    from visift.sources.pictures import upright_size

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broken EXIF
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                if image.width * image.height > PIXELS:
                    return f"{image.width}x{image.height} pixels are too many", "scale it down"
                if all(size) and image.size != size and upright_size(image) != size:
                    return f"is {image.width}x{image.height}, the row says {size[0]}x{size[1]}", "fetch it again"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return "has too many pixels", "scale it down"
    except (OSError, SyntaxError, ValueError):
        return "the file is no picture", "replace it"
    return None


def _bytes_fault(blob: bytes | None) -> tuple[str, str] | None:
    import io

    if blob is None:
        return "the row holds no bytes for it", "write the file again"
    return _file_fault(io.BytesIO(blob))


def _check_ids(report: Report) -> None:
    import numpy as np

    hashes = np.frombuffer(report.ids, dtype=np.uint64) if report.ids else np.empty(0, np.uint64)
    values, counts = np.unique(hashes, return_counts=True)
    for value in values[counts > 1][: report.keep]:
        rows = np.flatnonzero(hashes == value)[:2] + 1
        fault = ("duplicate id", "id", f"the same id as row {rows[0]}", "give every row its own id")
        report.add(int(rows[1]), "", fault, "warning")
    if extra := int((counts > 1).sum()) - min(int((counts > 1).sum()), report.keep):
        report.counts["warning", "duplicate id"] += extra
