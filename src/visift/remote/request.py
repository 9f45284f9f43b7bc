"""A question to a chat model and its reply: what goes over the wire, and the hash that names it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from visift.core.errors import DataError
from visift.core.files import sha256_bytes, sha256_json
from visift.core.types import Turn

IMAGE_TOKENS = 3000  # what a picture is taken to cost until the server has said better
TURN_TOKENS = 16  # role and separators
TEMPLATE_TOKENS = 100  # what a model's chat template may add by itself
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


@dataclass(frozen=True)
class Request:
    """Turns (system, user, assistant) to be answered by `model`; part `image=k` means `images[k]`, the file's bytes.

    `extra` goes into the request's body as it is (`seed`, `response_format`, …); `max_completion_tokens` there replaces
    `max_tokens`, as some servers want it.
    """

    model: str
    turns: tuple[Turn, ...]
    images: tuple[bytes, ...] = ()
    max_tokens: int = 1024
    temperature: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The wire request: pictures are data URIs."""
        return self._body(_data_uri)

    def canonical(self) -> dict[str, Any]:
        """The wire request with each picture's sha256 in place of its bytes."""
        return self._body(lambda data: f"sha256:{sha256_bytes(data)}")

    @cached_property
    def sha256(self) -> str:
        """Names the request in caches and provenance. The server's address and key are not part of it."""
        return sha256_json(self.canonical())

    @property
    def prompt_bound(self) -> int:
        """Prompt tokens, estimated from above: no tokeniser makes more tokens than there are bytes."""
        text = sum(len(turn.text.encode()) + TURN_TOKENS for turn in self.turns)
        return (
            TEMPLATE_TOKENS
            + text
            + IMAGE_TOKENS * sum(part.image is not None for turn in self.turns for part in turn.parts)
        )

    @property
    def reply_bound(self) -> int:
        return int(self.extra.get("max_completion_tokens", self.max_tokens)) * int(self.extra.get("n", 1))

    def _body(self, address: Callable[[bytes], str]) -> dict[str, Any]:
        messages = [{"role": turn.role, "content": self._content(turn, address)} for turn in self.turns]
        limit = {} if "max_completion_tokens" in self.extra else {"max_tokens": self.max_tokens}
        return {
            "model": self.model, "messages": messages, "temperature": self.temperature, "stream": False, **limit, **self.extra
        }  # fmt: skip

    def _content(self, turn: Turn, address: Callable[[bytes], str]) -> str | list[dict[str, Any]]:
        """Text alone is sent as a string: not every server takes lists in system and assistant turns."""
        if all(part.image is None for part in turn.parts):
            return turn.text
        return [
            {"type": "text", "text": part.text}
            if part.image is None
            else {"type": "image_url", "image_url": {"url": address(self.images[part.image])}}
            for part in turn.parts
        ]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `finish` is the server's reason to stop; tokens are the server's count (0 = it gave none).

    `cost` is in dollars and 0 when the reply came from the cache (`cached`) or no price is known.
    """

    text: str
    finish: str
    request_sha256: str
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost: float = 0.0
    cached: bool = False


def _data_uri(data: bytes) -> str:
    return f"data:{_mime(data)};base64,{base64.b64encode(data).decode()}"


def _mime(data: bytes) -> str:
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise DataError("picture is none of JPEG, PNG, GIF, WebP", where="request", remedy="convert it first")
