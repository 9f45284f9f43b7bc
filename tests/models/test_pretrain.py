"""Pre-training of the built-in model goes on where a kill stopped it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors import SafetensorError
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from visift.core.errors import UsageError, VisiftError
from visift.core.files import read_json
from visift.models.builtin import FOLDER
from visift.models.builtin.architecture import fresh_model
from visift.models.builtin.batches import Encoder, batches, corpus
from visift.models.builtin.pretrain import Pointer, Words, losses, pretrain, rate
from visift.models.builtin.settings import PretrainSettings
from visift.models.builtin.tokenizer import train_tokenizer

pytestmark = pytest.mark.integration

SMALL = PretrainSettings(steps=7, batch_size=2, warmup=2, save_every=2, looking=0.3, only_seen=2)


@pytest.fixture
def encode() -> Encoder:
    return Encoder(PreTrainedTokenizerFast.from_pretrained(FOLDER))


def test_a_tokenizer_is_made_of_the_lessons():
    made = train_tokenizer(corpus(rows=50), 600)
    assert 260 < len(made) <= 600
    assert made.decode(made("2. small red ring")["input_ids"]) == "2. small red ring"


def test_first_only_pictures_then_lessons(encode):
    settings = SMALL.model_copy(update={"steps": 20})
    assert settings.first_asked == 6
    asked = ["input_ids" in b for b in batches(settings, encode, 0)]
    assert asked == [False] * 6 + [True] * 18  # to the end of the group of the last step
    assert all(b.keys() == {"pixels", "dense"} for b, _ in zip(batches(settings, encode, 0), range(6), strict=False))


def test_processes_share_out_what_one_would_draw(encode):
    """The same pictures over a group of steps: those of one process are those of two put together."""

    def pictures(settings, rank):
        return sorted(p.numpy().tobytes() for b in batches(settings, encode, 0, rank) for p in b["pixels"])

    two = SMALL.model_copy(update={"processes": 2})
    assert pictures(SMALL, 0) == sorted(pictures(two, 0) + pictures(two, 1))


def test_processes_that_cannot_share_evenly_are_refused():
    with pytest.raises(ValidationError, match="evenly"):
        PretrainSettings(batch_size=3, only_seen=4, processes=2)


def test_the_rate_warms_up_again_where_the_lessons_begin():
    s = PretrainSettings(steps=100, looking=0.4, lr=1.0, warmup=10, decay=0.2)
    assert [rate(k, s) for k in (0, 9, 39, 40, 49, 80, 90)] == pytest.approx([0.1, 1, 1, 0.1, 1, 1, 0.5])


def test_while_it_looks_only_what_sees_learns(encode):
    model = fresh_model(encode.tokenizer, seed=0)
    found = losses(model, Words(encode.tokenizer, 192), next(batches(SMALL, encode, 0)), Pointer(model))
    assert found.keys() == {"dense"}
    found["dense"].backward()
    moved = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"vision_tower", "multi_modal_projector", "language_model"}
    in_lm = {n for n, p in model.model.language_model.named_parameters() if p.grad is not None}
    assert in_lm == {"embed_tokens.weight"}  # the words that the labels are read by


def test_processes_that_draw_lessons_change_nothing(encode):
    alone = list(batches(SMALL, encode, 3))
    assert len(alone) == 8 - 3
    shared = list(batches(SMALL.model_copy(update={"workers": 2}), encode, 3))
    for a, b in zip(alone, shared, strict=True):
        assert a.keys() == b.keys()
        assert all(a[k].equal(b[k]) for k in a)


@pytest.mark.integration
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.stress)])
def test_killed_it_ends_with_the_same_weights(tmp_path: Path, encode, processes):
    settings = SMALL.model_copy(update={"processes": processes})
    for name in ("unbroken", "killed"):
        encode.tokenizer.save_pretrained(tmp_path / name)  # half a minute to make
    pretrain(tmp_path / "unbroken", settings)
    code = (
        "import sys; from pathlib import Path; from visift.models.builtin.pretrain import *;"
        "pretrain(Path(sys.argv[1]), PretrainSettings(**__import__('json').loads(sys.argv[2])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "killed"), json.dumps(settings.model_dump())],
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 600
    while not (tmp_path / "killed" / "state.pt").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()  # SIGKILL
    process.wait()
    assert (tmp_path / "killed" / "state.pt").exists()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    pretrain(tmp_path / "killed", settings)
    assert read_json(tmp_path / "killed" / "pretrain.json") == read_json(tmp_path / "unbroken" / "pretrain.json")
    assert (tmp_path / "killed/model.safetensors").read_bytes() == (
        tmp_path / "unbroken/model.safetensors"
    ).read_bytes()


@pytest.mark.integration
def test_stopped_after_its_last_step_it_ends(tmp_path: Path, monkeypatch):
    """A state kept after the last step would leave nothing to do, and no loss to report."""
    settings = SMALL.model_copy(update={"steps": 4, "start": "builtin", "only_seen": 1})
    losses = pretrain(tmp_path / "unbroken", settings)

    def full(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(LlavaForConditionalGeneration, "save_pretrained", full)
        with pytest.raises(VisiftError, match=r"cannot write the model .*No space left.*free some space"):
            pretrain(tmp_path / "stopped", settings)
    assert pretrain(tmp_path / "stopped", settings) == losses


@pytest.mark.integration
def test_what_is_done_is_done_once_and_holds_no_training_state(tmp_path: Path):
    settings = PretrainSettings(steps=2, batch_size=2, only_seen=1, start="builtin", save_every=1)
    losses = pretrain(tmp_path, settings)
    assert {p.name for p in tmp_path.iterdir()} - {p.name for p in FOLDER.iterdir()} == {"pretrain.json"}
    before = (tmp_path / "model.safetensors").stat()
    assert before.st_mode & 0o777 == 0o644
    assert pretrain(tmp_path, settings) == losses
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(UsageError, match="made with other settings"):
        pretrain(tmp_path, settings.model_copy(update={"steps": 3}))


@pytest.mark.integration
def test_it_goes_on_from_a_model(tmp_path: Path):
    """With a rate of nothing the result is the model that it began with, tokenizer and settings included."""
    settings = PretrainSettings(steps=1, batch_size=2, only_seen=1, lr=0.0, start="builtin")
    pretrain(tmp_path / "same", settings)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"):
        assert (tmp_path / "same" / name).read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.stress
def test_what_fails_in_one_of_several_processes_is_told_in_a_line(tmp_path: Path, encode):
    encode.tokenizer.save_pretrained(tmp_path)
    settings = SMALL.model_copy(update={"processes": 2, "lr": 1e30, "warmup": 1})
    with pytest.raises(VisiftError, match="the loss is nan") as failed:
        pretrain(tmp_path, settings)
    assert "\n" not in str(failed.value)
