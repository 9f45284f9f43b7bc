"""The options that name a teacher, and the teacher they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.cli.remote_client import (
    PANEL,
    Cache,
    Concurrency,
    KeyEnv,
    MaxCost,
    ModelName,
    Price,
    only_model,
    open_client,
)

if TYPE_CHECKING:
    from visift.synth.teacher import Teacher

RULES = "rules"
CACHE = ".cache/replies.sqlite"  # under --out


@dataclass(frozen=True)
class TeacherOptions:
    teacher: Annotated[
        str,
        typer.Option("--teacher", help="rules, or the URL of an OpenAI-compatible model.", rich_help_panel=PANEL),
    ] = RULES
    teacher_model: ModelName = None
    teacher_key_env: KeyEnv = "VISIFT_API_KEY"
    teacher_max_cost: MaxCost = None
    teacher_price: Price = None
    teacher_cache: Cache = None
    teacher_concurrency: Concurrency = 16
    teacher_rpm: Annotated[float | None, typer.Option(help="Most requests a minute.", rich_help_panel=PANEL)] = None
    teacher_tpm: Annotated[float | None, typer.Option(help="Most tokens a minute.", rich_help_panel=PANEL)] = None

    @contextmanager
    def asked(self, out: Path) -> Iterator[Teacher | None]:
        """The teacher that the options name, None for `rules`; its connections end with the block. Raises UsageError."""
        if self.teacher == RULES:
            yield None
            return
        from visift.synth.teacher import Teacher

        with open_client(
            self.teacher, key_env=self.teacher_key_env, cache=self.teacher_cache or out / CACHE,
            max_cost=self.teacher_max_cost, price=self.teacher_price, concurrency=self.teacher_concurrency,
            rpm=self.teacher_rpm, tpm=self.teacher_tpm,
        ) as client:  # fmt: skip
            yield Teacher(client, self.teacher_model or only_model(client.models(), "--teacher-model"))
