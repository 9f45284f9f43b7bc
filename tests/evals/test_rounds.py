"""MR-0, MR-k and MR-k-neutral: what is asked, what stays in the history, and how long the answers are, by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.types import Answer, Conversation, Part, Picture, Provenance, Turn, assistant, user
from visift.evals.question import Question, Reply
from visift.evals.rounds import PHOTO, TABLETOP, WISH, Rounds, compare_lengths, dialogue_set, is_dialogues, lengths


class Model:
    """Says `yes` to what wishes for a short answer, a sentence otherwise; after a short answer of its own it stays short."""

    def __init__(self, broken: str = "") -> None:
        self.seen: list[Conversation] = []
        self.broken = broken

    def answers(self, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]:
        for q in reversed(questions):  # in no order that could be relied on
            c = q.conversation
            self.seen.append(c)
            if self.broken and self.broken in c.prompt[-1].text:
                q.problem = "no such picture"
                yield q, "", "error"
                continue
            short = "single word" in c.prompt[-1].text or any(
                t.text == "yes" for t in c.prompt if t.role == "assistant"
            )
            yield q, "yes" if short else "It is a picture of a dog.", "stop"


def question(name: str = "q1", *before: Turn, scene: str = "coco:1") -> Conversation:
    turns = (*before, user(*([] if before else [0]), "What is unusual here?"), assistant("The dog wears a hat."))
    return Conversation(name, (Picture("a.jpg"),), turns, Provenance("mm-vet", (scene,)))


def ask(model: Model, rounds: Rounds, *conversations: Conversation) -> dict[str, tuple[Conversation, str, str]]:
    questions = [Question(c, "sha") for c in conversations]
    return {
        q.conversation.id: (q.conversation, text, finish) for q, text, finish in rounds.replies(model, questions, 8)
    }


def test_no_rounds_change_nothing() -> None:
    c = question()
    (asked, text, _) = ask(Model(), Rounds(0), c)["q1"]
    assert asked == c and text == "It is a picture of a dog."


@pytest.mark.parametrize("k", [1, 2, 3])
def test_earlier_rounds_are_answered_by_the_model_and_kept(k: int) -> None:
    model = Model()
    (asked, text, _) = ask(model, Rounds(k), question())["q1"]
    assert len(model.seen) == k + 1 and text == "yes"  # it carried the short form over
    said = asked.prompt
    assert [t.role for t in said] == ["user", "assistant"] * k + ["user"]
    assert said[-1].text == "What is unusual here?" and asked.reference == "The dog wears a hat."
    assert all(t.text.endswith(WISH) and t.text.removesuffix(f" {WISH}") in PHOTO for t in said[:-1:2])
    assert [t.text for t in said[1::2]] == ["yes"] * k
    assert [p.image for t in said for p in t.parts if p.image is not None] == [0] and said[0].parts[0].image == 0
    for number, earlier in enumerate(model.seen):
        assert earlier.prompt[: 2 * number] == model.seen[-1].prompt[: 2 * number]  # each round sees those before it


def test_neutral_asks_the_same_without_the_wish() -> None:
    plain, neutral = Rounds(3).before(question()), Rounds(3, neutral=True).before(question())
    assert [q.removesuffix(f" {WISH}") for q in plain] == neutral and len(set(neutral)) == 3
    assert Rounds(2).before(question()) == plain[:2]
    (_, text, _) = ask(Model(), Rounds(2, neutral=True), question())["q1"]
    assert text == "It is a picture of a dog."


def test_other_questions_draw_other_rounds_and_never_the_test_question() -> None:
    assert len({tuple(Rounds(1).before(question(f"q{k}"))) for k in range(30)}) > 4
    for k in range(20):
        c = question(f"q{k}")
        own = c.turns[0]
        asked = Turn("user", (Part(image=0), Part(text=f"{PHOTO[0]} Say more.")))
        assert PHOTO[0] not in " ".join(
            Rounds(3).before(Conversation(c.id, c.images, (asked, *c.turns[1:]), c.provenance))
        )
        assert own.text


def test_the_table_is_asked_about_in_its_own_words() -> None:
    assert all(
        q.split("?")[0] + "?" in TABLETOP for q in Rounds(3).before(question(scene="tabletop:held-out-0-0-0000001"))
    )


def test_a_dialogue_brings_its_own_rounds() -> None:
    own = (user(0, "What is it?"), assistant("gold"), user("Where?"), assistant("gold"))
    c = question("d", *own)
    assert Rounds(1, neutral=True).before(c) == ["Where?"]
    assert Rounds(3).before(c) == [f"What is it? {WISH}", f"Where? {WISH}"]
    (asked, _, _) = ask(Model(), Rounds(1), c)["d"]
    assert "gold" not in [t.text for t in asked.prompt]  # the model's own answers stand there
    assert asked.prompt[0].parts[0].image == 0
    (alone, _, _) = ask(Model(), Rounds(0), c)["d"]
    assert [t.text for t in alone.prompt] == ["What is unusual here?"] and alone.prompt[0].parts[0].image == 0


def test_a_question_whose_round_failed_is_unscored() -> None:
    found = ask(Model(broken="single word"), Rounds(1), question("a"))
    assert found["a"][1:] == ("", "error")


@pytest.mark.parametrize(("k", "neutral"), [(-1, False), (99, False), (0, True)])
def test_rounds_that_mean_nothing(k: int, neutral: bool) -> None:
    with pytest.raises(UsageError):
        Rounds(k, neutral)


# --- lengths


def answer(name: str, text: str, *history: str, image: str = "a", finish: str = "stop") -> Answer:
    said = tuple({"role": role, "text": t} for t in history for role, t in (("user", "q"), ("assistant", t)))
    return Answer(name, "mm-vet", (image,), "?", text, finish, history=said)


def test_lengths_by_hand() -> None:
    rows = [answer("1", "a b c", "x"), answer("2", "a b c d e", "x y z"), answer("3", "", finish="error")]
    assert lengths(rows) == {"answers": 2, "words": [2.0, 4.0], "short": 0.5}
    assert lengths([answer("1", "")])["short"] == 1.0  # an empty answer is a short one
    assert lengths([])["answers"] == 0


def test_paired_lengths_by_hand(tmp_path: Path) -> None:
    """Differences -3, -4, -5 over three pictures: mean -4, standard error 1/sqrt(3), t(2) 4.303: half width 2.484."""
    for name, texts in (("a", ["a b c d", "a b c d e", "a b c d e f"]), ("b", ["a", "a", "a"])):
        rows = [answer(str(k), text, image=str(k)) for k, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in rows))
    found = compare_lengths(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    words = found["metrics"]["words"]
    assert (
        words["difference"] == -4
        and words["low"] == pytest.approx(-6.484, abs=1e-3)
        and words["high"] == pytest.approx(-1.516, abs=1e-3)
    )
    assert found["metrics"]["short"]["difference"] == 1 and found["n"] == found["clusters"] == 3
    with pytest.raises(DataError, match="no question"):
        (tmp_path / "c.jsonl").write_text(json.dumps(answer("z", "a").to_json()))
        compare_lengths(tmp_path / "a.jsonl", tmp_path / "c.jsonl")


# --- files of others


def mmdu(folder: Path, **more: Any) -> Path:
    """Two pictures, three rounds, as MMDU writes them."""
    for name in ("one.jpg", "two.jpg"):
        Image.new("RGB", (16, 12), (90, 90, 0)).save(folder / name)
    turns = [
        {"from": "user", "value": "<ImageHere><ImageHere>Compare the two."}, {"from": "assistant", "value": "Both are dark."},
        {"from": "user", "value": "Which is larger?"}, {"from": "assistant", "value": "They are equal."},
        {"from": "user", "value": "And brighter?"}, {"from": "assistant", "value": "Neither."},
    ]  # fmt: skip
    path = folder / "mmdu.json"
    path.write_text(json.dumps([{"id": 7, "image": ["one.jpg", "two.jpg"], "conversations": turns, **more}]))
    return path


def test_a_multi_turn_file_is_a_question_for_every_round(tmp_path: Path) -> None:
    path = mmdu(tmp_path)
    assert is_dialogues(path) and not is_dialogues(tmp_path / "one.jpg")
    rows = list(Dataset(dialogue_set(path, tmp_path / "set")))
    assert [(c.id, c.prompt[-1].text, c.reference) for c in rows] == [
        ("7/1", "Compare the two.", "Both are dark."), ("7/2", "Which is larger?", "They are equal."), ("7/3", "And brighter?", "Neither."),
    ]  # fmt: skip
    assert all(len(c.images) == 2 for c in rows)
    (asked, text, _) = ask(Model(), Rounds(2, neutral=True), rows[2])["7/3"]
    assert [t.text for t in asked.prompt[::2]] == [
        "Compare the two.",
        "Which is larger?",
        "And brighter?",
    ] and text.startswith("It is")
    assert [p.image for p in asked.prompt[0].parts if p.image is not None] == [0, 1]


def test_pictures_that_no_placeholder_names_come_first(tmp_path: Path) -> None:
    turns = [{"from": "user", "value": "Compare."}, {"from": "assistant", "value": "Equal."}]
    (row,) = Dataset(dialogue_set(mmdu(tmp_path, conversations=turns), tmp_path / "set"))
    assert [p.image for p in row.turns[0].parts] == [0, 1, None]


@pytest.mark.integration
def test_the_command_keeps_the_rounds_in_the_answer_and_resumes(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from visift.cli.main import app
    from visift.sources.tabletop import Tabletop
    from visift.synth.frame import synthesise

    synthesise("questions", Tabletop(3, split="held-out"), tmp_path / "q", skill="caption", per_scene=1)
    command = [
        "answer",
        "caption",
        "--model",
        "builtin",
        "--questions",
        str(tmp_path / "q"),
        "--max-new-tokens",
        "24",
        "--rounds",
        "2",
    ]
    run = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a.jsonl")])
    assert run.exit_code == 0 and "MR-2: words per round" in run.output, run.output
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert all(
        [h["role"] for h in r["history"]] == ["user", "assistant"] * 2 and r["decoding"]["protocol"] == "MR-2"
        for r in rows
    )
    assert all(r["question"] in ("Describe the picture.", "What is in the picture?") for r in rows)
    again = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a.jsonl")])
    assert "0 asked now" in again.output
    other = CliRunner().invoke(app, [*command[:-1], "1", "--out", str(tmp_path / "a.jsonl")])
    assert other.exit_code != 0  # another protocol is another decoding
    dialogues = CliRunner().invoke(app, ["answer", "mmdu", "--model", "builtin", "--questions", str(mmdu(tmp_path)), "--rounds", "1",
                                         "--max-new-tokens", "8", "--out", str(tmp_path / "d.jsonl")])  # fmt: skip
    assert dialogues.exit_code == 0 and len((tmp_path / "d.jsonl").read_text().splitlines()) == 3, dialogues.output
