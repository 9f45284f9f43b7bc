"""Load a Hugging Face VLM from a folder or hub id: model, tokenizer, image processor, chat template and family adapter."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import logging as hf_logging

from visift.core.errors import DataError, UsageError
from visift.core.files import HUB_ID, model_hashes, read_json
from visift.models import vpgc
from visift.models.attention import PLAIN
from visift.models.builtin import FOLDER as BUILTIN
from visift.models.families import Family, family_for

# LLaVA-1.5's conversation, for a checkpoint whose tokenizer brings no template of its own.
VICUNA = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% set messages = messages[1:] %}"
    '{% else %}{{ "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, '
    "detailed, and polite answers to the human's questions. \" }}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'USER: ' + m['content'] + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
ADAPTER = "vpgc"  # a model folder's folder of its VPG-C adapter
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".gguf", ".onnx", ".index.json")
CONFIGS = {
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "chat_template.json",
    "model.safetensors.index.json",
}  # fmt: skip
UNFIT = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)  # what transformers makes of bad files


@dataclass
class Vlm:
    """A vision-language model with all that turns conversations into its inputs."""

    model: Any
    tokenizer: Any
    image_processor: Any
    chat_template: str
    family: Family
    path: str

    def save(self, folder: Path, model: Any = None) -> None:
        """Write a plain Hugging Face folder: weights, configuration, tokenizer, template, processor.

        `model` stands in for the one loaded (merged weights). Side files of the source folder come along, so that its
        processor loads as before. A VPG-C adapter goes into a folder of its own, which plain transformers passes over.
        """
        folder.mkdir(parents=True, exist_ok=True)
        model = model or self.model
        if (adapter := vpgc.attached(model)) is not None:
            vpgc.save(adapter, folder / ADAPTER)
            own = {n: t for n, t in model.state_dict().items() if not n.startswith("vpgc.")}
            model.save_pretrained(folder, state_dict=own)
        else:
            model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):
            weights.chmod(0o644)  # as the other files; safetensors keeps them to the owner
        source = Path(self.path)
        if not source.is_dir():
            self.image_processor.save_pretrained(folder)
            return
        for file in sorted(source.iterdir()):
            there = (folder / file.name).exists()
            if file.suffix in (".json", ".jinja") and not file.name.endswith(WEIGHT_FILES) and not there:
                shutil.copyfile(file, folder / file.name)
            elif file.is_dir() and file.name == "qformer_tokenizer" and not there:
                shutil.copytree(file, folder / file.name)


def where(model: str | Path) -> str:
    """`builtin` is the folder of the base model that comes with visift; everything else names itself.

    Raises UsageError for what is no path and no hub id either; whether a hub id can be reached is seen when it is loaded.
    """
    name = str(model)
    if name == "builtin":
        return str(BUILTIN)
    if not Path(name).exists() and not HUB_ID.fullmatch(name):
        raise UsageError(f"model {name!r} is unknown", remedy="known: builtin, a folder, a hub id (owner/name)")
    return name


def load(source: str | Path, *, dtype: torch.dtype = torch.float32, train: bool = False) -> Vlm:
    """Load a VLM strictly: safetensors only, no remote code, every weight accounted for. The model is in eval mode.

    A folder's own VPG-C adapter is attached. `train` prepares the model for training: no cache, and on CPU plain softmax attention (attention.py). Raises DataError when a file is missing in the folder or is not what it should be, and when weights are missing or left over; UsageError as `where`.
    """
    hf_logging.disable_progress_bar()
    path = where(source)
    folder = Path(path)
    if folder.is_dir():
        _check_folder(folder)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        adapter = family_for(config.model_type, path)
        options = {"attn_implementation": PLAIN} if train and not torch.cuda.is_available() else {}
        model, info = AutoModelForImageTextToText.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        image_processor = AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=False)
    except StrictDataclassError as e:
        raise DataError(
            f"a value is not of its kind ({str(e).strip().splitlines()[-1].strip()})",
            where=f"{path}/config.json",
            remedy="correct it or take the file from the original model",
        ) from e
    except (*UNFIT, SafetensorError) as e:
        raise DataError(
            f"cannot load the model ({_first_line(e)})", where=path,
            remedy="name a folder with config.json, safetensors weights, tokenizer and preprocessor_config.json, or a hub id that can be reached",
        ) from e  # fmt: skip
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, info.get(what) or ())):
            raise DataError(
                f"{len(names)} {what.replace('_keys', '')} weights: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}",
                where=path, remedy="the weights do not belong to this configuration",
            )  # fmt: skip
    if not getattr(tokenizer, "is_fast", False):
        raise DataError("the tokenizer gives no character offsets", where=path, remedy="save it with a tokenizer.json")
    if train:
        for part in (model.config, model.config.get_text_config()):
            part.use_cache = False  # both: the language model reads its own
    model.eval()
    _check_image_token(model.config, tokenizer, path)
    try:
        family = adapter(model, tokenizer, image_processor)
    except UNFIT as e:
        raise DataError(
            f"its parts do not go together ({_first_line(e)})", where=path,
            remedy="compare config.json, preprocessor_config.json and the tokenizer's files with the original model's",
        ) from e  # fmt: skip
    if (folder / ADAPTER).is_dir():
        vpgc.load(model, folder / ADAPTER)
    return Vlm(model, tokenizer, image_processor, _template(tokenizer, folder, adapter), family, path)


def _first_line(e: Exception) -> str:
    return str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__


def _check_image_token(config: Any, tokenizer: Any, path: str) -> None:
    """One that is None is the family's to name."""
    token = getattr(config, "image_token_id", None)
    if token is not None and token not in tokenizer.get_vocab().values():
        raise DataError(
            f"image token id {token} is no token of the tokenizer", where=f"{path}/config.json",
            remedy="set image_token_id (LLaVA: image_token_index) to the id of the token that stands for a picture",
        )  # fmt: skip


