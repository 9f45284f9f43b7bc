"""HTTP as OpenAI-compatible servers speak it: addresses, what a response means, which failures may pass."""

from __future__ import annotations

import json
import math
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from visift.core.errors import UsageError
from visift.remote.failures import Failure, RemoteError, UnusableReply
from visift.remote.request import Reply

MAX_BYTES = 16_000_000  # of one response; more is not a chat reply
OVERLOADED = (429, 503, 529)
PASSING = (408, 409, 425)  # besides 5xx
UNWANTED = frozenset({  # with a 400: what is wrong is this one picture or text, others are taken
    # filters, in order: Azure, OpenAI (two), DashScope
    "content_filter", "content_policy_violation", "invalid_prompt", "data_inspection_failed",
    # pictures: OpenAI's codes, without those for addresses (pictures are sent inline)
    "image_content_policy_violation", "image_file_too_large", "image_parse_error", "image_too_large", "image_too_small",
    "empty_image_file", "invalid_base64_image", "invalid_image", "invalid_image_format", "invalid_image_mode",
    "unsupported_image", "unsupported_image_media_type",
})  # fmt: skip
REMEDIES = {
    400: "the server does not accept this request: does the model take pictures and this many tokens?",
    401: "is the API key set, and the right one?",
    403: "may this key use this model?",
    404: "check the address and the model's name",
    429: "the account's quota is used up",
}


def endpoint(url: str) -> str:
    """`http://host:8000`, `…/v1` or the whole `…/v1/chat/completions` -> the address that takes chats. Raises UsageError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise UsageError(f"{url!r} is no http(s) address ({e})") from e
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no http(s) address", remedy="for example http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "the address holds a user, a query or a fragment", remedy="keys go into the environment variable"
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return f"{parts.scheme}://{parts.netloc}{path}"


async def fetch(
    http: httpx.AsyncClient, method: str, url: str, body: Any, headers: dict[str, str]
) -> tuple[httpx.Response, bytes]:
    """The response and its whole body. Raises Failure for all that happens on the way."""
    content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    data = bytearray()
    try:
        async with http.stream(method, url, content=content, headers=headers) as response:
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise Failure("nonsense", f"a response of more than {MAX_BYTES} bytes", billed=True)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as e:
        raise Failure("connection", f"cannot be reached ({type(e).__name__})") from e
    except httpx.TimeoutException as e:
        raise Failure("timeout", "gave no answer in time", billed=True) from e
    except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as e:
        raise Failure("connection", f"cut the connection ({type(e).__name__})", billed=True) from e
    return response, bytes(data)


def read_reply(response: httpx.Response, data: bytes, key: str, secret: str) -> Reply:
    """The reply in a response. Raises Failure where another sending may help, UnusableReply where only this question is
    refused, RemoteError where all are."""
    body = _json(data)
    if response.status_code != 200:
        raise _refusal(response, body, data, key, secret)
    try:
        choice = body["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        if isinstance(text, list):  # some servers send parts
            text = "".join(part.get("text", "") for part in text)
        usage = body.get("usage") or {}
        tokens = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
        if not isinstance(text, str | None) or not isinstance(finish, str | None):
            raise TypeError("content is no text")
    except (KeyError, IndexError, TypeError, AttributeError) as e:
        raise Failure("nonsense", "sent something that is no chat completion", billed=True) from e
    return Reply(text or "", finish or "stop", key, tokens[0], tokens[1])


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _count(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0


def _refusal(response: httpx.Response, body: Any, data: bytes, key: str, secret: str) -> Exception:
    status = response.status_code
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    said = " ".join(str(message or data[:300].decode("utf-8", "replace")).split())
    if secret:
        said = said.replace(secret, "[key]")  # servers like to quote it
    what = f"answered {status}{': ' + said[:200] if said else ''}"
    no_quota = isinstance(error, dict) and error.get("code") == "insufficient_quota"
    if status in OVERLOADED and not no_quota:
        return Failure("overload", what, retry_after=retry_after(response.headers.get("retry-after")))
    if status in PASSING or status >= 500:
        return Failure("server", what, retry_after=retry_after(response.headers.get("retry-after")))
    said_in = [place for place in (error, body) if isinstance(place, dict)]  # some servers put it at the top
    if status == 400 and any(str(place.get(name)) in UNWANTED for place in said_in for name in ("code", "type")):
        return UnusableReply(what, where=f"request {key[:12]}")
    if 300 <= status < 400:
        return RemoteError(f"{what} (redirects are not followed)", remedy="give the final address")
    return RemoteError(what, remedy=REMEDIES.get(status, "the server does not accept this request"))


def retry_after(value: str | None) -> float | None:
    """Seconds from the header: a number, or a date. None where there is none or it cannot be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
