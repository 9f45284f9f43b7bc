"""The client against a real server: `transformers serve` on loopback, with a real small LM and with a tiny random VLM."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from visift.core.errors import VisiftError
from visift.core.files import read_jsonl
from visift.core.types import user
from visift.remote.client import Client, anything
from visift.remote.failures import UnusableReply
from visift.remote.limits import Limits
from visift.remote.request import Request
from visift.sources.tabletop import Tabletop
from visift.synth.frame import synthesise
from visift.synth.teacher import Teacher

NEEDED = ("uvicorn", "fastapi", "openai")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason="transformers serve is not installed (extra `serve`)",
    ),
]
SERVE = "from transformers.cli.transformers import app; app()"
PATIENT = Limits(concurrency=2, timeout=600, replies=2)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[str]:
    """The address of a server of that model, up for as long as the block; `folder` takes its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "hub").mkdir()  # it lists the hub's cache, and that must exist
    words = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    env = {**os.environ, "HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", SERVE, *words], stdout=log, stderr=log, env=env)
    try:
        while process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        assert process.poll() is None, (folder / "serve.log").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def test_pictures(tmp_path: Path) -> None:
    """Random weights say nothing sensible, and only as far as the token limit: what counts is what is made of it."""
    from tiny_vlm import llava, tokenizer

    model = llava(tmp_path / "vlm")
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    LlavaProcessor(
        CLIPImageProcessorPil.from_pretrained(model), tokenizer(), patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=tokenizer().chat_template,
    ).save_pretrained(model)  # fmt: skip
    with serving(model, tmp_path) as url, Client(url, limits=PATIENT, cache=tmp_path / "c") as client:
        one, two = (Request(str(model), (user(0, "What is this?"),), (picture(c),), 8) for c in ("red", "blue"))
        with pytest.raises(UnusableReply, match="cut off at the token limit"):
            client.ask(one)
        said = client.ask(one, anything)
        assert said.finish == "length" and said.text and said.reply_tokens == 8
        assert client.ask(one, anything).text == said.text and client.ask(one, anything).cached
        both = Request(str(model), (user(0, "and", 1, "Which?"),), (picture("red"), picture("blue")), 8)
        counts = [client.ask(r, anything).prompt_tokens for r in (one, two, both)]
        assert counts[0] == counts[1] < counts[2], "the server has seen two pictures"
        teacher = Teacher(client, str(model), max_tokens=8)
        with pytest.raises(VisiftError, match=r"nothing could be made.*cut off at the token limit"):
            synthesise("listing", Tabletop(2), tmp_path / "lists", teacher=teacher)
        reasons = [json.dumps(row) for row in read_jsonl(tmp_path / "lists" / "rejected.jsonl")]
        assert len(reasons) == 2 and all("cut off at the token limit" in reason for reason in reasons)


@pytest.mark.weights
def test_text(weights: Path, tmp_path: Path) -> None:
    if not (weights / "smollm2" / GGUF).is_file() or importlib.util.find_spec("gguf") is None:
        pytest.skip(f"needs gguf, and smollm2 in {weights}")
    model = plain(weights / "smollm2", tmp_path / "lm")
    asked = Request(str(model), (user("What is the capital of France?"),), (), 60)
    with serving(model, tmp_path) as url, Client(url, limits=PATIENT, cache=tmp_path / "c") as client:
        said = client.ask(asked, lambda text: None if "Paris" in text else "it does not say Paris")
        assert "Paris" in said.text and said.finish == "stop" and 0 < said.prompt_tokens < asked.prompt_bound
        assert client.ask(asked).cached
        with pytest.raises(UnusableReply, match="cut off"):
            client.ask(Request(str(model), (user("Tell a long story."),), (), 4))


def plain(source: Path, folder: Path) -> Path:
    """The quantised file as a folder of float32 weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    config = {k: v for k, v in quantised.config.to_dict().items() if k != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)
    return folder
