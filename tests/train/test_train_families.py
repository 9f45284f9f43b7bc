"""Every family trains in every stage from mixed rows, reloads in plain transformers, answers, and resumes exactly."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import tiny_data
import tiny_families
from transformers import AutoModelForImageTextToText, Trainer, TrainingArguments

from visift.core.dataset import Dataset
from visift.core.errors import UsageError, VisiftError
from visift.core.files import sha256_file
from visift.evals.answer import answer
from visift.models import Renderer, load
from visift.models.pictures import Pictures
from visift.train import pack
from visift.train.plan import make_plan
from visift.train.rows import OURS, Collator, Rows
from visift.train.run import train
from visift.train.settings import TrainSettings
from visift.train.trainer import VlmTrainer

pytestmark = pytest.mark.integration

FAST = TrainSettings(steps=3, batch_size=4, lr=1e-3, bf16=False, threads=1, save_every=2)
SAMPLED = ("llava-next", "idefics3", "qwen2.5-vl")  # the rest in `make stress`
FAMILIES = [
    name if name in SAMPLED else pytest.param(name, marks=pytest.mark.stress) for name in tiny_families.BUILDERS
]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("mixed"), 12, mixed=True)


@pytest.mark.parametrize("stage", ["align", "sft", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_trains_reloads_and_answers(family: str, stage: str, mixed: Path, tmp_path: Path) -> None:
    base = tiny_families.BUILDERS[family](tmp_path / "base")
    result = train(str(base), [mixed], stage, tmp_path / "run", FAST)
    before = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(result["model"]).state_dict()
    part_of = load(base).family.part_of
    moved = {part_of(name) for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"align": {"projector"}, "sft": {"projector", "llm"}, "lora": {"llm"}}[stage]
    if family == "blip-2":  # ends with a newline until its language model has learnt EOS
        renderer = Renderer(load(result["model"]))
        assert renderer.tokenizer.decode(renderer.end_ids) == {"align": "</s>\n", "sft": "</s>", "lora": "</s>"}[stage]
        said = json.loads((Path(result["model"]) / "generation_config.json").read_text())
        assert (said["eos_token_id"] == renderer.tokenizer.eos_token_id) == (stage != "align")
    counts = answer("t", result["model"], mixed, tmp_path / "a.jsonl", batch_size=4, max_new_tokens=4)
    assert counts["questions"] == 12 and "error" not in counts


@pytest.mark.parametrize(
    "family",
    tiny_families.BUILDERS,
)
def test_labels_decode_to_the_answers_and_pictures_fit(family: str, mixed: Path, tmp_path: Path) -> None:
    vlm = load(tiny_families.BUILDERS[family](tmp_path), train=True)
    renderer, pictures = Renderer(vlm), Pictures(Dataset(mixed), vlm.family)
    end = "</s>" if family in ("paligemma", "blip-2", "instructblip") else "<|im_end|>"
    for c in Dataset(mixed):
        row = renderer.row(c)
        space = " " if family in ("blip-2", "instructblip") else ""
        wanted = "".join(space + t.text + end for t in c.turns if t.role == "assistant" and t.train)
        assert vlm.tokenizer.decode([i for i, m in zip(row.input_ids, row.loss_mask, strict=True) if m]) == wanted
        assert len(pictures.of(c, row.slots)) == len(c.images)


class Stop(Exception):
    pass


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stopped_run_goes_on_exactly(
    family: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_families.BUILDERS[family](tmp_path / "base")
    train(str(base), [mixed], "sft", tmp_path / "whole", FAST)
    own = VlmTrainer.compute_loss

    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 2:
            raise Stop
        return own(self, *args, **kwargs)

    monkeypatch.setattr(VlmTrainer, "compute_loss", stop)
    with pytest.raises(Stop):
        train(str(base), [mixed], "sft", tmp_path / "run", FAST)
    monkeypatch.setattr(VlmTrainer, "compute_loss", own)
    train(str(base), [mixed], "sft", tmp_path / "run", FAST)
    found = [sha256_file(tmp_path / k / "model" / "model.safetensors") for k in ("whole", "run")]
    assert found[0] == found[1]


LOST = ("llava", "llava-next", "llava-onevision", "internvl", "paligemma", "qwen2.5-vl")


@pytest.mark.parametrize(
    "family",
    [n if n in ("llava", "idefics3") else pytest.param(n, marks=pytest.mark.stress) for n in tiny_families.BUILDERS],
)
def test_plain_trainer_loses_the_weights_on_resume(family: str, mixed: Path, tmp_path: Path) -> None:
    """The trap that our checkpoints avoid (above: the same stop through ours is bit-identical). When transformers repairs
    a family, this test says so."""
    base = tiny_families.BUILDERS[family](tmp_path / "base")

    def run(steps: int, resume: bool, out: str) -> dict[str, torch.Tensor]:
        vlm = load(base, train=True)
        dataset = Dataset(mixed)
        rows = Rows(make_plan(tmp_path / "plan", [dataset], Renderer(vlm), 512, 0.0), [dataset], Renderer(vlm),
                    [Pictures(dataset, vlm.family)])  # fmt: skip
        collate = Collator(vlm.family, 2)
        args = TrainingArguments(
            output_dir=str(tmp_path / out), max_steps=steps, save_steps=2, use_cpu=True, report_to="none", disable_tqdm=True,
            per_device_train_batch_size=2, learning_rate=1e-2, lr_scheduler_type="constant", save_strategy="steps",
            remove_unused_columns=False,
        )  # fmt: skip
        Trainer(
            model=vlm.model, args=args, train_dataset=rows,
            data_collator=lambda some: {k: v for k, v in collate(some).items() if k not in OURS},
        ).train(resume_from_checkpoint=resume)  # fmt: skip
        return vlm.model.state_dict()

    start = load(base).model.state_dict()
    run(2, False, "out")
    resumed, whole = run(3, True, "out"), run(3, False, "whole")
    name = next(n for n in start if n.endswith(("layers.0.mlp.up_proj.weight", "layers.0.fc1.weight")))
    if family in LOST:
        assert float((whole[name] - start[name]).abs().max()) > 0.02  # three steps of 0.01
        assert float((resumed[name] - start[name]).abs().max()) < 0.0125  # the third step alone: the first two are gone
    else:
        assert torch.equal(resumed[name], whole[name])


def test_packed_training_is_unpacked_training(mixed: Path, tmp_path: Path) -> None:
    base = tiny_families.BUILDERS["llava"](tmp_path / "base")
    settings = FAST.model_copy(update={"batch_size": 6, "group_by_length": False})
    train(str(base), [mixed], "sft", tmp_path / "a", settings)
    train(str(base), [mixed], "sft", tmp_path / "b", settings.model_copy(update={"pack_tokens": 80}))
    a, b = ([json.loads(x) for x in (tmp_path / k / "train_log.jsonl").read_text().splitlines()] for k in ("a", "b"))
    assert [r["learnt"] for r in a] == [r["learnt"] for r in b]
    assert [r["loss"] for r in a] == pytest.approx([r["loss"] for r in b], abs=1e-5)
    assert max(r["padding"] for r in b) < 0.25 * max(r["padding"] for r in a) + 0.1


def test_a_model_that_mixes_packed_rows_is_refused(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_families.BUILDERS["llava"](tmp_path / "base")
    monkeypatch.setattr(pack, "BLOCKED", 0.0)  # a mask that hides nothing
    with pytest.raises(VisiftError, match="packed conversations see each other"):
        train(str(base), [mixed], "sft", tmp_path / "run", FAST.model_copy(update={"pack_tokens": 80}))
    with pytest.raises(UsageError, match="PaliGemma models cannot be packed"):
        train(
            str(tiny_families.paligemma(tmp_path / "pg")),
            [mixed],
            "sft",
            tmp_path / "r2",
            FAST.model_copy(update={"pack_tokens": 80}),
        )
