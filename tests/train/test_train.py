"""Training end to end on a tiny LLaVA: it learns, it counts tokens rightly, and it goes on exactly where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import tiny_data
import tiny_vlm
from huggingface_hub import HfApi, RepoUrl
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration, TrainerCallback, TrainerState
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from visift.core.dataset import Dataset, Made, build
from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.files import sha256_file
from visift.core.seeds import rng
from visift.core.types import Conversation, Provenance, assistant, user
from visift.evals.answer import answer
from visift.models import Renderer, load
from visift.models.pictures import Pictures
from visift.train import checkpoint, trainer
from visift.train.model_card import add_scores
from visift.train.plan import make_plan
from visift.train.rows import Collator, Rows
from visift.train.run import train
from visift.train.settings import TrainSettings
from visift.train.stages import prepare
from visift.train.trainer import LearntPositions, StepLog

pytestmark = pytest.mark.integration

FAST = TrainSettings(steps=6, batch_size=4, lr=1e-3, bf16=False, threads=1, save_every=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.llava(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("mixed"), 16, mixed=True)


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]


def weights(out: Path) -> str:
    return sha256_file(out / "model" / "model.safetensors")


def changed(**values: object) -> TrainSettings:
    return FAST.model_copy(update=values)


def test_overfits_and_reproduces_the_answers(base: Path, tmp_path: Path) -> None:
    data = tiny_data.dataset(tmp_path / "data", 8)
    settings = changed(steps=240, batch_size=8, lr=4e-3, schedule="wsd", betas=(0.9, 0.98), save_every=1000)
    result = train(str(base), [data], "full", tmp_path / "run", settings)
    assert log(tmp_path / "run")[-1]["loss"] < 0.05
    out = tmp_path / "answers.jsonl"
    answer("tag-listing", result["model"], data, out, batch_size=8, max_new_tokens=40)
    found = {row["id"]: row["text"] for row in map(json.loads, out.read_text().splitlines())}
    assert found == {c.id: c.reference for c in Dataset(data)}


@pytest.mark.parametrize("stage", ["align", "sft", "lora", "full"])
def test_a_stage_trains_what_it_says_and_nothing_else(base: Path, mixed: Path, tmp_path: Path, stage: str) -> None:
    result = train(str(base), [mixed], stage, tmp_path / "run", FAST)
    before = load(base).model.state_dict()
    after = AutoModelForImageTextToText.from_pretrained(result["model"]).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    parts = {load(base).family.part_of(name) for name in moved}
    assert (
        parts
        == {
            "align": {"projector"},
            "sft": {"projector", "llm"},
            "lora": {"llm"},
            "full": {"vision", "projector", "llm"},
        }[stage]
    )
    census = json.loads((tmp_path / "run" / "census.json").read_text())
    assert census["trainable"] == sum(census["trainable_by_part"].values()) > 0
    if stage == "lora":
        plain = AutoModelForImageTextToText.from_pretrained(base)
        merged = PeftModel.from_pretrained(plain, tmp_path / "run" / "adapter").merge_and_unload().state_dict()
        assert all(torch.equal(merged[name], after[name]) for name in after)
        assert all("_proj" in name for name in moved)


def test_frozen_modules_stay_in_eval_mode(base: Path) -> None:
    vlm = load(base, train=True)
    staged = prepare(vlm, "align", FAST)
    vlm.model.train()
    for module in staged.frozen:
        module.eval()
    training = {name.split(".")[1] for name, m in vlm.model.named_modules() if m.training and "." in name}
    assert training == {"multi_modal_projector"}


def batch_of(base: Path, data: Path, out: Path, rows: range) -> tuple[object, dict[str, torch.Tensor]]:
    vlm = load(base, train=True)
    datasets = [Dataset(data)]
    renderer = Renderer(vlm)
    made = Rows(make_plan(out, datasets, renderer, 512, 0.0), datasets, renderer, [Pictures(datasets[0], vlm.family)])
    return vlm, Collator(vlm.family, 2)([made[k] for k in rows])


def test_the_loss_over_learnt_positions_is_the_models_own_loss(base: Path, mixed: Path, tmp_path: Path) -> None:
    vlm, batch = batch_of(base, mixed, tmp_path, range(16))
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values")}
    own = vlm.model(**inputs, labels=batch["labels"]).loss
    positions = LearntPositions(vlm.model.get_output_embeddings())
    learnt = batch["labels"][:, 1:] != -100
    positions.keep = learnt
    logits = vlm.model(**inputs).logits
    assert logits.shape[0] == int(learnt.sum())
    ours = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:][learnt])
    assert float(ours) == pytest.approx(float(own), abs=1e-5)


def test_labels_decode_to_the_answers_of_every_row(base: Path, mixed: Path, tmp_path: Path) -> None:
    vlm, batch = batch_of(base, mixed, tmp_path, range(16))
    for labels, c in zip(batch["labels"], Dataset(mixed), strict=True):
        wanted = "".join(t.text + "<|im_end|>" for t in c.turns if t.role == "assistant" and t.train)
        assert vlm.tokenizer.decode(labels[labels != -100]) == wanted


def test_cached_pictures_are_normalised_as_the_processor_does(base: Path, mixed: Path, tmp_path: Path) -> None:
    vlm, batch = batch_of(base, mixed, tmp_path, range(1))
    from PIL import Image

    own = vlm.image_processor(Image.open(mixed / "images" / "0.png"), return_tensors="pt").pixel_values
    assert torch.allclose(batch["pixel_values"], own, atol=1e-6)


def test_one_batch_of_eight_is_eight_of_one(base: Path, mixed: Path, tmp_path: Path) -> None:
    whole = changed(batch_size=8, steps=4)
    train(str(base), [mixed], "sft", tmp_path / "a", whole)
    train(str(base), [mixed], "sft", tmp_path / "b", whole.model_copy(update={"micro_batch": 1}))
    a, b = log(tmp_path / "a"), log(tmp_path / "b")
    assert [r["learnt"] for r in a] == [r["learnt"] for r in b]
    assert [r["loss"] for r in a] == pytest.approx([r["loss"] for r in b], abs=2e-5)


KILLED = """
import os, signal, sys
sys.path.insert(0, {path!r})
from pathlib import Path
from visift.train import checkpoint, trainer
from visift.train.run import train
from visift.train.settings import TrainSettings
at, where = int(sys.argv[1]), sys.argv[2]
if where == "saving":  # die while a checkpoint is being written
    whole = checkpoint.write_json
    def die(path, value):
        if path.name == "whole.json" and value["step"] >= at:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path, value)
    checkpoint.write_json = die
