"""Which format an answer file has, by what its first row holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from visift.core.errors import VisiftError
from visift.core.files import read_json

FOLDERS = (("rater-*.csv", "visift"), ("*samples*.jsonl", "lmms-eval"), ("*/pred.json", "demon"), ("*.txt", "mme-tool"))
OURS = "visift"


def recognised(path: Path) -> str:
    """The format's name; `visift` where nothing else is recognised, so that its reader says what is wrong."""
    if path.is_dir():
        return next((name for pattern, name in FOLDERS if any(path.glob(pattern))), OURS)
    row = _first_row(path)
    if not isinstance(row, dict) or {"id", "task"} <= row.keys():
        return OURS
    if "doc" in row:
        return "lmms-eval"
    if "judge" in row and ("points" in row or "failed" in row):
        return "verdicts"
    if "tuple" in row or isinstance(row.get("score"), list):
        return "llava-reviews"
    if {"text", "prediction"} & row.keys():
        return "llava"
    graded = next(iter(row.values()), None)
    return "mm-vet-grades" if isinstance(graded, dict) and "score" in graded else OURS


def _first_row(path: Path) -> Any:
    """The first line where it is JSON, else the whole file, of a list its first element; None where it is neither."""
    try:
        with path.open(encoding="utf-8") as f:
            row = json.loads(f.readline())
    except (OSError, ValueError, RecursionError):
        try:
            row = read_json(path)
        except VisiftError:
            return None
    return row[0] if isinstance(row, list) and row else row
