"""The options that say how a remote model is asked, where `--model` is an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visift.cli.remote_client import Cache, Concurrency, KeyEnv, MaxCost, ModelName, Price, only_model, open_client

if TYPE_CHECKING:
    from visift.evals.remote_engine import RemoteModel

CACHE = "replies.sqlite"


@dataclass(frozen=True)
class RemoteOptions:
    remote_model: ModelName = None
    key_env: KeyEnv = "VISIFT_API_KEY"
    max_cost: MaxCost = None
    price: Price = None
    cache: Cache = None
    concurrency: Concurrency = 16

    @contextmanager
    def asked(self, model: str, out: Path) -> Iterator[RemoteModel | None]:
        """The model behind that address, None where `model` is no address; its connections end with the block."""
        if not model.startswith(("http://", "https://")):
            yield None
            return
        from visift.evals.remote_engine import RemoteModel

        with open_client(
            model, key_env=self.key_env, cache=self.cache or Path(f"{out}.{CACHE}"), max_cost=self.max_cost,
            price=self.price, concurrency=self.concurrency,
        ) as client:  # fmt: skip
            yield RemoteModel(client, self.remote_model or only_model(client.models(), "--remote-model"))
