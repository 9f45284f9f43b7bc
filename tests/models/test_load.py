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

from visift.core.errors import DataError, UsageError
from visift.models import fingerprint, load

pytestmark = pytest.mark.integration


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


def holding(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def of_value(name: str, **values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_weight, r"1 missing weights: .*up_proj"), (with_a_stray_weight, r"1 unexpected weights: stray\.weight"),
        (of_another_shape, "model: "), (of_an_unknown_family, r"model type 'llama' is not supported.*supported: .*llava"),
        (with_code_of_its_own, "cannot load the model"), (with_pickled_weights, r"holds no weights \(\*\.safetensors\)"),
        (torn, "cannot load the model"),
        *((holding(name, '{"a": '), rf"{name}:1:7: is not valid JSON.*fix or re-download") for name in (
            "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
            "special_tokens_map.json", "chat_template.json")),
        (holding("preprocessor_config.json", "[1]"), r"preprocessor_config\.json: is no JSON object"),
        (holding("preprocessor_config.json", "{}"), "its parts do not go together .*224"),
        (of_value("preprocessor_config.json", image_mean=None), "its parts do not go together"),
        (of_value("config.json", image_token_index=99999), r"config\.json: image token id 99999 is no token.*set image_token_id"),
        (of_value("config.json", image_token_index=-200), r"config\.json: image token id -200 is no token"),
        (of_value("config.json", image_token_index=None), r"config\.json: a value is not of its kind .*'image_token_index'"),
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


@pytest.mark.parametrize("name", ["nope", "runs/listing/nope", "/nope/model", "a b/c"])
def test_a_name_that_can_be_no_model_is_refused_before_the_hub_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *a, **k: pytest.fail("the hub was asked"))
    for use in (load, fingerprint):
        with pytest.raises(UsageError, match=rf"model '{name}' is unknown\. known: builtin, a folder, a hub id"):
            use(name)


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    a, b = tiny_vlm.llava(tmp_path / "a"), tiny_vlm.llava(tmp_path / "b")
    assert fingerprint(str(a)) == fingerprint(str(b))
    assert fingerprint(str(tiny_vlm.llava(tmp_path / "c", seed=1))) != fingerprint(str(a))


def test_a_template_beside_an_older_processor_and_none_at_all(tmp_path: Path) -> None:
    folder = tiny_vlm.llava(tmp_path / "model", None)
    assert "USER: " in load(folder).chat_template
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert load(folder).chat_template == "{{ messages }}"
    for text in ("{}", '{"chat_template": null}'):
        (folder / "chat_template.json").write_text(text)
        with pytest.raises(DataError, match=r"chat_template\.json: has no text under `chat_template`.*remove it"):
            load(folder)
