"""Teachers: what passes, what is asked again with the reason, what is rejected; the shots; the command."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Faulty, completion, serving

from visift.cli import main as entry
from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.core.files import read_jsonl, sha256_bytes, sha256_file
from visift.core.lists import parse_list, render_list
from visift.core.types import Conversation, Mark, TaggedPicture
from visift.remote.client import Client
from visift.remote.failures import RemoteError
from visift.remote.limits import Limits
from visift.sources.tabletop import Tabletop
from visift.synth import teacher_listing, teacher_tag_qa
from visift.synth.agreement import agrees
from visift.synth.frame import synthesise
from visift.synth.listing import INSTRUCTIONS
from visift.synth.teacher import Teacher

pytestmark = pytest.mark.integration

QUICK = Limits(timeout=10, backoff=0.01)


def truth(source: Tabletop, folder: Path) -> dict[str, TaggedPicture]:
    """Picture hash -> manifest, by the rules: what the test server knows about a picture that it is sent."""
    synthesise("mark", source, folder)
    return {tagged.sha256: tagged for tagged in Dataset(folder).tagged()}


def picture_of(body: dict[str, Any]) -> str:
    """The hash of the last picture in a request."""
    import base64

    uris = [
        part["image_url"]["url"]
        for message in body["messages"] if isinstance(message["content"], list)
        for part in message["content"] if part["type"] == "image_url"
    ]  # fmt: skip
    return sha256_bytes(base64.b64decode(uris[-1].partition("base64,")[2]))


def told(body: dict[str, Any]) -> str:
    """The last thing said to the teacher, when that is text alone: why its reply was refused."""
    last = body["messages"][-1]["content"]
    return last if isinstance(last, str) else ""


def good_list(marks: tuple[Mark, ...]) -> str:
    return render_list({m.number: f"a {m.name}" for m in marks})


def good_dialogue(marks: tuple[Mark, ...]) -> str:
    last = marks[-1]
    rounds = [
        {"question": f"What is number {marks[0].number}?", "answer": f"It is a {marks[0].name}."},
        {"question": f"Where is number {last.number}?", "answer": "On the table, near two others."},
        {"question": f"Do number {marks[0].number} and number {last.number} touch?", "answer": "No."},
    ]
    return json.dumps({"rounds": rounds})


def make(kind: str, source: Tabletop, out: Path, server: Faulty, **limits: Any) -> Dataset:
    with Client(server.url, limits=QUICK, cache=out / ".cache" / "replies.sqlite") as client:
        synthesise(kind, source, out, teacher=Teacher(client, "wise"), **limits)
    return Dataset(out)


def test_listing(tmp_path: Path) -> None:
    source = Tabletop(12)
    known = truth(source, tmp_path / "marks")
    with serving(lambda n, body: "Here is the list:\n\n" + good_list(known[picture_of(body)].marks)) as server:
        rows = list(make("listing", source, tmp_path / "a", server))
        assert server.calls == 12
        requests = {row.provenance.request_sha256 for row in rows}
        again = list(make("listing", source, tmp_path / "a", server))
        assert again == rows and server.calls == 12, "a finished dataset asks nothing"
        body = server.bodies[0]
    assert len(requests) == 12 and all(len(r) == 64 for r in requests)
    assert body["messages"][0]["role"] == "system" and [m["role"] for m in body["messages"][1:]] == [
        "user",
        "assistant",
    ] * 2 + ["user"]
    for row, scene in zip(rows, source, strict=True):
        assert row.provenance.scenes == (scene.id,) and row.provenance.teacher == "wise"
        assert row.turns[0].text in INSTRUCTIONS and row.turns[1].form == "list"
        assert row.turns[1].text == good_list(known[row.images[0].sha256].marks)
    card = Dataset(tmp_path / "a").card
    assert card["teacher"] == ["wise"] and card["settings"]["teacher"]["model"] == "wise"
    assert server.url not in json.dumps(card)


def test_bytes_do_not_depend_on_the_order_of_replies(tmp_path: Path) -> None:
    source = Tabletop(10)
    known = truth(source, tmp_path / "marks")

    def plan(n: int, body: dict[str, Any]) -> Any:
        return ("slow", (n * 7 % 5) * 0.02, good_list(known[picture_of(body)].marks))

    hashes = []
    for name, most in (("a", 1), ("b", 12)):
        with serving(plan) as server, Client(server.url, limits=Limits(concurrency=most)) as client:
            card = synthesise("listing", source, tmp_path / name, teacher=Teacher(client, "wise"))
            hashes.append((card["content_sha256"], sha256_file(tmp_path / name / "conversations/part-00000.jsonl")))
            assert server.busiest <= most
    assert hashes[0] == hashes[1]


FAULTY_LISTS = {
    "missing": (lambda items: {n: t for n, t in items.items() if n != 2}, "number 2 is missing"),
    "phantom": (lambda items: {**items, len(items) + 1: "a ghost"}, "is not in the picture"),
    "zero": (lambda items: {0: "the table", **items}, "number 0 is not in the picture"),
    "wrong": (lambda items: {**items, 1: "a wooden chair"}, "number 1 sits on"),
    "unnamed": (lambda items: {**items, 2: "???"}, "number 2 is not named"),
}


@pytest.mark.parametrize("name", FAULTY_LISTS)
def test_faulty_list_is_asked_again_with_the_reason(tmp_path: Path, name: str) -> None:
    spoil, reason = FAULTY_LISTS[name]
    source = Tabletop(3)
    known = truth(source, tmp_path / "marks")

    def plan(n: int, body: dict[str, Any]) -> str:
        text = good_list(known[picture_of(body)].marks)
        return text if told(body) else render_list(spoil(parse_list(text)))

    with serving(plan) as server:
        rows = list(make("listing", source, tmp_path / "a", server))
        assert server.calls == 6 and len(rows) == 3
        reasons = [told(body) for body in server.bodies if told(body)]
    assert len(reasons) == 3 and all(reason in text for text in reasons)
    for row in rows:
        assert row.turns[1].text == good_list(known[row.images[0].sha256].marks)


def test_twice_and_out_of_order_are_faults() -> None:
    marks = teacher_listing.shot(3)[1]
    lines = good_list(marks).splitlines()
    assert teacher_listing.fault("\n".join(lines), marks) is None
    assert "twice" in str(teacher_listing.fault("\n".join([*lines, lines[0]]), marks))
    assert "order" in str(teacher_listing.fault("\n".join([lines[1], lines[0], *lines[2:]]), marks))


def test_teacher_that_never_learns_is_bounded_and_rejected(tmp_path: Path) -> None:
    source = Tabletop(4)
    known = truth(source, tmp_path / "marks")
    hopeless = {sha for sha, tagged in known.items() if tagged.scene.endswith(("1", "2"))}

    def plan(n: int, body: dict[str, Any]) -> Any:
        sha = picture_of(body)
        if sha in hopeless:
            return "1. a chair" if known[sha].scene.endswith("1") else "I cannot help with that."
        return good_list(known[sha].marks)

    with serving(plan) as server:
        dataset = make("listing", source, tmp_path / "a", server)
        asked = Counter(picture_of(body) for body in server.bodies)
    assert len(list(dataset)) == 2
    rejected = [row for _, row in read_jsonl(tmp_path / "a" / "rejected.jsonl")]
    assert [r["stage"] for r in rejected] == ["teacher", "teacher"]
    assert "3 times" in rejected[0]["reason"] and "is missing" in rejected[0]["reason"]
    assert "no numbered line" in rejected[1]["reason"]
    assert sorted(asked[sha] for sha in hopeless) == [2, 3]
    pictures = {p.name for p in (tmp_path / "a" / "images").iterdir()}
    assert pictures == {Path(t.image).name for t in dataset.tagged()}, "no picture without its manifest"


@pytest.mark.integration
def test_fatal_refusal_stops_the_run_and_a_later_run_finishes(tmp_path: Path) -> None:
    source = Tabletop(40)
    known = truth(source, tmp_path / "marks")
    refuse = [True]

    def plan(n: int, body: dict[str, Any]) -> Any:
        if refuse[0] and n >= 10:
            return ("status", 401, {}, {"error": {"message": "expired"}})
        return good_list(known[picture_of(body)].marks)

    with serving(plan) as server:
        with pytest.raises(RemoteError, match="expired"):
            make("listing", source, tmp_path / "a", server)
        first, answered = server.calls, len(server.answered)
        assert answered == 10 and first < 10 + 16
        refuse[0] = False
        assert len(make("listing", source, tmp_path / "a", server)) == 40
        assert len(server.answered) == 40, "what was answered is not asked again"


def test_tag_qa(tmp_path: Path) -> None:
    source = Tabletop(8)
    known = truth(source, tmp_path / "marks")
    with serving(lambda n, body: good_dialogue(known[picture_of(body)].marks)) as server:
        rows = list(make("tag-qa", source, tmp_path / "a", server))
        assert server.calls == 8 and server.bodies[0]["response_format"] == {"type": "json_object"}
    for row in rows:
        assert [t.role for t in row.turns] == ["user", "assistant"] * 3
        assert row.turns[0].parts[0].image == 0 and row.provenance.teacher == "wise"
        assert {"question": row.turns[2].text, "answer": row.turns[3].text} == json.loads(
            good_dialogue(known[row.images[0].sha256].marks)
        )["rounds"][1]


def _edit(number: int, **changes: str) -> Any:
    def spoil(rounds: list[dict[str, str]]) -> None:
        rounds[number].update(changes)

    return spoil


FAULTY_DIALOGUES = {
    "phantom": (_edit(1, answer="Left of number 19."), "it says 19"),
    "count as a figure": (_edit(1, answer="There are 77 of them."), "it says 77"),
    "spelt": (_edit(1, question="Where is number two?", answer="Near number 1."), "figure"),
    "no number": (_edit(1, question="Is it sunny?", answer="Yes."), "refers to no number"),
    "empty": (_edit(2, answer=" "), "round 3 is empty"),
    "wrong name": (_edit(0, question="What is number 1?", answer="A wooden chair."), "is said to be"),
    "too short": (lambda rounds: rounds.pop(), "2 rounds"),
    "twice": (lambda rounds: rounds.append(dict(rounds[1])), "twice"),
}


@pytest.mark.parametrize("name", FAULTY_DIALOGUES)
def test_faulty_dialogue_is_asked_again_with_the_reason(tmp_path: Path, name: str) -> None:
    spoil, reason = FAULTY_DIALOGUES[name]
    source = Tabletop(1)
    known = truth(source, tmp_path / "marks")

    def plan(n: int, body: dict[str, Any]) -> str:
        value = json.loads(good_dialogue(known[picture_of(body)].marks))
        if not told(body):
            spoil(value["rounds"])
        return json.dumps(value)

    with serving(plan) as server:
        assert len(make("tag-qa", source, tmp_path / "a", server)) == 1
        assert server.calls == 2 and reason in told(server.bodies[1])


@pytest.mark.parametrize(
    "text",
    [
        "Sure!",
        "[]",
        '{"rounds": 3}',
        '{"rounds": [{"question": "What is number 1?"}]}',
        '{"rounds": ["a"]}',
        "[" * 9000,
    ],
)
def test_reply_that_is_no_dialogue(text: str) -> None:
    assert teacher_tag_qa.read(text) is None and teacher_tag_qa.unreadable(text)


def test_fenced_json_is_read() -> None:
    assert teacher_tag_qa.read('```json\n{"rounds": [{"question": "a", "answer": "b"}]}\n```') == [("a", "b")]


@pytest.mark.parametrize("index", [index for index, _ in teacher_listing.SHOTS])
def test_shots_fit_their_pictures(index: int) -> None:
    """Every line names the thing at its number, with its colour: a change of the tabletop or of the marks shows here."""
    text = dict(teacher_listing.SHOTS)[index]
    data, marks = teacher_listing.shot(index)
    assert teacher_listing.fault(text, marks) is None and data.startswith(b"\xff\xd8")
    items = parse_list(text)
    for mark in marks:
        assert items[mark.number].startswith(f"a {mark.name}")


@pytest.mark.parametrize(
    ("text", "category", "expected"),
    [
        ("two dogs on a leash", "dog", True), ("A brown puppy.", "dog", True), ("a cat", "dog", False), ("a hot dog", "dog", False),
        ("the red sofa", "couch", True), ("a sports car", "car", True), ("a carpet", "car", False), ("tennis ball", "sports ball", True),
        ("brick wall", "wall-brick", True), ("some trees", "tree-merged", True), ("a table with books", "coffee_table", True),
        ("a crescent", "moon", True), ("a disc", "ring", False), ("anything", "", True), ("", "person", False), ("a man", "person", True),
    ],
)  # fmt: skip
def test_agreement(text: str, category: str, expected: bool) -> None:
    assert agrees(text, category) is expected


def test_kinds_without_a_teacher(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client:
        with pytest.raises(UsageError, match="rules only"):
            synthesise("skills", Tabletop(1), tmp_path, teacher=Teacher(client, "m"))
        with pytest.raises(UsageError, match="one process"):
            synthesise("listing", Tabletop(1), tmp_path, executor="ray", teacher=Teacher(client, "m"))


def test_large_picture_is_sent_smaller() -> None:
    from io import BytesIO

    from PIL import Image

    from visift.sources.pictures import jpeg_bytes
    from visift.synth.teacher import _to_send

    small = jpeg_bytes(Image.new("RGB", (1024, 300)))
    assert _to_send(small) is small
    assert Image.open(BytesIO(_to_send(jpeg_bytes(Image.new("RGB", (3000, 1500)))))).size == (1024, 512)


@pytest.mark.integration
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Model by the server's list, key by the environment, cap by a price; then the cap is raised and the run goes on."""
    known = truth(Tabletop(10), tmp_path / "marks")
    monkeypatch.setenv("MY_KEY", "sk-abc")

    def run(*words: str) -> tuple[int, str, str]:
        common = [
            "visift",
            "synth",
            "listing",
            "--tabletop",
            "10",
            "--out",
            str(tmp_path / "a"),
            "--teacher",
            server.url,
        ]
        monkeypatch.setattr(sys, "argv", [*common, "--teacher-key-env", "MY_KEY", *words])
        try:
            entry.main()
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        return (code, *capsys.readouterr())

    with serving(lambda n, body: completion(good_list(known[picture_of(body)].marks), "stop", 9000, 100)) as server:
        code, _, err = run("--teacher-price", "1,10", "--teacher-max-cost", "0.06", "--teacher-concurrency", "1")
        assert code == 1 and "cap" in err and "sk-abc" not in err and 2 <= server.calls <= 6
        code, out, _ = run("--teacher-price", "1,10", "--teacher-max-cost", "1", "--json")
        assert code == 0 and json.loads(out)["teacher"] == ["only-model"]
        assert server.calls == 10 and set(server.keys) == {"Bearer sk-abc"}
        code, _, err = run("--teacher-price", "much")
        assert code == 2 and "PROMPT,REPLY" in err
    rows: list[Conversation] = list(Dataset(tmp_path / "a"))
    assert len(rows) == 10 and (tmp_path / "a" / ".cache" / "replies.sqlite").exists()