else:  # die in the middle of a step
    loss = trainer.VlmTrainer.compute_loss
    def die(self, *args, **kwargs):
        if self.state.global_step >= at:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, *args, **kwargs)
    trainer.VlmTrainer.compute_loss = die
train({base!r}, [Path({data!r})], {stage!r}, Path({out!r}), TrainSettings(**{settings!r}))
"""


@pytest.mark.parametrize("stage", ["sft", pytest.param("lora", marks=pytest.mark.stress)])
def test_killed_twice_it_ends_with_the_same_bits(base: Path, mixed: Path, tmp_path: Path, stage: str) -> None:
    settings = changed(steps=9, micro_batch=2, lora_dropout=0.1)
    train(str(base), [mixed], stage, tmp_path / "whole", settings)
    out = tmp_path / "killed"
    script = KILLED.format(
        path=str(Path(__file__).parents[1] / "models"), base=str(base), data=str(mixed), out=str(out), stage=stage,
        settings=settings.model_dump(mode="json"),
    )  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for at, where, left in (("3", "step", ["step-00000002"]), ("6", "saving", ["step-00000002", "step-00000004"])):
        run = subprocess.run([sys.executable, "-c", script, at, where], env=env, capture_output=True, check=False)
        assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2000:]
        assert sorted(p.name for p in (out / "checkpoints").glob("step-*")) == left
    train(str(base), [mixed], stage, out, settings)
    assert weights(out) == weights(tmp_path / "whole")
    keys = ("step", "loss", "lr", "grad_norm", "learnt")
    assert [[r[k] for k in keys] for r in log(out)] == [[r[k] for k in keys] for r in log(tmp_path / "whole")]
    before = time.perf_counter()
    assert train(str(base), [mixed], stage, out, settings)["steps"] == 9  # a finished run is not run again
    assert time.perf_counter() - before < 0.5


def saved(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[object, ...]:
    moments = checkpoint.optimizer_tensors(optimizer)
    return checkpoint.trained_whole(model), moments, TrainerState(), checkpoint.random_tensors()


def test_a_damaged_checkpoint_is_passed_over(
    base: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vlm = load(base, train=True)
    staged = prepare(vlm, "sft", FAST)
    optimizer = torch.optim.AdamW([p for p in staged.model.parameters() if p.requires_grad])
    for step in (2, 4, 6):
        checkpoint.save(tmp_path, step, *saved(staged.model, optimizer))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-00000004", "step-00000006"]
    torn = tmp_path / "step-00000006" / "weights.safetensors"
    torn.write_bytes(torn.read_bytes()[:-10])
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.name == "step-00000004"
    assert "step-00000006 is damaged (weights.safetensors)" in capsys.readouterr().err

    kept = load_file(found / "weights.safetensors")
    name = sorted(kept)[0]
    kept["renamed"] = kept.pop(name)
    save_file(kept, found / "weights.safetensors")
    with pytest.raises(DataError, match="2 weights do not match"):
        checkpoint.load_weights(found, staged.model)


FULL = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")  # as it says it


def test_a_full_disk_keeps_the_last_checkpoint(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = prepare(load(base, train=True), "align", FAST)
    optimizer = torch.optim.AdamW([p for p in staged.model.parameters() if p.requires_grad])
    checkpoint.save(tmp_path, 2, *saved(staged.model, optimizer))

    def full(*args: object) -> None:
        raise FULL

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(VisiftError, match=r"No space left.*goes on from the last whole checkpoint"):
        checkpoint.save(tmp_path, 4, *saved(staged.model, optimizer))
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]


def test_a_model_that_a_full_disk_does_not_take_is_written_the_next_time(
    base: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(steps=2, save_every=1)

    def full(*args: object, **more: object) -> None:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(LlavaForConditionalGeneration, "save_pretrained", full)
        with pytest.raises(VisiftError, match=r"model: cannot write the model .*No space left.*free some space"):
            train(str(base), [mixed], "align", tmp_path / "run", settings)
    assert not (tmp_path / "run" / "model").exists() and len(log(tmp_path / "run")) == 2
    assert train(str(base), [mixed], "align", tmp_path / "run", settings)["steps"] == 2
    assert (tmp_path / "run" / "model" / "model.safetensors").exists() and len(log(tmp_path / "run")) == 2


def test_a_log_line_that_a_full_disk_tore_is_written_again(
    base: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = changed(steps=4, save_every=2), tmp_path / "run"

    @contextmanager
    def filling(path: Path) -> Iterator[Callable[[bytes], None]]:
        def add(line: bytes) -> None:
            full = line.startswith(b'{"step": 3')
            with path.open("ab") as f:
                f.write(line[:12] if full else line)
            if full:
                raise VisiftError("No space left")

        yield add

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "appending", filling)
        with pytest.raises(VisiftError, match="No space left"):
            train(str(base), [mixed], "align", out, settings)
    assert (out / "train_log.jsonl").read_text().endswith('\n{"step": 3, ')
    assert train(str(base), [mixed], "align", out, settings)["steps"] == 4
    assert [row["step"] for row in log(out)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"step": 1, "loss": 0.1}\n{"step": 2, ', '{"step": 1, "loss": 0.1}\n'), ('{"step": 1, ', ""), ("", ""),
        ('\n{"step": 2, "sources": {"ä": 1e-05}}\n{"step": 3}\n', '{"step": 2, "sources": {"\\u00e4": 1e-05}}\n'),
    ],
)  # fmt: skip
def test_the_log_is_cut_to_the_whole_lines_of_kept_steps(tmp_path: Path, text: str, kept: str) -> None:
    path = tmp_path / "train_log.jsonl"
    path.write_text(text)
    StepLog(path, ["a"], lambda done=1, note="": None, 1, 2)
    assert path.read_text() == kept


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"step": 1, ', "is not valid JSON"), ("[1]", "is no logged step"), ('{"loss": 1}', "is no logged step")],
)
def test_a_broken_line_in_the_middle_of_the_log_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train_log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(DataError, match=rf"train_log\.jsonl:2: {message}"):
        StepLog(path, ["a"], lambda done=1, note="": None, 1, 2)


def test_another_run_in_the_same_folder_is_refused(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "align", tmp_path / "run", changed(steps=1))
    with pytest.raises(UsageError, match="holds a run of another"):
        train(str(base), [mixed], "align", tmp_path / "run", changed(steps=2))


def test_a_training_that_could_not_begin_locks_nothing(base: Path, mixed: Path, tmp_path: Path) -> None:
    """Its errors tell what to change; the corrected command must be welcome in the same folder."""
    for wrong in ({"max_length": 30}, {"micro_batch": 3}):
        with pytest.raises(VisiftError):
            train(str(base), [mixed], "align", tmp_path / "run", changed(steps=1, **wrong))
    assert train(str(base), [mixed], "align", tmp_path / "run", changed(steps=1))["steps"] == 1


def test_rows_that_are_too_long_are_counted_and_stop_the_run_when_many(base: Path, mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(VisiftError, match=r"of 16 rows cannot be used, the first \(tiny-.*more than max_length 30"):
        train(str(base), [mixed], "align", tmp_path / "a", changed(max_length=30))
    result = train(str(base), [mixed], "align", tmp_path / "b", changed(max_length=30, max_rejected=1.0, steps=1))
    rejected = (tmp_path / "b" / "rejected.jsonl").read_text().splitlines()
    assert result["plan"]["rejected"] == len(rejected) > 0 and result["plan"]["longest"] <= 30
    assert result["plan"]["rows"] + len(rejected) == 16


def test_rows_without_a_label_are_left_out_by_name_and_stop_the_run_when_many(base: Path, tmp_path: Path) -> None:
    def make(k: int) -> Made:
        reply = assistant("no", train=k != 2)
        return Made([Conversation(f"row-{k}", (), (user("Well?"), reply), Provenance("tiny"))])

    build(tmp_path / "data", kind="tiny", items=range(4), make=make, settings={})
    renderer, rows = Renderer(load(base)), [Dataset(tmp_path / "data")]
    with pytest.raises(
        VisiftError, match=r"1 of 4 rows cannot be used, the first \(row-2\) because: no token of it would"
    ):
        make_plan(tmp_path / "a", rows, renderer, 512, 0.05)
    assert make_plan(tmp_path / "b", rows, renderer, 512, 0.25).counts["rows"] == 3
    left_out = json.loads((tmp_path / "b" / "rejected.jsonl").read_text())
    assert left_out["id"] == "row-2" and left_out["stage"] == "plan"


def test_a_loss_that_is_no_number_stops_with_the_rows(base: Path, mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(VisiftError, match=r"rows tiny-.*: the loss is nan at step"):
        train(str(base), [mixed], "full", tmp_path / "run", changed(lr=1e12, clip=0.0, warmup=0, steps=20))


def test_bf16_learns_as_fp32_does(base: Path, mixed: Path, tmp_path: Path) -> None:
    for name, bf16 in (("a", True), ("b", False)):
        train(str(base), [mixed], "sft", tmp_path / name, changed(bf16=bf16))
    a, b = log(tmp_path / "a"), log(tmp_path / "b")
    assert [r["loss"] for r in a] == pytest.approx([r["loss"] for r in b], abs=0.05)
    assert [r["loss"] for r in a] != [r["loss"] for r in b]


TWO = """
import os, sys
from pathlib import Path
from visift.train.run import train
from visift.train.settings import TrainSettings
if len(sys.argv) > 1:  # die at a step
    from visift.train import trainer
    loss = trainer.VlmTrainer.compute_loss
    def die(self, *args, **kwargs):
        if self.state.global_step >= int(sys.argv[1]):
            os._exit(9)
        return loss(self, *args, **kwargs)
    trainer.VlmTrainer.compute_loss = die
