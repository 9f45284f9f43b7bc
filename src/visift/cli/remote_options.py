"""The options that say how a remote model is asked, where `--model` is an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from visift.evals.remote_engine import RemoteModel

PANEL = "Where --model is a URL"
CACHE = "replies.sqlite"


@dataclass(frozen=True)
class RemoteOptions:
    remote_model: Annotated[
        str | None, typer.Option(help="Its name; default: the only one that the server offers.", rich_help_panel=PANEL)
    ] = None
    key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the API key.", rich_help_panel=PANEL)
    ] = "VISIFT_API_KEY"
    max_cost: Annotated[
        float | None,
        typer.Option(
            help="Cap in dollars on all calls noted in the cache, earlier runs included.", rich_help_panel=PANEL
        ),
    ] = None
    price: Annotated[
        str | None,
        typer.Option(help="PROMPT,REPLY in dollars for a million tokens; default: by name.", rich_help_panel=PANEL),
    ] = None
    cache: Annotated[
        Path | None, typer.Option(help=f"SQLite file of its replies (default OUT.{CACHE}).", rich_help_panel=PANEL)
    ] = None
    concurrency: Annotated[
        int, typer.Option(help="Most calls at a time; fewer while it is overloaded.", rich_help_panel=PANEL)
    ] = 16

    @contextmanager
    def asked(self, model: str, out: Path) -> Iterator[RemoteModel | None]:
        """The model behind that address, None where `model` is no address; its connections end with the block."""
        if not model.startswith(("http://", "https://")):
            yield None
            return
        from visift.cli.remote_client import only_model, open_client
        from visift.evals.remote_engine import RemoteModel

        with open_client(
            model, key_env=self.key_env, cache=self.cache or Path(f"{out}.{CACHE}"), max_cost=self.max_cost,
            price=self.price, concurrency=self.concurrency,
        ) as client:  # fmt: skip
            yield RemoteModel(client, self.remote_model or only_model(client.models(), "--remote-model"))
