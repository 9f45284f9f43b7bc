"""The pages: what the files say is on them, nothing a model wrote is alive, nothing is loaded, they fit a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from fake_run import HOSTILE, item_rows, make_run
from typer.testing import CliRunner

from visift.cli.report import report as report_command
from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, write_json, write_jsonl
from visift.report import write_report, write_score_report
from visift.report.pages import write_pages
from visift.report.plots import Axis, axis_for, curves, difference_blocks, number, score_block
from visift.report.run_folder import Run
from visift.report.scenes import scene_groups

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
VOID = {"meta", "img", "col", "br", "input", "link", "hr"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("report") / "run", scenes=12)


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text()


class Tags(HTMLParser):
    """Every start tag with its attributes; raises where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_nests_loads_nothing_and_runs_nothing(page: str) -> None:
    tags = Tags(page)
    names = {name for name, _ in tags.found}
    assert not names & {"script", "link", "iframe", "object", "embed", "form"}
    for name, attributes in tags.found:
        assert not [a for a in attributes if a.startswith("on")], name
        for key in ("src", "href"):
            if value := attributes.get(key):
                assert value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#")), value[:80]
    assert "url(" not in page and "@import" not in page


def test_what_a_model_wrote_is_shown_and_not_alive(page: str) -> None:
    assert HOSTILE not in page
    assert html.escape(HOSTILE).replace("&quot;", "&#34;") in page


def test_hostile_names_in_the_summary_are_escaped(run: Path, tmp_path: Path) -> None:
    summary = read_json(run / "summary.json")
    summary["title"] = HOSTILE
    summary["verdicts"][0] |= {"text": HOSTILE, "why": HOSTILE, "claim": HOSTILE}
    summary["scores"][HOSTILE] = {HOSTILE: summary["scores"]["base"]["colour"]}
    summary["recipe"] = {HOSTILE: HOSTILE}
    write_json(tmp_path / "summary.json", summary)
    found = {name for name, _ in Tags(write_report(tmp_path).read_text()).found}
    assert "script" not in found and "img" not in found


def test_every_score_and_difference_stands_on_the_page(run: Path, page: str) -> None:
    summary, text = read_json(run / "summary.json"), "".join(Tags(page).text)
    for tasks in summary["scores"].values():
        for score in tasks.values():
            metric = score["metrics"][score["headline"]]
            assert f"{number(metric['value'])} [{number(metric['low'])}, {number(metric['high'])}]" in text
    for row in summary["comparisons"]:
        assert f"{number(row['delta'], True)} [{number(row['low'], True)}, {number(row['high'], True)}]" in text
    for row in summary["verdicts"]:
        assert row["text"] in text and row["verdict"].partition(":")[0] in text
    assert "base at floor" in text and "1 supported, 1 undecided." in text
    assert re.search(r"Kept: what the base could do before\s*1 not supported\.", text)  # a kept skill is no claim
    assert "listing − control, Tag listing: +" in text and "listing − control, Counting (may fall by 0.05): " in text


def test_lengths_of_answers_stand_on_the_page_where_they_were_measured(run: Path, page: str, tmp_path: Path) -> None:
    assert 'id="lengths"' not in page
    found = {"a": 9.5, "b": 2.25, "difference": -7.25, "low": -8.0, "high": -6.5, "p": 0.001, "method": "paired t"}
    row = {"model": "one-form", "task": "caption-after-short", "than_task": "caption", "n": 50, "clusters": 50}
    summary = read_json(run / "summary.json") | {"lengths": [row | {"metrics": {"words": found, "short": found}}]}
    write_json(tmp_path / "summary.json", summary)
    text = "".join(Tags(write_report(tmp_path).read_text()).text)
    assert "one-form: caption-after-short (2.2) − caption (9.5)" in text and f"{number(-7.25, True)}" in text


def test_marks_of_a_scene_agree_with_the_score(run: Path) -> None:
    """Right and wrong per number come from items.jsonl: their share must be the score it states."""
    groups = scene_groups(Run(run))
    cards = [card for group in groups for card in group.cards]
    assert len(cards) >= 4
    for listing in (x for card in cards for x in card.listings):
        verdicts = [cell.right for cell in listing.cells.values()]
        assert None not in verdicts
        assert listing.score == pytest.approx(sum(map(bool, verdicts)) / len(verdicts))
    assert all(x.score == 1 for card in groups[0].cards for x in card.listings if x.model == "listing")
    assert all(x.score < 1 for card in groups[1].cards for x in card.listings if x.model == "listing")


