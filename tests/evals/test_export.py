"""Tasks for lmms-eval, driven the way that lmms-eval drives a task folder; and rating sheets for people."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import eval_samples as samples
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import write_jsonl
from visift.evals.export import export
from visift.evals.score import score


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = samples.existence(tmp_path_factory.mktemp("export") / "q", pictures=2)
    (out / "images").mkdir()
    for k in range(2):
        Image.new("L", (30, 20), 90 * k).save(out / "images" / f"s{k}.png")
    return out


class Harness:
    """What lmms-eval does with an `--include_path` folder: YAML with `!function file.name`, load_from_disk, one call a document."""

    def __init__(self, folder: Path, name: str) -> None:
        from datasets import load_from_disk

        class Loader(yaml.SafeLoader):
            pass

        def function(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
            file, called = loader.construct_scalar(node).split(".")
            spec = importlib.util.spec_from_file_location(file, folder / f"{file}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return getattr(module, called)

        Loader.add_constructor("!function", function)
        self.config = yaml.load((folder / f"{name}.yaml").read_text(), Loader)
        assert self.config["task"] == name and self.config["output_type"] == "generate_until"
        assert self.config["dataset_kwargs"] == {"load_from_disk": True}
        self.docs = load_from_disk(self.config["dataset_path"])[self.config["test_split"]]

    def run(self, say: Any, log: Path) -> float:
        """The metric; writes the sample log, without pictures, as it does."""
        payloads, rows = [], []
        for k, doc in enumerate(self.docs):
            (message,) = self.config["doc_to_messages"](doc)
            said = say(k, message, self.config["doc_to_visual"](doc), self.config["doc_to_text"](doc))
            payloads.append(self.config["process_results"](doc, [said])["exact"])
            kept = {key: value for key, value in doc.items() if "image" not in key}
            rows.append(
                {
                    "doc_id": k,
                    "doc": kept,
                    "target": self.config["doc_to_target"](doc),
                    "resps": [[said]],
                    "filtered_resps": [said],
                }
            )
        write_jsonl(log, rows)
        return self.config["metric_list"][0]["aggregation"](payloads)


def test_lmms_eval_asks_the_same_and_its_log_scores_like_our_answers(questions: Path, tmp_path: Path) -> None:
    result = export("pope", Dataset(questions), tmp_path / "e")
    harness = Harness(tmp_path / "e", result["task"])
    seen = []

    def say(k: int, message: dict[str, Any], images: list[Image.Image], text: str) -> str:
        seen.append((message["role"], [part["type"] for part in message["content"]], images[0].size, text))
        assert message["content"][0]["url"].tobytes() == images[0].tobytes()
        return "Yes."

    assert harness.run(say, tmp_path / "x_samples_visift_pope.jsonl") == 0.5
    assert seen[0] == ("user", ["image", "text"], (30, 20), "Is there a thing 0?") and len(seen) == 36
    theirs = score(
        "pope", tmp_path / "x_samples_visift_pope.jsonl", format="lmms-eval", questions=questions, parser="default"
    )
    answers = samples.answer_all(tmp_path / "a.jsonl", questions, lambda c: "Yes.")
    ours = score("pope", answers, questions=questions, parser="default")
    assert theirs["metrics"] == ours["metrics"] and theirs["groups"] == ours["groups"]


def test_our_answers_are_a_log_that_it_reads(questions: Path, tmp_path: Path) -> None:
    answers = samples.answer_all(tmp_path / "a.jsonl", questions, lambda c: f"said {c.id}")
    name = export("pope", Dataset(questions), tmp_path / "e", answers=answers)["task"]
    log = json.loads((tmp_path / "e" / "logs" / f"{name}.json").read_text())
    assert log["args"]["limit"] is None and log["model_configs"]["task"] == name
    replies = {row["doc_id"]: row["resps"][0][0] for row in log["logs"]}  # what from_log takes of it
    harness = Harness(tmp_path / "e", name)
    assert [replies[k] for k in range(36)] == [f"said {i}" for i in harness.docs["id"]]
    write_jsonl(answers, [json.loads(line) for line in answers.read_text().splitlines()][1:])
    with pytest.raises(DataError, match="1 questions have no answer"):
        export("pope", Dataset(questions), tmp_path / "f", answers=answers)


def test_tag_listing_of_lmms_eval_is_scored_by_our_rules(tmp_path: Path) -> None:
    made = samples.listing(tmp_path / "q", [["red circle", "blue star"], ["red circle", "red circle"]])
    (made / "images").mkdir()
    for k in range(2):
        Image.new("L", (9, 9)).save(made / "images" / f"s{k}.png")
    harness = Harness(tmp_path / "e", export("tag-listing", Dataset(made), tmp_path / "e")["task"])
    harness.run(lambda k, *_: "1. red circle\n2. red circle", tmp_path / "samples.jsonl")
    result = score("tag-listing", tmp_path / "samples.jsonl", format="lmms-eval", questions=made)
    assert result["metrics"]["accuracy"]["value"] == 0.75


def test_what_cannot_be_exported(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="picture is missing"):
        export("pope", Dataset(samples.existence(tmp_path / "q", 1)), tmp_path / "e")
    for command, what in (
        (["--to", "vlmevalkit"], "nothing to export to"),
        (["--to", "sheets", "--answers", "a=x"], "not rated by people"),
    ):
        made = CliRunner().invoke(
            app, ["export", "pope", "--questions", str(questions), "--out", str(tmp_path / "x"), *command]
        )
        assert isinstance(made.exception, UsageError) and what in str(made.exception)


def test_rating_sheets_from_the_command_line_and_their_ranks_back(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "q.jsonl", [{"question_id": k, "image": f"{k}.jpg", "question": "Why?"} for k in range(3)])
    answers = []
    for model in ("one", "two"):
        rows = [{"id": str(k), "task": "owleval", "text": f"{model} {k}", "finish": "stop"} for k in range(3)]
        write_jsonl(tmp_path / f"{model}.jsonl", rows)
        answers += ["--answers", f"{model}={tmp_path / model}.jsonl"]
    base = [
        "export",
        "owleval",
        "--to",
        "sheets",
        "--questions",
        str(tmp_path / "q.jsonl"),
        "--out",
        str(tmp_path / "s"),
        "--raters",
        "2",
    ]
    made = CliRunner().invoke(app, [*base, *answers, "--json"])
    assert json.loads(made.stdout) == {"task": "owleval", "rows": 3, "raters": 2, "models": ["one", "two"]}
    for sheet in (tmp_path / "s").glob("rater-*.csv"):
        with sheet.open(newline="") as f:
            head, *lines = csv.reader(f)
        with sheet.open("w", newline="") as f:
            ranked = [[*line[:5], *("5" if cell.startswith("one") else "2" for cell in line[3:5])] for line in lines]
            csv.writer(f).writerows([head, *ranked])
    scored = CliRunner().invoke(app, ["score", "owleval", "--answers", str(tmp_path / "s"), "--json"])
    groups = json.loads(scored.stdout)["groups"]
    assert {m: g["rank"]["value"] for m, g in groups.items()} == {"one": 5.0, "two": 2.0}
    assert isinstance(CliRunner().invoke(app, [*base, "--answers", "one"]).exception, UsageError)
