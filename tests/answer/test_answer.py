"""Answers do not depend on the batch, survive a kill, and are never mixed up with those to another request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import numpy as np
import tiny_data
import tiny_families
import tiny_vlm
import torch
from PIL import Image

from visift.core.dataset import Dataset, Made, build
from visift.core.errors import DataError, UsageError
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.evals import engine
from visift.evals.answer import answer
from visift.evals.guided_prefix import GuidedPrefix
from visift.evals.shared_prefix import SharedPrefix
from visift.models import load, vpgc

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_vlm.llava(tmp_path_factory.mktemp("base"), width=96))


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("questions"), 13, mixed=True)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_do_not_depend_on_the_batch_and_come_in_question_order(
    base: str, questions: Path, tmp_path: Path
) -> None:
    for size in (1, 4, 13):
        counts = answer("t", base, questions, tmp_path / f"{size}.jsonl", batch_size=size, max_new_tokens=12)
        assert counts["questions"] == counts["asked"] == 13
    one = rows(tmp_path / "1.jsonl")
    assert [r["id"] for r in one] == [c.id for c in Dataset(questions)]
    assert len({r["text"] for r in one}) > 3  # not a constant
    assert one == rows(tmp_path / "4.jsonl") == rows(tmp_path / "13.jsonl")


def test_a_row_says_what_was_asked(base: str, questions: Path, tmp_path: Path) -> None:
    answer("t", base, questions, tmp_path / "a.jsonl", max_new_tokens=3)
    row = {r["id"]: r for r in rows(tmp_path / "a.jsonl")}["tiny-3"]  # three rounds; the last answer is the reference
    assert row["question"] == "Sure?" and row["task"] == "t" and row["images"] == ["images/3.png"]
    assert [h["role"] for h in row["history"]] == ["user", "assistant", "user", "assistant"]
    assert row["finish"] == "length" and row["decoding"] == {"mode": "generate", "max_new_tokens": 3}


def test_grey_pictures_change_answers_and_the_request(base: str, questions: Path, tmp_path: Path) -> None:
    answer("t", base, questions, tmp_path / "a.jsonl", max_new_tokens=8)
    answer("t", base, questions, tmp_path / "b.jsonl", max_new_tokens=8, grey=True)
    a, b = rows(tmp_path / "a.jsonl"), rows(tmp_path / "b.jsonl")
    assert all(x["request_sha256"] != y["request_sha256"] for x, y in zip(a, b, strict=True))
    same = {x["id"] for x, y in zip(a, b, strict=True) if x["text"] == y["text"]}
    assert {"tiny-2", "tiny-6", "tiny-10"} <= same < {x["id"] for x in a}  # those without a picture stay


KILLED = """
import os, signal, sys
from pathlib import Path
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.evals import engine
from visift.evals.answer import answer
made = engine.Engine._generate
asked = []
def die(self, batch, pixels):
    if len(asked) >= {after}:
        with open({out!r}, "a") as f:
            f.write('{{"id": "tiny-1", "te')  # a line torn in the middle
        os.kill(os.getpid(), signal.SIGKILL)
    asked.extend(batch)
    return made(self, batch, pixels)