def test_right_cells_say_what_the_truth_says(run: Path) -> None:
    cells = [
        (cell, card.truth[k]) for group in scene_groups(Run(run)) for card in group.cards
        for listing in card.listings for k, cell in listing.cells.items()
    ]  # fmt: skip
    assert {cell.right for cell, _ in cells} == {True, False}
    assert all(cell.right == (cell.text == truth) for cell, truth in cells)


def test_disagreements_are_counted_right(run: Path, page: str) -> None:
    control, listing = ({r["id"]: r["score"] for r in item_rows(run, m, "colour")} for m in ("control", "listing"))
    only_a = sum(control[i] > listing[i] for i in control)
    only_b = sum(listing[i] > control[i] for i in control)
    text = " ".join("".join(Tags(page).text).split())
    assert only_a + only_b > 0
    assert (
        f"Colour {only_a + only_b} of {len(control)} differ: control better on {only_a}, listing better on {only_b}"
        in text
    )


def test_same_files_same_bytes(run: Path, page: str, tmp_path: Path) -> None:
    assert write_report(run, tmp_path / "again.html").read_text() == page


def test_a_bare_summary_says_what_is_absent(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"scores": {}})
    text = "".join(Tags(write_report(tmp_path).read_text()).text)
    for absent in (
        "no verdicts",
        "no tag-listing answers",
        "compares nothing",
        "no training log",
        "Not part of this run",
    ):
        assert absent in text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scores": []}, "scores"),
        ({"scores": {"base": {"pope": {"metrics": {}}}}}, "no metric"),
        ({"scores": {"base": {"pope": {"metrics": {"f1": {"value": "high"}}}}}}, "'value' is 'high'"),
        ({"scores": {}, "verdicts": [{"claim": "A1", "text": "x"}]}, "A1"),
        ({"scores": {}, "comparisons": ["a"]}, "comparisons"),
        ({"scores": {}, "comparisons": [{"task": "pope", "metric": "f1", "a": "x"}]}, "'b' is missing"),
    ],
)
def test_a_malformed_summary_is_named(tmp_path: Path, change: dict, named: str) -> None:
    write_json(tmp_path / "summary.json", change)
    with pytest.raises(DataError, match=re.escape(named)):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_malformed_log_or_item_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"scores": {}})
    write_jsonl(tmp_path / "models" / "listing" / "train_log.jsonl", [{"step": 1, "loss": 2.0}, {"step": 2}])
    with pytest.raises(DataError, match=r"train_log\.jsonl:2"):
        write_report(tmp_path)


def test_a_log_with_steps_taken_twice_shows_the_later_line(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"scores": {}})
    rows = [
        {"step": 50, "text": 3.0, "dense": 1.0},
        {"step": 100, "text": 9.0, "dense": 1.0},
        {"step": 100, "text": 2.0, "dense": 0.5},
    ]
    write_jsonl(tmp_path / "models" / "base" / "pretrain_log.jsonl", rows)
    assert [(r["step"], r["loss"], r["sources"]["dense"]) for r in Run(tmp_path).train_logs["base"]] == [
        (50, 3.0, 1.0),
        (100, 2.0, 0.5),
    ]
    assert "ends at 2.000" in write_report(tmp_path).read_text()


def test_withheld_scores_are_shown_as_withheld(tmp_path: Path) -> None:
    metric = {
        "value": None,
        "low": None,
        "high": None,
        "n": 90,
        "clusters": 30,
        "method": "",
        "withheld": "5 of 90 unscored",
    }
    write_json(tmp_path / "summary.json", {"scores": {"base": {"pope": {"headline": "f1", "metrics": {"f1": metric}}}}})
    text = "".join(Tags(write_report(tmp_path).read_text()).text)
    assert "withheld" in text and "5 of 90 unscored" in text


