"""What every command promises: light to start, one line for what went wrong, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from PIL import Image

from visift.cli import main as entry


def run(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `visift WORDS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["visift", *map(str, words)])
    try:
        entry.main()
        code = 0
    except SystemExit as e:
        code = int(e.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def complaint(err: str) -> str:
    """The one line that says what went wrong; progress lines may stand before it."""
    lines = [x for x in err.splitlines() if x.startswith("visift: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def photos(tmp_path):
    """A COCO folder with a good picture, one that is no picture, and one that is missing."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (200, 150), (90, 120, 60)).save(folder / "good.jpg")
    (folder / "text.jpg").write_text("I am no picture")
    images = [
        {"id": k, "file_name": name, "width": 200, "height": 150}
        for k, name in enumerate(("good.jpg", "text.jpg", "gone.jpg"), 1)
    ]
    square = [[20, 20, 160, 20, 160, 120, 20, 120]]
    annotations = [
        {
            "id": k,
            "image_id": k,
            "category_id": 1,
            "segmentation": square,
            "bbox": [20, 20, 140, 100],
            "area": 14000,
            "iscrowd": 0,
        }
        for k in (1, 2, 3)
    ]
    file = tmp_path / "instances.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]})
    )
    return folder, file


def test_help_is_light():
    code = "import sys, visift, visift.cli.main as m; print([x for x in ('torch', 'transformers', 'scipy', 'PIL') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_explains_itself_with_an_example(monkeypatch, capsys):
    for command in entry.app.registered_commands:
        name = command.callback.__name__
        code, out, _ = run(monkeypatch, capsys, name, "--help")
        assert code == 0
        assert f"visift {name}" in out.replace("\n", " "), name


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["check", "no/such/place"], 1, "no/such/place"),
        (["run", "no-recipe.yaml"], 2, "no-recipe.yaml"),
        (["score", "pope", "--answers", "none.jsonl", "--questions", "none"], 1, "none"),
        (["synth", "poetry", "--tabletop", "2", "--out", "x"], 2, "poetry"),
        (["synth", "listing", "--tabletop", "0", "--out", "x"], 2, "tabletop"),
        (["convert", "nothing.json", "--to", "llava", "--out", "y.json"], 1, "nothing.json"),
        (["compare", "a", "b"], 1, "a/score.json"),
        (["claims", "Z1"], 2, "Z1"),
        (["mark", "x/0001.jpg", "y/0001.jpg", "--out", "z"], 2, "several folders"),
        (
            ["score", "tag-listing", "--answers", "a", "--rules", "foo"],
            2,
            "rules 'foo' are unknown. one of: published, fixed",
        ),
    ],
)
def test_wrong_paths_and_names(monkeypatch, capsys, tmp_path, words, code, named):
    monkeypatch.chdir(tmp_path)
    got, _, err = run(monkeypatch, capsys, *words)
    assert got == code
    assert named in complaint(err)


def test_claims_are_one_json_object(monkeypatch, capsys, tmp_path):
    code, out, _ = run(monkeypatch, capsys, "claims", "--json")
    assert code == 0 and {"A1", "B1", "C1"} <= {row["name"] for row in json.loads(out)["claims"]}
    code, out, _ = run(monkeypatch, capsys, "claims", "A2", "--out", tmp_path, "--json")
    (row,) = json.loads(out)["claims"]
    assert code == 0 and row["claim"] == "A2" and row["verdict"] == "undecided: out of reach"


@pytest.mark.parametrize("option", ["--max-new-tokens=0", "--batch-size=0", "--limit=-1", "--threads=-1"])
def test_numbers_that_make_no_sense_are_named_before_anything_is_read(monkeypatch, capsys, option):
    code, _, err = run(monkeypatch, capsys, "answer", "pope", "--model=m", "--questions=q", "--out=o", option)
    assert code == 2 and f"Invalid value for '{option.partition('=')[0]}'" in err


@pytest.mark.parametrize("text", ["{}", "[]", '{"task": 3}'])
def test_a_score_that_is_none_is_named(monkeypatch, capsys, tmp_path, text):
    (tmp_path / "score.json").write_text(text)
    code, _, err = run(monkeypatch, capsys, "compare", tmp_path, tmp_path)
    assert code == 1
    assert "score.json: is no score" in complaint(err)


