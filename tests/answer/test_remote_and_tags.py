"""Answers of a server, and answers to questions on tagged pictures."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from faulty_server import completion, serving
from PIL import Image
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.dataset import Dataset, Made, build
from visift.core.errors import DataError, UsageError
from visift.core.files import write_json, write_jsonl
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.evals.answer import answer
from visift.evals.question import Question
from visift.evals.remote_engine import RemoteEngine, RemoteModel
from visift.evals.tagged_questions import draw, tagged
from visift.remote.client import Client
from visift.remote.limits import Limits
from visift.sources.coco import CocoSource

pytestmark = pytest.mark.integration


def pope(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """POPE's own label file on three pictures, one of which is missing where `count` reaches it; and the pictures' folder."""
    pictures = folder / "val2014"
    pictures.mkdir()
    for k in range(2):
        Image.new("RGB", (120, 90), (40 * k, 90, 200)).save(pictures / f"COCO_val2014_{k:012d}.jpg")
    rows = [{"question_id": k, "image": f"COCO_val2014_{k // 3:012d}.jpg", "text": f"Is there a thing{k} in the image?",
             "label": "no" if k % 2 else "yes"} for k in range(count)]  # fmt: skip
    write_jsonl(folder / "coco_pope_random.json", rows)
    return folder / "coco_pope_random.json", pictures


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(folder: Path, url: str, *more: str) -> list[str]:
    labels, pictures = folder / "coco_pope_random.json", folder / "val2014"
    return ["answer", "pope", "--model", url, "--questions", str(labels), "--images", str(pictures),
            "--out", str(folder / "a.jsonl"), "--max-new-tokens", "5", "--json", *more]  # fmt: skip


def test_a_server_answers_a_benchmarks_own_file_and_is_never_asked_twice(tmp_path: Path) -> None:
    pope(tmp_path, count=7)  # the seventh on a picture that is not there

    def plan(number: int, body: dict[str, Any]) -> Any:
        asked = body["messages"][0]["content"][1]["text"]
        return (
            completion("", "stop")
            if "thing4" in asked
            else completion("Yes, th", "length")
            if "thing2" in asked
            else "No"
        )

    with serving(plan) as server:
        for asked in (7, 1):  # the one that failed is asked for again, and fails again
            made = CliRunner().invoke(app, command(tmp_path, server.url))
            counts = json.loads(made.stdout)
            assert counts["questions"] == 7 and counts["asked"] == asked and counts["error"] == 1, made.stderr
        assert server.calls == 6 and "7 questions on 3 pictures" in made.stderr
        body = server.bodies[0]
        assert body["temperature"] == 0 and body["max_tokens"] == 5 and body["model"] == "only-model"
        assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    found = {r["question"].split()[3]: (r["text"], r["finish"]) for r in rows(tmp_path / "a.jsonl")}
    assert (
        found["thing2"] == ("Yes, th", "length")
        and found["thing4"] == ("", "stop")
        and found["thing6"] == ("", "error")
    )
    assert [r["id"] for r in rows(tmp_path / "a.jsonl")] == [c.id for c in Dataset(Path(counts["questions_at"]))]
    scored = CliRunner().invoke(
        app, ["score", "pope", "--answers", str(tmp_path / "a.jsonl"), "--questions", counts["questions_at"], "--json"]
    )
    assert json.loads(scored.stdout)["counts"] == {
        "total": 7, "scored": 6, "no_answer": 1, "unscored": {"failed request": 1}, "duplicate": 0, "extra": 0
    }  # fmt: skip


def test_another_model_behind_the_address_is_another_request(tmp_path: Path) -> None:
    pope(tmp_path)
    with serving(lambda n, body: "Yes") as server:
        CliRunner().invoke(app, command(tmp_path, server.url, "--remote-model", "one"))
        made = CliRunner().invoke(app, command(tmp_path, server.url, "--remote-model", "two"))
    assert isinstance(made.exception, UsageError) and "of another model" in str(made.exception)


def test_a_server_gives_no_log_probabilities_and_grey_hides_the_picture(tmp_path: Path) -> None:
    pope(tmp_path)
    with serving(lambda n, body: "Yes") as server:
        made = CliRunner().invoke(app, command(tmp_path, server.url, "--mode", "logits"))
        assert isinstance(made.exception, UsageError) and "needs a local model" in str(made.exception)
        CliRunner().invoke(app, command(tmp_path, server.url, "--grey"))
        urls = {b["messages"][0]["content"][0]["image_url"]["url"] for b in server.bodies}
    assert len(urls) == 1 and next(iter(urls)).startswith("data:image/png")


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (0, 0)])
@pytest.mark.parametrize("grey", [False, True])
def test_a_server_sees_the_picture_turned_as_the_row_says(tmp_path: Path, size: tuple[int, int], grey: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (120, 90), "red").save(tmp_path / "a.jpg", exif=exif)
    row = Conversation(
        "c", (Picture("p:a.jpg", width=size[0], height=size[1]),), (user(0, "What?"), assistant("x")), Provenance("x")
    )
    build(tmp_path / "d", kind="x", items=[row], make=lambda c: Made([c]), settings={}, roots={"p": str(tmp_path)})
    dataset = Dataset(tmp_path / "d")
    with serving(lambda n, body: "Yes") as server, Client(server.url, limits=Limits(replies=1)) as client:
        engine = RemoteEngine(RemoteModel(client, "m"), dataset, 5, grey)
        assert [finish for *_, finish in engine.answers([Question(next(iter(dataset)), "r")], 1)] == ["stop"]
        url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as sent:
        assert sent.size == (size if all(size) else (90, 120)) and not sent.getexif()


# --- tags


def annotations(folder: Path) -> Path:
    box = {"area": 1600, "bbox": [20, 20, 40, 40], "segmentation": [[20, 20, 60, 20, 60, 60, 20, 60]], "iscrowd": 0}
    write_json(folder / "instances.json", {
        "images": [{"id": 0, "file_name": f"COCO_val2014_{0:012d}.jpg", "width": 120, "height": 90}],
        "categories": [{"id": 1, "name": "dog"}], "annotations": [box | {"id": 1, "image_id": 0, "category_id": 1}],
    })  # fmt: skip
    return folder / "instances.json"


def test_annotations_put_numbers_on_the_questions_pictures(tmp_path: Path) -> None:
    pope(tmp_path)
    sent: dict[str, set[str]] = {}

    def plan(number: int, body: dict[str, Any]) -> str:
        picture, text = body["messages"][0]["content"]
        sent.setdefault(picture["image_url"]["url"], set()).add(text["text"].split()[3])
        return "No"

    with serving(plan) as server:
        plain = CliRunner().invoke(app, command(tmp_path, server.url))
        untagged = dict(sent)
        (tmp_path / "a.jsonl").unlink()
        sent.clear()
        made = CliRunner().invoke(app, command(tmp_path, server.url, "--tags", str(annotations(tmp_path))))
        assert plain.exit_code == made.exit_code == 0, made.output
        assert json.loads(made.stdout)["tagged"] == 3
    changed = {url for url in sent if url not in untagged}
    assert len(changed) == 1 and sent.pop(changed.pop()) == {"thing0", "thing1", "thing2"}
    assert set(sent) < set(untagged)  # the picture without annotations went as it was
    (mark,) = next(Dataset(Path(f"{tmp_path / 'a.jsonl'}.tags")).tagged()).marks
    assert mark.category == "dog"


def test_a_folder_of_visift_mark_serves_as_tags(tmp_path: Path) -> None:
    labels, pictures = pope(tmp_path)
    from visift.evals.question_sets import question_set

    dataset = Dataset(question_set("pope", str(labels), tmp_path / "q", images=pictures))
    draw(dataset, CocoSource(pictures, annotations(tmp_path)), tmp_path / "tagged")
    swapped = [tagged(tmp_path / "tagged")(c) for c in dataset]
    assert [c.images[0].path.startswith("tags:") for c in swapped] == [True] * 3 + [False] * 3
    with serving(lambda n, body: "No") as server, Client(server.url, limits=Limits(replies=1)) as client:
        remote = RemoteModel(client, "m")
        made = answer("pope", server.url, tmp_path / "q", tmp_path / "o.jsonl", remote=remote, tags=tmp_path / "tagged")
    assert made["tagged"] == 3 and made["stop"] == 6
    empty = tmp_path / "other.json"
    write_json(empty, json.loads(annotations(tmp_path).read_text()) | {"images": [], "annotations": []})
    with pytest.raises(DataError):
        draw(dataset, CocoSource(pictures, empty), tmp_path / "none")
