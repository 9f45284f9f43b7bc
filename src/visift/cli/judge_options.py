"""The options that name a judge, and the judge they name."""

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
from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.evals.judge import Judge

RULES = "rules"
CACHE = ".cache/verdicts.sqlite"  # under --out


@dataclass(frozen=True)
class JudgeOptions:
    judge: Annotated[
        str, typer.Option("--judge", help="rules, or the URL of an OpenAI-compatible model.", rich_help_panel=PANEL)
    ] = RULES
    judge_model: ModelName = None
    judge_repeats: Annotated[
        int, typer.Option(help="How often each verdict is asked for; their mean counts.", rich_help_panel=PANEL)
    ] = 1
    judge_key_env: KeyEnv = "VISIFT_API_KEY"
    judge_max_cost: MaxCost = None
    judge_price: Price = None
    judge_cache: Cache = None
    judge_concurrency: Concurrency = 16

    @contextmanager
    def asked(self, out: Path | None) -> Iterator[Judge | None]:
        """The judge that the options name, None for `rules`; its connections end with the block. Raises UsageError."""
        if self.judge == RULES:
            yield None
            return
        cache = self.judge_cache or (out / CACHE if out else None)
        if cache is None:
            raise UsageError("a judge's verdicts are to be kept", remedy="pass --out DIR, or --judge-cache FILE")
        if self.judge_repeats < 1:
            raise UsageError(f"--judge-repeats {self.judge_repeats}: at least 1 is needed")
        from visift.evals.judge import Judge

        with open_client(
            self.judge, key_env=self.judge_key_env, cache=cache, max_cost=self.judge_max_cost, price=self.judge_price,
            concurrency=self.judge_concurrency,
        ) as client:  # fmt: skip
            model = self.judge_model or only_model(client.models(), "--judge-model")
            yield Judge(client, model, self.judge_repeats)
