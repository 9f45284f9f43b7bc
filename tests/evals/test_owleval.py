import csv
from pathlib import Path

import pytest

from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, write_jsonl
from visift.core.types import Answer
from visift.evals.score import score
from visift.evals.task import Files
from visift.evals.tasks import owleval


def made(tmp_path: Path, raters: int = 3) -> tuple[Path, list]:
    write_jsonl(tmp_path / "q.jsonl", [{"question_id": k, "image": f"{k}.jpg", "question": "Why?"} for k in range(4)])
    asked = owleval.ask(Files(Path(), questions=tmp_path / "q.jsonl"))
    for model in ("good", "fair", "bad"):
        rows = (Answer(q.id, "owleval", q.images, q.asked, f"={model} on {q.id}", "stop").to_json() for q in asked)
        write_jsonl(tmp_path / f"{model}.jsonl", rows)
    answers = {m: tmp_path / f"{m}.jsonl" for m in ("good", "fair", "bad")}
    owleval.sheets(answers, asked, tmp_path / "sheets", raters=raters)
    return tmp_path / "sheets", asked


def rate(sheets: Path, ranks: dict[str, str]) -> None:
    """Raters rank by the answer's text."""
    for path in sheets.glob("rater-*.csv"):
        rows = list(csv.reader(path.open(newline="")))
        for row in rows[1:]:
            row[6:] = [ranks[next(m for m in ranks if m in answer)] for answer in row[3:6]]
        with path.open("w", newline="") as f:
            csv.writer(f).writerows(rows)


def test_sheets_are_blind_and_ranks_come_back(tmp_path):
    sheets, _ = made(tmp_path)
    rows = [r for p in sorted(sheets.glob("*.csv")) for r in list(csv.reader(p.open(newline="")))[1:]]
    assert len(rows) == 12 and len({tuple(r[3:6]) for r in rows}) > 4  # orders differ between questions and raters
    assert all(cell.startswith("'=") for r in rows for cell in r[3:6])  # no spreadsheet runs an answer
    assert {tuple(sorted(order)) for order in read_json(sheets / "key.json").values()} == {("bad", "fair", "good")}
    rate(sheets, {"good": "5", "fair": "3", "bad": "1"})
    result = score("owleval", sheets)
    assert {m: r["rank"]["value"] for m, r in result["groups"].items()} == {"good": 5, "fair": 3, "bad": 1}
    assert result["groups"]["good"]["rank"]["n"] == 12 and result["groups"]["good"]["rank"]["clusters"] == 4


def test_unfilled_and_wrong_ranks(tmp_path):
    sheets, asked = made(tmp_path, raters=1)
    rate(sheets, {"good": "5", "fair": "", "bad": "1"})
    result = score("owleval", sheets)
    assert result["counts"]["unscored"] == {"not ranked": 4} and result["metrics"]["rank"]["value"] is None
    rate(sheets, {"good": "6", "fair": "1", "bad": "1"})
    with pytest.raises(DataError, match=r"rater-1\.csv:2: rank '6'"):
        score("owleval", sheets)
    with pytest.raises(UsageError, match="between 2 and 10"):
        owleval.sheets({"good": tmp_path / "good.jsonl"}, asked, tmp_path / "s", raters=1)
