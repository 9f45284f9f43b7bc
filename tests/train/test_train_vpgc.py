"""Stage vpgc: only the adapter trains, one answer a row, two datasets a step; the folder loads and answers with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import tiny_families
import tiny_vlm
import torch
import typer
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from visift.cli.train import train as train_command
from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_file
from visift.evals.answer import answer
from visift.evals.shared_prefix import can_share
from visift.models import Renderer, fingerprint, load, vpgc
from visift.train.plan import joint_order, make_plan, turns_of, up_to
from visift.train.run import train
from visift.train.settings import TrainSettings, read_recipe
from visift.train.trainer import VlmTrainer

pytestmark = pytest.mark.integration

RECIPE = Path(__file__).parents[2] / "recipes" / "vpgc.yaml"
FAST = TrainSettings(steps=3, batch_size=6, lr=1e-2, warmup=0, bf16=False, threads=1, save_every=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.llava(tmp_path_factory.mktemp("base"), layers=4)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("mixed"), 12, mixed=True)


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("captions"), 7, kind="captions")


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]


def changed(**values: object) -> TrainSettings:
    return FAST.model_copy(update=values)


def planned(out: Path) -> int:
    """Rows of the run's plan."""
    return int(json.loads((out / "plan.json").read_text())["rows"])


def adapter_hash(out: Path) -> str:
    return sha256_file(out / "model" / "vpgc" / "adapter.safetensors")


def test_only_the_adapter_trains_and_the_folder_brings_it(base: Path, mixed: Path, tmp_path: Path) -> None:
    result = train(str(base), [mixed], "vpgc", tmp_path / "run", FAST)
    folder = tmp_path / "run" / "model"
    before = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(
        folder
    ).state_dict()  # plain transformers passes the adapter over
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    vlm = load(base)
    fresh = vpgc.attach(vlm.model)
    census = json.loads((tmp_path / "run" / "census.json").read_text())
    assert census["trainable_by_part"] == {"vpgc": fresh.census()["total"]} == {"vpgc": result["census"]["trainable"]}
    found = load_file(folder / "vpgc" / "adapter.safetensors")
    assert found.keys() == fresh.state_dict().keys()
    assert all(not torch.equal(found[n], t) for n, t in fresh.state_dict().items())  # three steps move every tensor
    loaded = load(folder)
    adapter = vpgc.attached(loaded.model)
    assert (
        adapter is not None
        and adapter.layer == 2
        and all(torch.equal(adapter.state_dict()[n], found[n]) for n in found)
    )
    assert can_share(loaded.model, loaded.family)  # the layers below the adapter
    assert any(name.startswith("vpgc/") for name in fingerprint(str(folder)))


def test_the_folder_answers_with_its_adapter(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "vpgc", tmp_path / "run", changed(lr=1.0))
    folder = tmp_path / "run" / "model"
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("vpgc"))

    def texts(model: Path, batch: int) -> list[str]:
        out = tmp_path / f"{model.name}-{batch}.jsonl"
        answer("t", str(model), mixed, out, batch_size=batch, max_new_tokens=6)
        return [json.loads(line)["text"] for line in out.read_text().splitlines()]

    with_it = texts(folder, 4)
    assert with_it == texts(folder, 1) != texts(bare, 4)


@pytest.mark.parametrize("layer", [0, 3])
def test_the_layer_is_chosen(base: Path, mixed: Path, tmp_path: Path, layer: int) -> None:
    train(str(base), [mixed], "vpgc", tmp_path / "run", changed(steps=1, vpgc_layer=layer, vpgc_guidance="zero"))
    config = json.loads((tmp_path / "run" / "model" / "vpgc" / "config.json").read_text())
    assert (config["layer"], config["guidance"]) == (layer, "zero")


