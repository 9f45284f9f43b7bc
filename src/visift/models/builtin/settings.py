"""Settings of the built-in model's pre-training: `pretrain:` of recipes/builtin_base.yaml."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class PretrainSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = 10000
    batch_size: int = 16
    looking: float = 0.15  # share of the steps at the start in which nothing is asked: what sees learns, from labels
    only_seen: int = 32  # rows of such a step
    lr: float = 6e-4
    weight_decay: float = 0.05
    warmup: int = 200
    decay: float = 0.45  # share of the steps at the end over which the rate falls to zero
    describing: float = 0.05  # share of the steps, after looking, in which only whole scenes are told of
    dense_weight: float = 0.5
    hard: float = 0.1  # share of scenes from levels 1 and 2
    vocab_size: int = 2048
    seed: int = 0
    start: str | None = None  # a model to go on from, with a fresh optimiser; None: from nothing
    threads: int = 1
    processes: int = 1  # each takes its part of every batch: faster on two cores than two threads (docs/notebook.md)
    workers: int = 0  # further processes that draw the lessons; a GPU wants as many as there are cores
    device: str = "cpu"
    save_every: int = 250

    @property
    def first_asked(self) -> int:
        """The first step with lessons."""
        return round(self.looking * self.steps)

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        if self.batch_size % self.processes or self.only_seen % self.processes:
            raise ValueError(
                f"processes: {self.processes} cannot share out {self.batch_size} and {self.only_seen} rows evenly"
            )
        return self
