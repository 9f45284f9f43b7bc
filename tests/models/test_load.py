"""A model is loaded whole or not at all, and nothing of a stranger's is run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import tiny_vlm

from visift.core.errors import DataError
from visift.models import fingerprint, load


def without_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(n for n in sorted(weights) if "up_proj" in n))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_a_stray_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "stray.weight": torch.zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})


def of_another_shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in sorted(weights) if "up_proj" in n)
    save_file({**weights, name: weights[name][:3].clone()}, folder / "model.safetensors", metadata={"format": "pt"})


def of_an_unknown_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))


def with_code_of_its_own(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w').write('')\nclass Config: ...\n")


def with_pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def torn(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_weight, r"1 missing weights: .*up_proj"), (with_a_stray_weight, r"1 unexpected weights: stray\.weight"),
        (of_another_shape, "model: "), (of_an_unknown_family, r"model type 'llama' is not supported.*supported: .*llava"),
        (with_code_of_its_own, "cannot load the model"), (with_pickled_weights, r"holds no weights \(\*\.safetensors\)"),
        (torn, "cannot load the model"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = tiny_vlm.llava(tmp_path / "model")
    damage(folder)
    with pytest.raises(DataError, match=message) as e:
        load(folder)
    assert str(folder) in str(e.value) and not (folder / "ran").exists()


def test_a_name_that_is_neither_folder_nor_reachable() -> None:
    with pytest.raises(DataError, match=r"nobody/nothing: cannot load the model"):
        load("nobody/nothing")


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    a, b = tiny_vlm.llava(tmp_path / "a"), tiny_vlm.llava(tmp_path / "b")
    assert fingerprint(str(a)) == fingerprint(str(b))
    assert fingerprint(str(tiny_vlm.llava(tmp_path / "c", seed=1))) != fingerprint(str(a))


def test_a_template_beside_an_older_processor_and_none_at_all(tmp_path: Path) -> None:
    folder = tiny_vlm.llava(tmp_path / "model", None)
    assert "USER: " in load(folder).chat_template
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert load(folder).chat_template == "{{ messages }}"