def test_an_adapter_is_trained_on_and_frozen_elsewhere(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "vpgc", tmp_path / "a", FAST)
    first = tmp_path / "a" / "model"
    train(str(first), [mixed], "vpgc", tmp_path / "b", FAST)
    assert adapter_hash(tmp_path / "b") != adapter_hash(tmp_path / "a")
    for stage in ("sft", "lora"):
        train(str(first), [mixed], stage, tmp_path / stage, changed(steps=1))
        assert adapter_hash(tmp_path / stage) == adapter_hash(tmp_path / "a")
        assert load(tmp_path / stage / "model").model.vpgc.layer == 2
        # the end of a row's one prompt guides it in every stage: a second answer needs a row of its own
        assert planned(tmp_path / stage) == planned(tmp_path / "a") > len(Dataset(mixed))
    with pytest.raises(UsageError, match="vpgc_layer 0, but the model's own adapter hangs at 2"):
        train(str(first), [mixed], "vpgc", tmp_path / "c", changed(vpgc_layer=0))


class Stop(Exception):
    pass


@pytest.mark.parametrize("family", ["llava", "blip-2", "instructblip"])
def test_a_stopped_run_goes_on_exactly(
    family: str, mixed: Path, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_families.BUILDERS[family](tmp_path / "base")
    settings = changed(steps=5, joint=(4, 2), micro_batch=2)
    train(str(base), [mixed, captions], "vpgc", tmp_path / "whole", settings)
    own = VlmTrainer.compute_loss

    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            raise Stop
        return own(self, *args, **kwargs)

    monkeypatch.setattr(VlmTrainer, "compute_loss", stop)
    with pytest.raises(Stop):
        train(str(base), [mixed, captions], "vpgc", tmp_path / "run", settings)
    monkeypatch.setattr(VlmTrainer, "compute_loss", own)
    train(str(base), [mixed, captions], "vpgc", tmp_path / "run", settings)
    assert adapter_hash(tmp_path / "run") == adapter_hash(tmp_path / "whole")
    assert [r["loss"] for r in log(tmp_path / "run")] == [r["loss"] for r in log(tmp_path / "whole")]


# ---- one answer a row ----


def test_a_conversation_becomes_a_row_for_each_answer(base: Path, mixed: Path, tmp_path: Path) -> None:
    vlm = load(base)
    renderer = Renderer(vlm)
    plan = make_plan(tmp_path, [Dataset(mixed)], renderer, 512, 0.0, one_turn=True)
    conversations = list(Dataset(mixed))
    assert turns_of(conversations[3]) == [1, 5]  # the answer between is not learnt
    assert len(plan) == sum(len(turns_of(c)) for c in conversations) == 15
    for k in (1, 5):
        row = renderer.row(up_to(conversations[3], k))
        learnt = [i for i, m in zip(row.input_ids, row.loss_mask, strict=True) if m]
        assert vlm.tokenizer.decode(learnt) == conversations[3].turns[k].text + "<|im_end|>"
        assert row.loss_mask[-2:] == [True, False]  # nothing follows the answer but the template's newline
        prompt = renderer.prompt(up_to(conversations[3], k)).input_ids
        assert row.loss_mask.index(True) == len(prompt)  # so its guidance token is the one that inference will see
        assert row.input_ids[: len(prompt)] == prompt


# ---- two datasets a step ----


def test_the_joint_loss_is_the_sum_of_the_means(base: Path, mixed: Path, captions: Path, tmp_path: Path) -> None:
    settings = changed(joint=(2, 4), steps=2, micro_batch=2, lr=1e-9)
    train(str(base), [mixed, captions], "vpgc", tmp_path / "run", settings)
    vlm = load(base, train=True)
    plan = make_plan(tmp_path / "run", [Dataset(mixed), Dataset(captions)], Renderer(vlm), 2048, 0.0, one_turn=True)
    batches = joint_order(plan, 2, (2, 4), 0, True)
    assert [(plan.source[b] == 0).sum() for b in batches] == [2, 2]
    from visift.models.pictures import Pictures
    from visift.train.rows import Collator, Rows

    datasets = [Dataset(mixed), Dataset(captions)]
    rows = Rows(plan, datasets, Renderer(vlm), [Pictures(d, vlm.family) for d in datasets])
    for step, batch in enumerate(batches):
        means = []
        for source in (0, 1):
            made = Collator(vlm.family, 2)([rows[int(k)] for k in batch if plan.source[k] == source])
            inputs = {k: v for k, v in made.items() if k in ("input_ids", "attention_mask", "pixel_values", "labels")}
            with torch.no_grad():
                means.append(float(vlm.model(**inputs).loss))
        assert log(tmp_path / "run")[step]["loss"] == pytest.approx(sum(means), abs=1e-4)
        assert list(log(tmp_path / "run")[step]["sources"].values()) == pytest.approx(means, abs=1e-4)


def test_joint_gradients_are_those_of_the_sum(base: Path, mixed: Path, captions: Path, tmp_path: Path) -> None:
    """Cut into micro-batches or packed, the same adapter comes out."""
    settings = changed(joint=(2, 4), steps=3, lr=1e-3)
    found = []
    for name, values in (("a", {}), ("b", {"micro_batch": 1}), ("c", {"pack_tokens": 90})):
        # grouped by length or not, the batches must be the same ones
        run = settings.model_copy(update={"group_by_length": False, **values})
        train(str(base), [mixed, captions], "vpgc", tmp_path / name, run)
        found.append(load_file(tmp_path / name / "model" / "vpgc" / "adapter.safetensors")["reinject.weight"])
        assert [r["loss"] for r in log(tmp_path / name)] == pytest.approx(
            [r["loss"] for r in log(tmp_path / "a")], abs=1e-5
        )
    assert torch.allclose(found[0], found[1], atol=1e-5) and torch.allclose(found[0], found[2], atol=1e-5)


def test_a_joint_that_does_not_fit_is_refused(base: Path, mixed: Path, captions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"joint \[2, 4\] for 1 datasets and batch_size 6"):
        train(str(base), [mixed], "vpgc", tmp_path / "a", changed(joint=(2, 4)))
    with pytest.raises(UsageError, match=r"joint \[2, 3\] for 2 datasets"):
        train(str(base), [mixed, captions], "vpgc", tmp_path / "b", changed(joint=(2, 3)))


def test_gradient_checkpointing_changes_nothing(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "vpgc", tmp_path / "a", FAST)
    train(str(base), [mixed], "vpgc", tmp_path / "b", changed(gradient_checkpointing=True))
    a, b = (load_file(tmp_path / k / "model" / "vpgc" / "adapter.safetensors") for k in ("a", "b"))
    assert all(torch.allclose(a[n], b[n], atol=1e-6) for n in a)


# ---- the shipped recipe and the command ----

app = typer.Typer()
app.command()(train_command)


def test_the_recipe_is_the_papers() -> None:
    settings = read_recipe(RECIPE)
    assert (settings.steps, settings.joint, settings.batch_size) == (18_000, (24, 64), 88)
    assert (settings.lr, settings.warmup, settings.schedule) == (2e-5, 2000, "cosine")
    assert (settings.weight_decay, settings.betas) == (0.05, (0.9, 0.999))


def test_the_command_runs_the_recipe_small(base: Path, mixed: Path, captions: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ["steps=2", "warmup=1", "batch_size=3", "joint=[1, 2]", "micro_batch=0", "threads=1"]
    words = [
        str(RECIPE),
        "--model",
        str(base),
        "--data",
        str(mixed),
        "--data",
        str(captions),
        "--out",
        str(out),
        *small,
    ]
    run = CliRunner().invoke(app, words, catch_exceptions=False)
    assert run.exit_code == 0 and "stage vpgc: 6,240 parameters train (vpgc 6,240)" in run.stderr
    vpgc.load(load(base).model, out / "model" / "vpgc")
    with pytest.raises(DataError):
        vpgc.load(load("builtin").model, out / "model" / "vpgc")


@pytest.mark.parametrize("family", [f for f in tiny_families.BUILDERS if f != "llava"])
def test_every_family_trains_it(family: str, mixed: Path, tmp_path: Path) -> None:
    base = tiny_families.BUILDERS[family](tmp_path / "base")
    train(str(base), [mixed], "vpgc", tmp_path / "run", FAST)
    found = load_file(tmp_path / "run" / "model" / "vpgc" / "adapter.safetensors")
    fresh = vpgc.attach(load(base).model).state_dict()
    assert all(not torch.equal(found[n], t) and np.isfinite(found[n].numpy()).all() for n, t in fresh.items())
    counts = answer("t", str(tmp_path / "run" / "model"), mixed, tmp_path / "a.jsonl", batch_size=4, max_new_tokens=3)
    assert counts["questions"] == 12 and "error" not in counts
