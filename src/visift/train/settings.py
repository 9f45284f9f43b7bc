"""Everything that decides a training run, with its defaults; a recipe is a YAML mapping of these keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from visift.core.errors import UsageError

Stage = Literal["align", "sft", "lora", "full", "vpgc"]  # what each trains says stages.py, which needs torch
Settings = TypeVar("Settings", bound=BaseModel)


class TrainSettings(BaseModel):
    """Settings of one run. What is learnt depends on all of them but the last block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(0, ge=0)  # optimiser steps; 0 = as many as `epochs` gives
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, ge=1)  # rows an optimiser step, over all processes
    joint: tuple[int, ...] = ()  # of them from each dataset; the loss is then the token mean of each dataset, summed
    lr: float = Field(2e-5, gt=0)
    module_lr: dict[Literal["vision", "projector", "llm"], float] = {}  # instead of `lr` for that part
    warmup: float = Field(0.03, ge=0)  # steps, or a share of them when below 1
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    decay: float = Field(0.3, ge=0, le=1)  # wsd: share of the steps at the end in which the rate falls to zero
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    clip: float = Field(1.0, ge=0)  # gradient norm; 0 = off
    seed: int = 0
    bf16: bool | None = None  # autocast over fp32 weights; None = where the device is fast at it
    max_length: int = Field(2048, ge=8)  # tokens a row; longer rows are left out and counted, never cut
    max_rejected: float = Field(0.05, ge=0, le=1)  # a larger share of rows left out stops the run
    group_by_length: bool = True
    pack_tokens: int = Field(0, ge=0)  # lay a batch's rows end to end in rows of about so many tokens; 0 = pad them
    pack_pictures: int = Field(0, ge=0)  # and of at most about so many pictures; 0 = as they come
    lora_rank: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    vpgc_layer: int | None = Field(None, ge=0)  # the block before which a new VPG-C adapter works; None = the middle
    vpgc_guidance: Literal["prompt", "zero", "shuffled"] = "prompt"
    gradient_checkpointing: bool = False
    micro_batch: int = Field(
        0, ge=0
    )  # rows at once in a process, 0 = its share of the batch; decides the order of sums

    # How it runs, not what is learnt
    save_every: int = Field(200, ge=1)  # steps
    log_every: int = Field(1, ge=1)
    workers: int = Field(0, ge=0)  # processes that prepare batches
    threads: int = Field(0, ge=0)  # of torch; 0 = its default
    picture_memory: int = Field(1024, ge=0)  # MB of prepared pictures kept
    report_to: tuple[str, ...] = ()  # Trainer's loggers beside the JSONL
    hub_model_id: str = ""  # NAME/REPOSITORY on the hub, to which OUT/model goes in the end

    RUNTIME: ClassVar[frozenset[str]] = frozenset(
        {"save_every", "log_every", "workers", "threads", "picture_memory", "report_to", "hub_model_id"}
    )

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result: a run may be resumed with others of the rest."""
        return self.model_dump(mode="json", exclude=set(self.RUNTIME))


def settings_from(values: Mapping[str, Any], where: object = "settings") -> TrainSettings:
    """Raises UsageError naming the key that is unknown or has no fitting value."""
    return fitting(TrainSettings, values, where)


def fitting(kind: type[Settings], values: Mapping[str, Any], where: object) -> Settings:
    """`values` as settings of that kind. Raises UsageError as `settings_from` does."""
    try:
        return kind(**values)
    except ValidationError as e:
        problem = e.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(sorted(kind.model_fields))
            raise UsageError(f"unknown key {key!r}", where=where, remedy=f"allowed: {allowed}") from e
        if not key:  # of several values together
            raise UsageError(problem["msg"].removeprefix("Value error, "), where=where) from e
        raise UsageError(f"{key}: {problem['msg']} (found {problem['input']!r})", where=where) from e


def names() -> list[str]:
    return sorted(TrainSettings.model_fields)


NAMED = ("model", "stage")  # what a recipe may name beside settings; the command's options go before it


def _mapping(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as e:
        first = str(e).strip().splitlines()[0]
        raise UsageError(f"cannot read the recipe ({first})", where=path, remedy="a YAML mapping is expected") from e
    if not isinstance(loaded, dict):
        raise UsageError("is not a mapping of settings", where=path, remedy=f"allowed keys: {', '.join(names())}")
    return loaded


def named_in(path: Path | None) -> dict[str, str]:
    """The model and the stage that the recipe names; {} where it names none."""
    return {} if path is None else {k: str(v) for k, v in _mapping(path).items() if k in NAMED}


def override(assignment: str) -> tuple[str, Any]:
    """`train.steps=100` -> ("train.steps", 100): the key, and its value read as YAML. Raises UsageError."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UsageError(f"{assignment!r} is not key=value", remedy="for example steps=100")
    try:
        return key, yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as e:  # ValueError: a date that is none
        raise UsageError(f"{assignment!r}: {text!r} is not a YAML value", remedy="quote it if it is text") from e


def read_recipe(path: Path | None, overrides: Sequence[str] = ()) -> TrainSettings:
    """A YAML mapping of settings, then `key=value` overrides (`module_lr.projector=2e-5`)."""
    values: dict[str, Any] = {}
    if path is not None:
        values = {k: v for k, v in _mapping(path).items() if k not in NAMED}
    for key, value in map(override, overrides):
        head, dot, tail = key.partition(".")
        values[head] = {**(values.get(head) or {}), tail: value} if dot else value
    # YAML 1.1 reads 2e-5 as text; pydantic turns it into a number
    return settings_from(values, path or "settings")