def test_score_folders_side_by_side(run: Path, tmp_path: Path) -> None:
    folders = [run / "scores" / "control", run / "scores" / "listing"]
    text = "".join(Tags(write_score_report(folders, tmp_path / "scores.html").read_text()).text)
    row = next(
        r for r in read_json(run / "summary.json")["comparisons"] if r["task"] == "colour" and r["a"] == "control"
    )
    assert number(row["delta"], True) in text  # the paired difference, by the one comparison there is
    assert "listing − control" in text and "Existence: adversarial" in text


def test_score_folders_of_one_task_are_columns(run: Path, tmp_path: Path) -> None:
    for model in ("base", "listing"):
        shutil.copytree(run / "scores" / model / "colour", tmp_path / f"colour-{model}")
    text = write_score_report([tmp_path / "colour-base", tmp_path / "colour-listing"], tmp_path / "s.html").read_text()
    assert "colour-listing − colour-base" in text


def test_disagreements_of_score_folders_show_question_picture_truth_and_both_answers(run: Path, tmp_path: Path) -> None:
    folders = [run / "scores" / m / "colour" for m in ("control", "listing")]
    text = write_score_report(folders, tmp_path / "s.html").read_text()
    a, b = ({r["id"]: r for r in item_rows(run, m, "colour")} for m in ("control", "listing"))
    row = next(a[i] for i in a if a[i]["score"] > b[i]["score"])
    for shown in (row["asked"], row["truth"], row["said"], b[row["id"]]["said"]):
        assert html.escape(shown).replace("&#x27;", "&#39;") in text
    assert text.count("data:image/") >= 4


def test_pictures_of_published_questions_are_found_in_a_folder(run: Path, tmp_path: Path) -> None:
    """A score that names no dataset of ours: its items name the pictures, `--images` says where they lie."""
    for model in ("control", "listing"):
        folder = tmp_path / model
        shutil.copytree(run / "scores" / model / "colour", folder)
        write_json(folder / "score.json", read_json(folder / "score.json") | {"recipe": {}})
    folders, pictures = [tmp_path / "control", tmp_path / "listing"], run / "questions" / "colour" / "images"
    assert "data:image/" not in write_score_report(folders, tmp_path / "s.html").read_text()
    assert "data:image/" in write_score_report(folders, tmp_path / "s.html", pictures).read_text()


def test_folders_that_share_no_question_are_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "scores" / "base" / "colour", tmp_path / "x" / "colour")
    shutil.copytree(run / "scores" / "listing" / "colour", tmp_path / "y" / "colour")
    rows = [{**r, "id": f"other-{r['id']}"} for r in item_rows(run, "listing", "colour")]
    write_jsonl(tmp_path / "y" / "colour" / "items.jsonl", rows)
    text = "".join(Tags(write_score_report([tmp_path / "x", tmp_path / "y"], tmp_path / "s.html").read_text()).text)
    assert "y is not compared with x: no question was scored in both" in text


def test_which_page_a_folder_gets(run: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"no score\.json"):
        write_pages([empty])
    with pytest.raises(UsageError, match="no folder"):
        write_pages([tmp_path / "absent"])
    with pytest.raises(UsageError, match="one page"):
        write_pages([run, run / "scores"], tmp_path / "x.html")
    shutil.copytree(run / "scores" / "base" / "colour", tmp_path / "colour")
    assert write_pages([tmp_path / "colour"]) == [tmp_path / "colour" / "report.html"]