engine.Engine._generate = die
answer("t", {model!r}, Path({questions!r}), Path({out!r}), batch_size=3, max_new_tokens=6)
"""


def test_killed_it_goes_on_and_asks_nothing_twice(
    base: str, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.jsonl"
    script = KILLED.format(after=6, out=str(out), model=base, questions=str(questions))
    run = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), capture_output=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2000:]
    kept = {json.loads(line)["id"] for line in out.read_text().splitlines()[:-1]}
    assert len(kept) == 6
    asked: list[str] = []
    made = engine.Engine._generate

    def count(self: Any, batch: Any, pixels: Any) -> Any:
        asked.extend(q.conversation.id for q in batch)
        return made(self, batch, pixels)

    monkeypatch.setattr(engine.Engine, "_generate", count)
    assert answer("t", base, questions, out, batch_size=3, max_new_tokens=6)["asked"] == 7
    assert set(asked) | kept == {c.id for c in Dataset(questions)} and not set(asked) & kept
    answer("t", base, questions, tmp_path / "b.jsonl", batch_size=3, max_new_tokens=6)
    assert out.read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def many(out: Path, per_picture: int = 9) -> Path:
    """Two pictures with several questions each, some sharing more than the picture."""

    def make(i: int) -> Made:
        words = f"{'Is there a ' if i % 2 else 'What '}{'red ' * (i % 4)}{'star' if i % 3 else 'big circle'} {i}?"
        which = i // per_picture
        pixels = np.random.default_rng(which).integers(0, 255, (60, 90, 3), dtype=np.uint8)
        (out / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out / "images" / f"{which}.png")
        picture = Picture(f"images/{which}.png", width=90, height=60)
        options = {"options": ["one", "two", "three"]} if i % 5 == 0 else {}
        return Made([Conversation(f"q{i}", (picture,), (user(0, words), assistant("yes")), Provenance("q"), options)])

    build(out, kind="q", items=range(2 * per_picture), make=make, settings={})
    return out


SHARING = [n for n in tiny_families.BUILDERS if n not in ("paligemma", "blip-2", "instructblip")]


@pytest.mark.parametrize("family", SHARING)
def test_questions_on_one_picture_share_it_and_get_the_same_answers(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(tiny_families.BUILDERS[family](tmp_path / "model"))
    questions = many(tmp_path / "q")
    seen: list[int] = []
    made = SharedPrefix.__init__

    def count(self: Any, model: Any, family: Any, rows: Any, prefix: int, pixels: Any) -> None:
        seen.append(len(rows))
        made(self, model, family, rows, prefix, pixels)

    monkeypatch.setattr(SharedPrefix, "__init__", count)
    for mode in ("generate", "logits"):
        seen.clear()
        answer("t", model, questions, tmp_path / f"{mode}.jsonl", mode=mode, max_new_tokens=6)
        assert seen == [9, 9]
        monkeypatch.setattr(engine, "can_share", lambda model, family: False)
        answer("t", model, questions, tmp_path / f"{mode}-alone.jsonl", mode=mode, max_new_tokens=6, batch_size=1)
        monkeypatch.undo()
        monkeypatch.setattr(SharedPrefix, "__init__", count)
        shared, alone = rows(tmp_path / f"{mode}.jsonl"), rows(tmp_path / f"{mode}-alone.jsonl")
        assert [r["text"] for r in shared] == [r["text"] for r in alone]
        assert mode == "logits" or len({r["text"] for r in shared}) > 4
        for a, b in zip(shared, alone, strict=True):
            assert a["meta"].get("logprobs", {}) == pytest.approx(b["meta"].get("logprobs", {}), abs=1e-4)


@pytest.mark.parametrize("family", SHARING)
def test_under_vpgc_the_layers_below_it_are_shared(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, questions = str(tiny_families.BUILDERS[family](tmp_path / "model")), many(tmp_path / "q")
    vlm = load(model)
    adapter = vpgc.attach(vlm.model, layer=1)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in adapter.parameters():
            p.normal_(0, 0.3, generator=draw)
    prefixes: list[int] = []
    made = GuidedPrefix.__init__

    def count(self: Any, *given: Any) -> None:
        prefixes.append(len(given[2]))
        made(self, *given)

    monkeypatch.setattr(GuidedPrefix, "__init__", count)
    shares = engine.can_share(vlm.model, vlm.family)
    assert shares == (family != "qwen3-vl")  # which adds features above layer 1 again
    for mode in ("generate", "logits"):
        answer("t", model, questions, tmp_path / f"{mode}.jsonl", mode=mode, max_new_tokens=6, vlm=vlm)
        with monkeypatch.context() as alone:
            alone.setattr(engine, "can_share", lambda model, family: False)
            answer(
                "t", model, questions, tmp_path / f"{mode}-1.jsonl", mode=mode, max_new_tokens=6, batch_size=1, vlm=vlm
            )
        shared, single = rows(tmp_path / f"{mode}.jsonl"), rows(tmp_path / f"{mode}-1.jsonl")
        assert [r["text"] for r in shared] == [r["text"] for r in single]
        for a, b in zip(shared, single, strict=True):
            assert a["meta"].get("logprobs", {}) == pytest.approx(b["meta"].get("logprobs", {}), abs=1e-4)
    assert prefixes == ([9] * 4 if shares else [])
    adapter.remove()
    answer("t", model, questions, tmp_path / "without.jsonl", max_new_tokens=6, vlm=vlm)
    assert [r["text"] for r in rows(tmp_path / "without.jsonl")] != [
        r["text"] for r in rows(tmp_path / "generate.jsonl")
    ]


def test_logits_choose_the_likeliest_choice(base: str, tmp_path: Path) -> None:
    questions = many(tmp_path / "q", 3)
    answer("t", base, questions, tmp_path / "a.jsonl", mode="logits")
    for k, row in enumerate(rows(tmp_path / "a.jsonl")):
        scores = row["meta"]["logprobs"]
        assert list(scores) == (["A", "B", "C"] if k % 5 == 0 else ["Yes", "No"])
        assert row["text"] == max(scores, key=scores.get) and row["finish"] == "stop" and max(scores.values()) < 0
    with pytest.raises(UsageError, match="unknown mode 'guess'"):
        answer("t", base, questions, tmp_path / "b.jsonl", mode="guess")
    with pytest.raises(UsageError, match="has no options, and its reference is neither yes nor no"):
        answer("t", base, tiny_data.dataset(tmp_path / "open", 3), tmp_path / "c.jsonl", mode="logits")


def test_answers_to_other_requests_are_not_overwritten(base: str, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    answer("t", base, questions, out, max_new_tokens=2)
    before = out.read_bytes()
    with pytest.raises(UsageError, match=r"a\.jsonl:1: holds answers to other questions"):
        answer("t", base, questions, out, max_new_tokens=3)
    assert out.read_bytes() == before


def test_a_question_that_cannot_be_asked_is_unscored(base: str, tmp_path: Path) -> None:
    data = tiny_data.dataset(tmp_path / "q", 3)
    (data / "images" / "1.png").unlink()
    counts = answer("t", base, data, tmp_path / "a.jsonl", max_new_tokens=2)
    assert counts["error"] == 1 and counts["questions"] == 3
    row = rows(tmp_path / "a.jsonl")[1]
    assert row["finish"] == "error" and "picture is missing" in row["meta"]["error"]


@pytest.mark.parametrize(
    ("lost", "named"),
    [("config.json", "configuration"), ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer"),
     ("preprocessor_config.json", "image processor")],
)  # fmt: skip
def test_an_incomplete_model_folder_is_named(questions: Path, tmp_path: Path, lost: str, named: str) -> None:
    folder = tiny_vlm.llava(tmp_path / "model")
    (folder / lost).unlink()
    with pytest.raises(DataError, match=f"model: holds no {named}"):
        answer("t", str(folder), questions, tmp_path / "a.jsonl")