@pytest.mark.parametrize("text", ["{}", "[]", '{"images": 3}', "not json", '{"a": {"images": []}}'])
def test_an_annotation_file_that_is_no_coco(monkeypatch, capsys, tmp_path, photos, text):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text)
    code, _, err = run(
        monkeypatch, capsys, "synth", "listing", "--images", photos[0], "--annotations", wrong, "--out", tmp_path / "o"
    )
    assert code in (1, 2)
    assert "wrong.json" in complaint(err)


def test_pictures_that_are_none_are_rejected_with_a_reason_and_the_rest_is_made(monkeypatch, capsys, tmp_path, photos):
    out = tmp_path / "o"
    code, printed, _ = run(
        monkeypatch,
        capsys,
        "synth",
        "listing",
        "--images",
        photos[0],
        "--annotations",
        photos[1],
        "--out",
        out,
        "--json",
    )
    assert code == 0
    assert json.loads(printed)["counts"]["conversations"] == 1
    rejected = [json.loads(x) for x in (out / "rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == 2
    assert all(r["reason"] for r in rejected)


def test_a_recipe_with_an_unknown_key(monkeypatch, capsys, tmp_path):
    (tmp_path / "r.yaml").write_text("title: x\ndatas: {}\n")
    code, _, err = run(monkeypatch, capsys, "run", tmp_path / "r.yaml", "--out", tmp_path / "o")
    assert code == 2
    assert "r.yaml: datas: unknown key" in complaint(err)


@pytest.mark.integration
def test_a_model_folder_without_a_tokenizer(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llava"}')
    assert run(monkeypatch, capsys, "synth", "listing", "--tabletop", 2, "--out", tmp_path / "d")[0] == 0
    code, _, err = run(
        monkeypatch, capsys, "train", "--model", folder, "--data", tmp_path / "d", "--out", tmp_path / "o", "steps=1"
    )
    assert code == 1
    assert "tokenizer" in complaint(err)


@pytest.mark.integration
def test_a_task_and_a_model_that_nobody_knows(monkeypatch, capsys, tmp_path):
    """One line, and nothing is written; the hub is not asked."""
    data, out = tmp_path / "d", tmp_path / "o"
    assert run(monkeypatch, capsys, "synth", "listing", "--tabletop", 2, "--out", data)[0] == 0
    code, _, err = run(monkeypatch, capsys, "answer", "foo", "--model=builtin", f"--questions={data}", f"--out={out}")
    assert code == 2 and "task 'foo' is unknown. one of: caption, chair, " in complaint(err)
    for words in (["train", f"--data={data}"], ["answer", "tag-listing", f"--questions={data}"]):
        code, _, err = run(monkeypatch, capsys, *words, "--model=nope", f"--out={out}")
        assert code == 2 and "model 'nope' is unknown. known: builtin, a folder, a hub id" in complaint(err)
        assert "etry" not in err and not out.exists(), err


def small_files() -> None:
    """The kernel refuses to write beyond 3 kB a file, as a full disk refuses."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


# Python itself does not notice that a compiled module was cut short, and would load the torn one ever after.
NO_PYC = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.integration
def test_answers_that_a_full_disk_does_not_take(tmp_path, monkeypatch, capsys):
    """One line that says where and what to do; what came before is kept."""
    data, out = tmp_path / "d", tmp_path / "a.jsonl"
    assert run(monkeypatch, capsys, "synth", "listing", "--tabletop", 16, "--out", data)[0] == 0
    command = [sys.executable, "-m", "visift", "answer", "tag-listing", "--model=builtin", f"--questions={data}"]
    command += [f"--out={out}", "--max-new-tokens=1", "--batch-size=4", "--threads=1"]
    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, env=NO_PYC, check=False)
    assert full.returncode == 1
    assert f"{out}: cannot write (File too large). free some space" in complaint(full.stderr)
    *whole, _ = out.read_bytes().split(b"\n")
    assert [json.loads(line)["text"] for line in whole] and out.stat().st_size <= 3000


@pytest.mark.integration
def test_a_disk_that_takes_no_more_keeps_what_was_finished(tmp_path):
    """One line, exit code 1, then it goes on."""
    command = [sys.executable, "-m", "visift", "synth", "listing", "--tabletop", "4", "--out", str(tmp_path / "d")]
    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, env=NO_PYC, check=False)
    assert full.returncode == 1
    assert "cannot write" in complaint(full.stderr)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert not list((tmp_path / "d").rglob("*.part"))
