"""The page of `visift probe`: shares by layer, models side by side, and pictures of where the best layer looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visift.core.files import read_json
from visift.core.types import get
from visift.report.picture_data import data_uri
from visift.report.plots import curves
from visift.report.render import write_page

KINDS = {"share": "its own region", "shuffled": "another number's region", "blank": "its own, on a blank picture"}


def write_probe_page(folders: Sequence[Path], out: Path) -> Path:
    """Write the page of some folders that `probe` wrote (probe.json) and return its path. Raises DataError for a malformed one."""
    probes = [_probe(folder) for folder in folders]
    reach = max((row[kind]["value"] for p in probes for row in p["layers"] for kind in KINDS), default=0.0)
    plots = [
        curves(
            KINDS[kind][0].upper() + KINDS[kind][1:],
            [_series(p, k, kind) for k, p in enumerate(probes)],
            "Share",
            "layer",
            reach,
        )
        for kind in KINDS
    ]
    return write_page(
        out, "probe.html.j2", title="What it looks at when it lists", probes=probes, plots=plots, kinds=KINDS
    )


def probe_folders(path: Path) -> list[Path]:
    """The folders of a `visift probe`: itself, or those in it."""
    return sorted(p.parent for p in [path / "probe.json", *path.glob("*/probe.json")] if p.exists())


def _probe(folder: Path) -> dict[str, Any]:
    where = str(folder / "probe.json")
    row = read_json(folder / "probe.json")
    layers = get(row, "layers", list, where)
    best = layers[row["best_layer"]] if layers else None
    pictures = [data_uri(folder / name) for name in get(row, "overlays", list, where, [])]
    return {**row, "best": best, "pictures": pictures, "name": folder.name}


def _series(probe: dict[str, Any], number: int, kind: str) -> tuple[str, int, list[tuple[float, float]]]:
    return probe["name"], number, [(row["layer"], row[kind]["value"]) for row in probe["layers"]]