def test_the_command(run: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(report_command)
    result = CliRunner().invoke(app, [str(run), "--out", str(tmp_path / "p.html"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"pages": [str(tmp_path / "p.html")]}
    assert (tmp_path / "p.html").stat().st_size > 10_000
    assert CliRunner().invoke(app, ["--help"]).stdout.count("Example:") == 1


def test_axes_and_numbers() -> None:
    assert axis_for([0.2, 0.9]) == Axis(0.0, 1.0)
    assert axis_for([1500.0, 300.0]) == Axis(0.0, 1500.0)
    assert axis_for([-0.04, 0.06], around_zero=True).at(0.0) == 50
    assert Axis(0.0, 1.0).ticks == [
        (0.0, "0"),
        (20.0, "0.2"),
        (40.0, "0.4"),
        (60.0, "0.6"),
        (80.0, "0.8"),
        (100.0, "1"),
    ]
    assert Axis(-1.0, 1.0).ticks[0] == (0.0, "−1")
    assert Axis(0.0, 1.0).at(7.0) == 100
    assert [number(v) for v in (0.8424, -0.0001, 1531.27)] == ["0.842", "0.000", "1531.3"]
    assert number(-0.5, True) == "−0.500" and number(0.5, True) == "+0.500"


def test_bars_stand_where_the_numbers_say() -> None:
    metric = {"value": 0.5, "low": 0.4, "high": 0.7}
    row = score_block("pope", "f1", [("base", 0, {"f1": metric})]).rows[0]
    assert (row.low, row.at, row.high) == (40, 50, 70)
    rows = [
        {"task": "pope", "metric": "f1", "a": "x", "b": "y", "delta": 0.1, "low": low, "high": 0.2}
        for low in (-0.2, 0.05)
    ]
    over, clear = difference_blocks(rows, {"y": 1}, ["pope"])[0].rows
    assert (over.low, over.at, over.high) == (0, 75, 100)
    assert over.hollow and not clear.hollow


def test_long_logs_are_thinned_without_losing_their_ends() -> None:
    plot = curves("t", [("a", 0, [(float(k), 2.0 if k <= 500 else 1.0) for k in range(1, 1001)])])
    points = [tuple(map(float, p.split(","))) for p in plot.lines[0]["points"].split()]
    assert len(points) <= 160 and plot.x.high == 1000
    assert plot.every == 7 and plot.lines[0]["last"] == "1.000"
    assert points[0][1] == 0 and points[-1][1] == 50  # 2.0 is the top of the axis, 1.0 its middle


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["run", "scores"])
def test_the_page_fits_the_window(run: Path, tmp_path: Path, width: int, kind: str) -> None:
    """Nothing is wider than the window, all details open; and the screenshot is not blank."""
    source = (
        write_report(run, tmp_path / "r.html")
        if kind == "run"
        else write_score_report([run / "scores"], tmp_path / "s.html")
    )
    text = source.read_text().replace("<details", "<details open")
    probe = "<script>onload = () => parent.postMessage([document.documentElement.scrollWidth, innerWidth], '*')</script></body>"
    (tmp_path / "page.html").write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", probe))
    wrapper = f"""<body style="margin:0"><pre id="out">waiting</pre><iframe src="page.html" style="border:0;width:{width}px;height:1200px"></iframe>
        <script>onmessage = e => document.getElementById("out").textContent = e.data.join(" ")</script></body>"""
    (tmp_path / "wrapper.html").write_text(wrapper)
    dom = _browse(tmp_path, "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "wrapper.html").as_uri())
    seen = re.search(r'<pre id="out">(\d+) (\d+)</pre>', dom)
    assert seen, dom[:300]
    assert int(seen[2]) == width
    assert int(seen[1]) <= width
    shot = tmp_path / "shot.png"
    _browse(tmp_path, f"--screenshot={shot}", f"--window-size={max(width, 500)},1200", source.as_uri())
    from PIL import Image

    with Image.open(shot) as image:
        assert len(image.convert("RGB").resize((200, 200)).getcolors(40_000) or []) > 50


def _browse(tmp_path: Path, *arguments: str) -> str:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += [
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--force-device-scale-factor=1",
    ]
    done = subprocess.run([BROWSER, *flags, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_importing_the_command_is_light() -> None:
    code = "import sys, visift.cli.report; print([m for m in ('torch', 'transformers', 'jinja2', 'PIL', 'numpy') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_groups_show_the_metric_that_they_have(tmp_path: Path) -> None:
    """MME's headline is not a metric of its subtasks; theirs is `score`, in points."""

    def metric(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 10, "high": value + 10, "n": 60, "clusters": 30}

    groups = {"count": {"accuracy": {**metric(0.5), "low": 0.4, "high": 0.6}, "score": metric(150.0)}}
    score = {"task": "mme", "headline": "perception", "metrics": {"perception": metric(1500.0)}, "groups": groups}
    write_json(tmp_path / "a" / "mme" / "score.json", score)
    text = "".join(Tags(write_score_report([tmp_path / "a"], tmp_path / "s.html").read_text()).text)
    assert "MME: count" in text and "150.0 [140.0, 160.0]" in text and "score, count" in text
    assert "1500.0 [1490.0, 1510.0]" in text