def _check_folder(folder: Path) -> None:
    names = {p.name for p in folder.iterdir()}
    wanted = {
        "configuration (config.json)": "config.json" in names,
        "weights (*.safetensors)": any(n.endswith(".safetensors") for n in names),
        "tokenizer (tokenizer.json)": bool(names & {"tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model"}),
        "image processor (preprocessor_config.json)": bool(
            names & {"preprocessor_config.json", "processor_config.json"}
        ),
    }
    if missing := [what for what, there in wanted.items() if not there]:
        raise DataError(
            f"holds no {', no '.join(missing)}", where=folder, remedy="name a complete Hugging Face model folder"
        )
    for file in sorted([*folder.glob("*.json"), *folder.glob("qformer_tokenizer/*.json")]):
        if file.name in CONFIGS and not isinstance(read_json(file), dict):
            raise DataError("is no JSON object", where=file, remedy="take the file from the original model")


def _template(tokenizer: Any, folder: Path, adapter: type[Family]) -> str:
    """The tokenizer's chat template, else the processor's older `chat_template.json`, else the family's own text."""
    if isinstance(tokenizer.chat_template, str):
        return tokenizer.chat_template
    if (file := folder / "chat_template.json").is_file():
        text = read_json(file).get("chat_template")
        if not isinstance(text, str):
            raise DataError(
                "has no text under `chat_template`", where=file, remedy="take the original model's file, or remove it"
            )
        return text
    return adapter.template or VICUNA


def fingerprint(model: str) -> dict[str, Any]:
    """What a model is known by: hashes of a folder's files and of its adapter's, or the hub id."""
    folder = Path(where(model))
    if not folder.is_dir():
        return {"hub": model}
    return model_hashes(folder) | {f"{ADAPTER}/{name}": found for name, found in model_hashes(folder / ADAPTER).items()}
