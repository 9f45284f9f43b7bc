"""Which page a folder gets: a run's own, or the shared one of all score folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visift.core.errors import UsageError
from visift.report.probe_page import probe_folders, write_probe_page
from visift.report.run_page import write_report
from visift.report.score_page import write_score_report


def write_pages(folders: Sequence[Path], out: Path | None = None, images: Path | None = None) -> list[Path]:
    """A page for each run folder (it has a summary.json) and for each folder of probes, one for the scores of all other folders; returns
    their paths.

    Raises UsageError for a folder with none of them, and when `out` would name two pages.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("is no folder", where=folder, remedy="name run folders or score folders")
    runs = [f for f in folders if (f / "summary.json").exists()]
    probes = {f: found for f in folders if f not in runs and (found := probe_folders(f))}
    scores = [f for f in folders if f not in runs and f not in probes]
    if out is not None and len(runs) + len(probes) + bool(scores) > 1:
        raise UsageError(
            "--out names one page, these folders make several",
            where=out,
            remedy="leave --out away, or report them one by one",
        )
    pages = [write_report(run, out) for run in runs]
    pages += [write_probe_page(found, out or folder / "report.html") for folder, found in probes.items()]
    if scores:
        pages.append(
            write_score_report(scores, out or (scores[0] if len(scores) == 1 else Path()) / "report.html", images)
        )
    return pages
