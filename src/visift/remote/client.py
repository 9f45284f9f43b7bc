"""Ask a model at an OpenAI-compatible address: cached, limited, retried, capped. One client per process, many threads.

Inside, one asyncio loop in a thread of its own holds all limits; `ask` blocks the thread that calls it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from visift.core.errors import UsageError, VisiftError
from visift.core.seeds import rng
from visift.remote.failures import Failure, RemoteError, UnusableReply
from visift.remote.limits import Limits, Pace, Window
from visift.remote.prices import PRICES, Budget, Price
from visift.remote.request import Reply, Request
from visift.remote.response_cache import ResponseCache
from visift.remote.wire import endpoint, fetch, read_reply

KEY_ENV = "VISIFT_API_KEY"
Usable = Callable[[str], str | None]  # reply text -> why it cannot be used, None if it can
Result = TypeVar("Result")


class Client:
    """Asks one server. Thread-safe, not picklable; use as a context manager.

    url       `http://host:8000/v1` or the whole address; nothing else is ever contacted, redirects are not followed
    key_env   environment variable that holds the key; the key is never stored, logged or shown
    cache     SQLite file of replies and of what was paid; None = forgotten at the end
    price     dollars for a million tokens; None = looked up by the model's name
    max_cost  cap in dollars on all that this cache's books hold, earlier runs included
    """

    def __init__(
        self,
        url: str,
        *,
        key_env: str = KEY_ENV,
        cache: Path | None = None,
        limits: Limits | None = None,
        price: Price | None = None,
        max_cost: float | None = None,
    ) -> None:
        self.url, self.limits = endpoint(url), limits or Limits()
        self._secret, self._price = os.environ.get(key_env, ""), price
        self._headers = {"content-type": "application/json"}
        if self._secret:
            self._headers["authorization"] = f"Bearer {self._secret}"
        self._cache = ResponseCache(cache)
        self._budget = Budget(self._cache, max_cost)
        self._window = Window(self.limits.concurrency)
        self._requests, self._tokens = Pace(self.limits.requests_per_minute), Pace(self.limits.tokens_per_minute)
        self._flying: dict[str, asyncio.Task[Reply]] = {}
        self._refused: RemoteError | None = None  # 401 and its like: no later call fares better
        self._scale = 1.0  # by how much the server counts more prompt tokens than we expect
        self._http = httpx.AsyncClient(
            timeout=self.limits.timeout, follow_redirects=False,
            limits=httpx.Limits(max_connections=self.limits.concurrency),
        )  # fmt: skip
        self._closed, self._closing = False, threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="visift-remote", daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def spent(self) -> float:
        """Dollars booked, earlier runs with this cache included."""
        return self._budget.spent

    @property
    def concurrency(self) -> float:
        """How many calls may run at present."""
        return self._window.size

    def ask(self, request: Request, usable: Usable | None = None) -> Reply:
        """The reply, from the cache or the server; it is in the cache before it is returned.

        `usable` says why a text cannot be used: such replies, and empty or cut-off ones, are asked for again and never
        cached. Raises UnusableReply when none came or the server's filter refuses this one, RemoteError when the server
        refuses or cannot be reached, BudgetError at the cap.
        """
        return self._wait(self._start(self._ask(request, usable)))

    def ask_all(self, requests: Iterable[Request], usable: Usable | None = None) -> Iterator[Reply | UnusableReply]:
        """Replies in the order of the requests, many at a time; what has none yields its UnusableReply."""
        pending: deque[concurrent.futures.Future[Reply]] = deque()
        stream = iter(requests)
        try:
            while True:
                while len(pending) < 2 * self.limits.concurrency and (request := next(stream, None)) is not None:
                    pending.append(self._start(self._ask(request, usable)))
                if not pending:
                    return
                try:
                    yield self._wait(pending.popleft())
                except UnusableReply as e:
                    yield e
        finally:
            for future in pending:
                future.cancel()

    def models(self) -> list[str]:
        """The names that the server offers. Raises RemoteError."""
        return self._wait(self._start(self._models()))

    def close(self) -> None:
        """Ends calls under way; who waits for them gets a VisiftError."""
        with self._closing:  # what was started before is stopped, nothing starts after: no thread waits for ever
            if self._closed:
                return
            self._closed = True
            stopped = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        stopped.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._cache.close()

    def _start(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        with self._closing:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise VisiftError("the client is closed", where=self.url)

    def _wait(self, future: concurrent.futures.Future[Result]) -> Result:
        try:
            return future.result()
        except concurrent.futures.CancelledError as e:
            raise VisiftError("the call was stopped", where=self.url) from e

    async def _stop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()

    async def _ask(self, request: Request, usable: Usable | None) -> Reply:
        """Equal requests under way at the same time are one call."""
        key = request.sha256
        task = self._flying.get(key)
        if task is None:
            task = self._flying[key] = asyncio.ensure_future(self._answer(request, usable))
            task.add_done_callback(lambda _: self._flying.pop(key, None))
        return await asyncio.shield(task)

    async def _answer(self, request: Request, usable: Usable | None) -> Reply:
        kept = self._cache.get(request.sha256)
        if kept is not None and why_unusable(kept, usable) is None:
            return kept
        body, why = request.body(), ""
        for _ in range(self.limits.replies):
            reply, why = await self._send(request, body, usable)
            if not why:
                return reply
        raise UnusableReply(f"no usable reply in {self.limits.replies}: {why}", where=f"request {request.sha256[:12]}")

    async def _send(self, request: Request, body: dict[str, Any], usable: Usable | None) -> tuple[Reply, str]:
        """Send until the server replies: the reply, and why it cannot be used (empty = it can, and is kept).

        Raises RemoteError when it refuses or has failed too often.
        """
        failure = Failure("connection", "was not asked")
        for attempt in range(self.limits.attempts):
            if attempt:
                await asyncio.sleep(self._backoff(failure, attempt, request.sha256))
            try:
                return await self._send_once(request, body, usable)
            except Failure as e:
                failure = e
        raise RemoteError(
            f"{failure.what}, {self.limits.attempts} times in a row", where=self.url,
            remedy="run the same command again later: finished calls are kept",
        ) from failure  # fmt: skip

    def _backoff(self, failure: Failure, attempt: int, key: str) -> float:
        if failure.retry_after is not None:
            if failure.retry_after > self.limits.max_wait:
                raise RemoteError(
                    f"{failure.what}; it asks to wait {failure.retry_after:.0f} s", where=self.url,
                    remedy="run the same command again then: finished calls are kept",
                )  # fmt: skip
            self._requests.pause(failure.retry_after)  # it holds for all calls, not for this one only
            return failure.retry_after
        longest = min(self.limits.max_wait, self.limits.backoff * 2.0 ** (attempt - 1))
        return longest * float(rng("backoff", key, attempt).uniform(0.5, 1.0))

    async def _send_once(self, request: Request, body: dict[str, Any], usable: Usable | None) -> tuple[Reply, str]:
        price = self._price_of(request.model)
        async with self._window:
            prompt = int(request.prompt_bound * self._scale)
            await self._tokens.take(prompt + request.reply_bound)
            await self._requests.take()
            bound = price.of(prompt, request.reply_bound) if price else 0.0
            entry = await self._budget.book(request.sha256, bound)
            cost, outcome = bound, "cut"  # nobody knows what a call costs that a cancel cuts off
            keep = None
            try:
                if self._refused is not None:
                    raise self._refused
                reply = await self._call(request.sha256, body)
                if counted := reply.prompt_tokens + reply.reply_tokens:
                    self._tokens.correct(counted - prompt - request.reply_bound)
                    self._scale = max(self._scale, reply.prompt_tokens / request.prompt_bound)
                    cost = price.of(reply.prompt_tokens, reply.reply_tokens) if price else 0.0
                outcome, why = reply.finish, why_unusable(reply, usable) or ""
                keep = None if why else (request, reply)
                return replace(reply, cost=cost), why
            except Failure as e:
                cost, outcome = (bound if e.billed else 0.0), e.kind
                raise
            except UnusableReply:
                outcome = "refused"  # at its bound: Azure charges for what its filter stops
                raise
            except RemoteError:
                cost, outcome = 0.0, "refused"
                raise
            finally:
                await self._budget.settle(entry, bound, cost, outcome, keep)

    async def _call(self, key: str, body: dict[str, Any]) -> Reply:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(self.limits.timeout):  # httpx's own starts anew with every byte
                response, data = await fetch(self._http, "POST", self.url, body, self._headers)
            reply = read_reply(response, data, key, self._secret)
        except TimeoutError as e:
            self._window.halve(sent)
            raise Failure("timeout", f"gave no answer in {self.limits.timeout:g} s", billed=True) from e
        except Failure as e:
            if e.is_crowded:
                self._window.halve(sent)
            raise
        except RemoteError as e:
            self._refused = RemoteError(e.what, where=self.url, remedy=e.remedy)
            raise self._refused from e
        self._window.grow()
        return reply

    def _price_of(self, model: str) -> Price | None:
        price = self._price or PRICES.get(model)
        if price is None and self._budget.cap is not None:
            raise UsageError(
                f"a cost cap needs a price, and none is known for model {model!r}", remedy="name the price"
            )
        return price

    async def _models(self) -> list[str]:
        url = f"{self.url.removesuffix('/chat/completions')}/models"
        try:
            async with asyncio.timeout(self.limits.timeout):
                response, data = await fetch(self._http, "GET", url, None, self._headers)
            names = [row["id"] for row in json.loads(data)["data"]] if response.status_code == 200 else None
        except (Failure, TimeoutError) as e:
            raise RemoteError(
                getattr(e, "what", "gave no answer in time"), where=url, remedy="is the server up?"
            ) from e
        except (ValueError, KeyError, TypeError) as e:
            raise RemoteError("sent no list of models", where=url, remedy="name the model") from e
        if names is None:
            raise RemoteError(f"answered {response.status_code}", where=url, remedy="name the model")
        return [str(name) for name in names]


def anything(text: str) -> None:
    """`usable` for who studies the model itself: what is empty or cut off at the token limit is its reply too."""


def why_unusable(reply: Reply, usable: Usable | None) -> str | None:
    """Why a reply may be neither cached nor used; None if it may."""
    if reply.finish == "content_filter":
        return "the server's filter withheld it"
    if usable is anything:
        return None
    if reply.finish == "length":
        return "it was cut off at the token limit"
    if not reply.text.strip():
        return "it is empty"
    return usable(reply.text) if usable else None
