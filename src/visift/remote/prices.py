"""What calls cost, and the cap on it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from visift.core.errors import UsageError
from visift.remote.failures import BudgetError
from visift.remote.request import Reply, Request
from visift.remote.response_cache import ResponseCache


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    prompt: float
    reply: float

    def of(self, prompt_tokens: int, reply_tokens: int) -> float:
        return (prompt_tokens * self.prompt + reply_tokens * self.reply) / 1e6


# List prices as of mid 2025; they change: name yours where it matters.
PRICES = {
    "gpt-4o": Price(2.50, 10.00), "gpt-4o-mini": Price(0.15, 0.60),
    "gpt-4.1": Price(2.00, 8.00), "gpt-4.1-mini": Price(0.40, 1.60), "gpt-4.1-nano": Price(0.10, 0.40),
}  # fmt: skip


def price_from(text: str) -> Price:
    """`2.5,10` -> dollars for a million prompt and reply tokens. Raises UsageError."""
    try:
        prompt, reply = (float(v) for v in text.split(","))
    except ValueError:
        prompt = reply = -1.0
    if not (0 <= prompt < 1e9 and 0 <= reply < 1e9):
        raise UsageError(f"price {text!r} is not two numbers", remedy="PROMPT,REPLY in dollars for a million tokens")
    return Price(prompt, reply)


class Budget:
    """Every call is booked at its bound before it is sent, and at its true cost once that is known.

    The books lie beside the cache, so the cap holds over restarts and kills: what a kill cut off counts at its bound.
    """

    def __init__(self, cache: ResponseCache, cap: float | None) -> None:
        if cap is not None and not 0 <= cap < math.inf:
            raise UsageError(f"cost cap {cap}: a number of dollars is needed")
        self.cap, self._cache = cap, cache
        self.spent = cache.spent()  # what was booked, open calls at their bounds
        self._open = 0
        self._settled = asyncio.Condition()

    async def book(self, key: str, bound: float) -> int:
        """Wait until `bound` dollars fit under the cap and book them. Raises BudgetError when they never will."""
        async with self._settled:
            while self.cap is not None and self.spent + bound > self.cap:
                if not self._open:
                    raise BudgetError(
                        f"the next call may cost ${bound:.4f}, and ${self.spent:.4f} of the cap of ${self.cap:.4f} are spent",
                        remedy="raise the cap and run the same command again: finished calls are kept",
                    )
                await self._settled.wait()
            self.spent += bound
            self._open += 1
            return self._cache.book(key, bound)

    async def settle(
        self, entry: int, bound: float, cost: float, outcome: str, keep: tuple[Request, Reply] | None = None
    ) -> None:
        """Replace the bound of a booked call by what it cost, and put a reply that is to be kept into the cache."""
        self._cache.settle(entry, cost, outcome, keep)
        self.spent += cost - bound
        self._open -= 1
        async with self._settled:
            self._settled.notify_all()
