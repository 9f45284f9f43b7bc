"""The options that name a teacher, and the teacher they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visift.core.errors import UsageError

if TYPE_CHECKING:
    from visift.synth.teacher import Teacher

PANEL = "Teacher"
RULES = "rules"
CACHE = ".cache/replies.sqlite"  # under --out
TeacherUrl = Annotated[
    str,
    typer.Option("--teacher", help="rules, or the URL of an OpenAI-compatible model.", rich_help_panel=PANEL),
]
TeacherModel = Annotated[
    str | None, typer.Option(help="Its name; default: the only one that the server offers.", rich_help_panel=PANEL)
]
TeacherKeyEnv = Annotated[str, typer.Option(help="Environment variable that holds the API key.", rich_help_panel=PANEL)]
TeacherMaxCost = Annotated[
    float | None,
    typer.Option(help="Cap in dollars on all calls noted in the cache, earlier runs included.", rich_help_panel=PANEL),
]
TeacherPrice = Annotated[
    str | None,
    typer.Option(help="PROMPT,REPLY in dollars for a million tokens; default: by name.", rich_help_panel=PANEL),
]
TeacherCache = Annotated[
    Path | None, typer.Option(help=f"SQLite file of its replies (default OUT/{CACHE}).", rich_help_panel=PANEL)
]
TeacherConcurrency = Annotated[
    int, typer.Option(help="Most calls at a time; fewer while it is overloaded.", rich_help_panel=PANEL)
]
TeacherRpm = Annotated[float | None, typer.Option(help="Most requests a minute.", rich_help_panel=PANEL)]
TeacherTpm = Annotated[float | None, typer.Option(help="Most tokens a minute.", rich_help_panel=PANEL)]


@contextmanager
def teacher_from(
    url: str,
    out: Path,
    model: str | None,
    key_env: str,
    max_cost: float | None,
    price: str | None,
    cache: Path | None,
    concurrency: int,
    rpm: float | None,
    tpm: float | None,
) -> Iterator[Teacher | None]:
    """The teacher that the options name, None for `rules`; its connections end with the block. Raises UsageError."""
    if url == RULES:
        yield None
        return
    from visift.remote.client import Client
    from visift.remote.limits import Limits
    from visift.remote.prices import price_from
    from visift.synth.teacher import Teacher

    limits = Limits(concurrency=concurrency, requests_per_minute=rpm, tokens_per_minute=tpm)
    with Client(
        url, key_env=key_env, cache=cache or out / CACHE, limits=limits, max_cost=max_cost,
        price=price_from(price) if price else None,
    ) as client:  # fmt: skip
        yield Teacher(client, model or _only_model(client.models()))


def _only_model(names: list[str]) -> str:
    if len(names) != 1:
        raise UsageError(
            f"the server offers {len(names)} models",
            remedy=f"--teacher-model NAME, of {', '.join(names[:10]) or 'none'}",
        )
    return names[0]
