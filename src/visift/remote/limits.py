"""How many calls at a time, and how many in a minute."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from visift.core.errors import UsageError

START = 4  # calls at a time in the beginning


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do to a server.

    concurrency          most calls at a time; fewer while the server is overloaded
    requests_per_minute  None = no limit; calls are spaced evenly, without bursts
    tokens_per_minute    prompt and reply together, the reply at its greatest length until its true one is known
    timeout              seconds for one call, from sending to the last byte
    attempts             sendings of one request that may fail (429, 5xx, cut connection, time-out, nonsense) before the work stops
    replies              replies to one request that may be unusable before it is given up
    backoff              seconds before the second sending, doubled each time up to `max_wait`
    max_wait             longest wait in seconds; a server that asks for a longer one stops the work
    """

    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 180.0
    attempts: int = 8
    replies: int = 2
    backoff: float = 1.0
    max_wait: float = 300.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout", "attempts", "replies", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name.replace('_', ' ')} {value}: more than 0 is needed")


class Window:
    """How many calls run at a time: one more per round of successes, half as many after a sign of overload (AIMD).

    Use as an async context manager around a call.
    """

    def __init__(self, most: int) -> None:
        self.most, self.size, self.busy = most, float(min(START, most)), 0
        self._changed = asyncio.Condition()
        self._halved = 0.0

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.busy < int(self.size))
            self.busy += 1

    async def __aexit__(self, *error: object) -> None:
        self.busy -= 1
        async with self._changed:
            self._changed.notify_all()

    def grow(self) -> None:
        self.size = min(float(self.most), self.size + 1 / self.size)

    def halve(self, sent: float) -> None:
        """`sent`: when (monotonic) the failed call was sent. Calls sent before the last halving tell nothing new."""
        if sent >= self._halved:
            self.size, self._halved = max(1.0, self.size / 2), time.monotonic()


class Pace:
    """At most so many units a minute, spaced evenly; and a time before which nothing may be sent."""

    def __init__(self, per_minute: float | None) -> None:
        self.seconds = 60 / per_minute if per_minute else 0.0  # per unit
        self._next = self._paused_until = 0.0

    async def take(self, units: float = 1) -> None:
        """Wait for the turn of `units`; the next one's turn comes as much later."""
        start = max(self._next, time.monotonic())
        self._next = start + units * self.seconds
        while (wait := max(start, self._paused_until) - time.monotonic()) > 0:  # a pause may come while it waits
            await asyncio.sleep(wait)

    def correct(self, units: float) -> None:
        """So many more (or fewer, negative) units than taken were used."""
        self._next += units * self.seconds

    def pause(self, seconds: float) -> None:
        """Send nothing for so long, whatever the pace."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
