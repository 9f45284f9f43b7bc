"""Pre-training of the built-in model goes on where a kill stopped it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from visift.core.files import read_json
from visift.models.builtin import FOLDER
from visift.models.builtin.pretrain import Encoder, PretrainSettings, batches, corpus, pretrain
from visift.models.builtin.tokenizer import train_tokenizer

SMALL = PretrainSettings(steps=7, batch_size=2, warmup=2, save_every=2, vocab_size=600, only_seen=2)


def test_processes_that_draw_lessons_change_nothing():
    encode = Encoder(train_tokenizer(corpus(rows=50), 600))
    alone = list(batches(SMALL, encode, 3))
    assert len(alone) == 8 - 3  # to the end of the group of the last step
    shared = list(batches(SMALL.model_copy(update={"workers": 2}), encode, 3))
    for a, b in zip(alone, shared, strict=True):
        assert a.keys() == b.keys()
        assert all(a[k].equal(b[k]) for k in a)


@pytest.mark.integration
def test_killed_it_ends_with_the_same_weights(tmp_path: Path):
    pretrain(tmp_path / "unbroken", SMALL)
    PreTrainedTokenizerFast.from_pretrained(tmp_path / "unbroken").save_pretrained(
        tmp_path / "killed"
    )  # half a minute to make
    code = (
        "import sys; from pathlib import Path; from visift.models.builtin.pretrain import *;"
        "pretrain(Path(sys.argv[1]), PretrainSettings(**__import__('json').loads(sys.argv[2])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "killed"), json.dumps(SMALL.model_dump())],
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 600
    while not (tmp_path / "killed" / "state.pt").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()  # SIGKILL
    process.wait()
    assert (tmp_path / "killed" / "state.pt").exists()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    pretrain(tmp_path / "killed", SMALL)
    assert read_json(tmp_path / "killed" / "pretrain.json") == read_json(tmp_path / "unbroken" / "pretrain.json")
    assert (tmp_path / "killed/model.safetensors").read_bytes() == (
        tmp_path / "unbroken/model.safetensors"
    ).read_bytes()


@pytest.mark.integration
def test_killed_after_its_last_step_it_ends(tmp_path: Path):
    """A state kept after the last step would leave nothing to do, and no loss to report."""
    settings = SMALL.model_copy(update={"steps": 4, "start": "builtin", "only_seen": 1})
    pretrain(tmp_path, settings)
    done = read_json(tmp_path / "pretrain.json")
    (tmp_path / "pretrain.json").unlink()
    pretrain(tmp_path, settings)
    assert read_json(tmp_path / "pretrain.json") == done


@pytest.mark.integration
def test_it_goes_on_from_a_model(tmp_path: Path):
    """With a rate of nothing the result is the model that it began with, tokenizer and settings included."""
    settings = PretrainSettings(steps=1, batch_size=2, only_seen=1, lr=0.0, start="builtin")
    pretrain(tmp_path / "same", settings)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"):
        assert (tmp_path / "same" / name).read_bytes() == (FOLDER / name).read_bytes()
