"""The client that a command's options name, and those options: teachers, judges and remote models are asked through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.remote.client import Client


PANEL = "A model behind a URL"

ModelName = Annotated[
    str | None, typer.Option(help="Its name; default: the only one that the server offers.", rich_help_panel=PANEL)
]
KeyEnv = Annotated[str, typer.Option(help="Environment variable that holds the API key.", rich_help_panel=PANEL)]
MaxCost = Annotated[
    float | None,
    typer.Option(help="Cap in dollars on all calls noted in the cache, earlier runs included.", rich_help_panel=PANEL),
]
Price = Annotated[
    str | None,
    typer.Option(help="PROMPT,REPLY in dollars for a million tokens; default: by name.", rich_help_panel=PANEL),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="SQLite file of its replies (default: beside what is written).", rich_help_panel=PANEL),
]
Concurrency = Annotated[
    int, typer.Option(help="Most calls at a time; fewer while it is overloaded.", rich_help_panel=PANEL)
]


def open_client(
    url: str, *, key_env: str, cache: Path, max_cost: float | None, price: str | None, concurrency: int,
    rpm: float | None = None, tpm: float | None = None,
) -> Client:  # fmt: skip
    """A client for that address; use as a context manager. Raises UsageError for an address, a price or a limit that is none."""
    from visift.remote.client import Client
    from visift.remote.limits import Limits
    from visift.remote.prices import price_from

    limits = Limits(concurrency=concurrency, requests_per_minute=rpm, tokens_per_minute=tpm)
    return Client(
        url, key_env=key_env, cache=cache, limits=limits, max_cost=max_cost, price=price_from(price) if price else None
    )


def only_model(names: Sequence[str], option: str) -> str:
    """The one name that the server offers. Raises UsageError naming the option that chooses."""
    if len(names) != 1:
        raise UsageError(
            f"the server offers {len(names)} models", remedy=f"{option} NAME, of {', '.join(names[:10]) or 'none'}"
        )
    return names[0]