train({base!r}, [Path({data!r})], {stage!r}, Path({out!r}), TrainSettings(**{settings!r}))
"""


def on_two(script: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([sys.executable, *launcher, str(script), *words], capture_output=True, check=False, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **env})  # fmt: skip


SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.mark.parametrize(
    ("stage", "env", "stopped"),
    [
        pytest.param("sft", SHARDED, False, id="sft-sharded"),
        pytest.param("sft", {}, False, id="sft", marks=pytest.mark.stress),
        pytest.param("sft", {}, True, id="sft-stopped", marks=pytest.mark.stress),
        pytest.param("sft", SHARDED, True, id="sft-sharded-stopped", marks=pytest.mark.stress),
        pytest.param("lora", SHARDED, True, id="lora-sharded-stopped", marks=pytest.mark.stress),
        pytest.param("full", SHARDED, True, id="full-sharded-stopped", marks=pytest.mark.stress),
    ],
)  # fmt: skip
def test_two_processes_give_the_same_curve(
    base: Path, mixed: Path, tmp_path: Path, stage: str, env: dict[str, str], stopped: bool
) -> None:
    settings = changed(batch_size=8, micro_batch=2, steps=4, lora_dropout=0.0)
    train(str(base), [mixed], stage, tmp_path / "one", settings)
    script, out = tmp_path / "two.py", tmp_path / "two"
    values = settings.model_dump(mode="json")
    script.write_text(TWO.format(base=str(base), data=str(mixed), stage=stage, out=str(out), settings=values))
    if stopped:
        assert on_two(script, "3", **env).returncode != 0
        assert [p.name for p in (out / "checkpoints").glob("step-*")] == ["step-00000002"]
    run = on_two(script, **env)
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    assert ("goes on from step 2" in run.stderr.decode()) == stopped
    one, two = log(tmp_path / "one"), log(out)
    assert [(r["step"], r["learnt"], r["tokens"]) for r in one] == [(r["step"], r["learnt"], r["tokens"]) for r in two]
    assert [r["loss"] for r in one] == pytest.approx([r["loss"] for r in two], abs=2e-5)
    assert [r["grad_norm"] for r in one] == pytest.approx([r["grad_norm"] for r in two], rel=1e-3)
    by_one, by_two = (load_file(k / "model" / "model.safetensors") for k in (tmp_path / "one", out))
    assert by_one.keys() == by_two.keys()
    assert max(float((by_one[n] - by_two[n]).abs().max()) for n in by_one) < 1e-4


def test_processes_that_prepare_batches_change_nothing(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "sft", tmp_path / "a", changed(steps=3))
    train(str(base), [mixed], "sft", tmp_path / "b", changed(steps=3, workers=2))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_other_loggers_are_told_the_same_loss(
    base: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []

    class Memory(TrainerCallback):
        def on_log(self, args: object, state: object, control: object, logs: dict[str, float], **more: object) -> None:
            told.extend([logs["loss"]] if "loss" in logs else [])

    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "memory", Memory)
    train(str(base), [mixed], "sft", tmp_path / "run", changed(steps=3, micro_batch=2, report_to=("memory",)))
    assert told == pytest.approx([row["loss"] for row in log(tmp_path / "run")], abs=1e-4)


def test_the_card_says_what_the_model_was_made_of(base: Path, mixed: Path, tmp_path: Path) -> None:
    train(str(base), [mixed], "align", tmp_path / "run", changed(steps=1, lr=0.003))
    text = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "6,272 parameters train" in text and '"lr": 0.003' in text and "16 rows" in text
    assert f"{mixed.name}: kind tiny, 16 conversations, licences not stated" in text
    assert Dataset(mixed).card["content_sha256"] in text

    def score(value: float | None) -> dict[str, object]:
        return {
            "headline": "f1",
            "metrics": {"f1": {"value": value, "low": 0.8, "high": 0.9, "n": 50, "withheld": "why"}},
        }

    add_scores(tmp_path / "run" / "model", {"pope": score(0.5)})
    add_scores(tmp_path / "run" / "model", {"pope": score(0.859), "gqa": score(None)})
    added = (tmp_path / "run" / "model" / "README.md").read_text().removeprefix(text)
    assert "| pope | f1 | 0.859 | 0.800 to 0.900 | 50 |\n| gqa | f1 | withheld: why | | |\n" in added
    assert "0.500" not in added


def test_the_result_is_uploaded_as_it_lies_on_disk(
    base: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(steps=1, hub_model_id="someone/tiny")
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **more: RepoUrl(f"https://huggingface.co/{name}"))
    with pytest.raises(VisiftError, match="only the upload is left to do"):  # the tests have no hub
        train(str(base), [mixed], "lora", tmp_path / "run", settings)
    files: dict[str, bytes] = {}

    def take(self: HfApi, *, repo_id: str, folder_path: str, **more: object) -> None:
        files.update({f"{repo_id}/{p.name}": p.read_bytes() for p in Path(folder_path).iterdir()})

    monkeypatch.setattr(HfApi, "upload_folder", take)
    train(str(base), [mixed], "lora", tmp_path / "run", settings)
    assert files == {f"someone/tiny/{p.name}": p.read_bytes() for p in (tmp_path / "run" / "model").iterdir()}
    assert b"fine-tuned with visift" in files["someone/tiny/README.md"] and "someone/tiny/model.safetensors" in files
    assert len(log(tmp_path / "run")) == 1  # it was not trained again


@pytest.mark.stress
def test_thirty_kills_at_random_moments(base: Path, mixed: Path, tmp_path: Path) -> None:
    settings = changed(steps=62, micro_batch=2)
    train(str(base), [mixed], "sft", tmp_path / "whole", settings)
    out = tmp_path / "killed"
    script = KILLED.format(
        path=str(Path(__file__).parents[1] / "models"), base=str(base), data=str(mixed), out=str(out), stage="sft",
        settings=settings.model_dump(mode="json"),
    )  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill in range(30):
        random = rng("kills", kill)
        where = "saving" if random.random() < 0.3 else "step"
        words = [str(2 * kill + 3), where]  # at least one checkpoint further each time
        run = subprocess.run([sys.executable, "-c", script, *words], env=env, capture_output=True, check=False)
        assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2000:]
    train(str(base), [mixed], "sft", out, settings)
    assert weights(out) == weights(tmp_path / "whole")
