"""What puts questions to a model behind an OpenAI-compatible address: many at a time, cached by the client, replies in question order."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.types import Picture
from visift.evals.question import Question, Reply
from visift.remote.client import anything
from visift.remote.failures import UnusableReply
from visift.remote.request import Request
from visift.sources.pictures import is_rotated, jpeg_bytes, open_rgb

if TYPE_CHECKING:
    from visift.remote.client import Client

SENT_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp", ".gif")


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model behind a client. What is empty or cut off is its answer; only a call that failed has none."""

    client: Client
    name: str

    def describe(self) -> dict[str, Any]:
        """What it is known by; not the address."""
        return {"remote": self.name}


class RemoteEngine:
    """Replies of a remote model to questions of one dataset: greedy (temperature 0)."""

    def __init__(self, model: RemoteModel, dataset: Dataset, max_new_tokens: int, grey: bool) -> None:
        self.model, self.dataset, self.grey, self.max_new_tokens = model, dataset, grey, max_new_tokens

    def answers(self, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]:
        """Every question once: those that cannot be asked first. The client's own limits say how many at a time, not `batch_size`.
        Raises RemoteError or BudgetError where the server cannot be asked: run again, what came is kept."""
        ready: list[Question] = []
        for question in questions:
            try:
                for picture in question.conversation.images:
                    open_rgb(self.dataset.picture_path(picture), (picture.width, picture.height))
                ready.append(question)
            except DataError as e:
                question.problem = str(e)
                yield question, "", "error"
        replies = self.model.client.ask_all(map(self._request, ready), anything)
        for question, reply in zip(ready, replies, strict=True):
            if isinstance(reply, UnusableReply):
                question.problem = str(reply)
                yield question, "", "error"
            else:
                yield question, reply.text, "length" if reply.finish == "length" else "stop"

    def _request(self, question: Question) -> Request:
        c = question.conversation
        return Request(self.model.name, c.prompt, tuple(map(self._bytes, c.images)), self.max_new_tokens)

    def _bytes(self, picture: Picture) -> bytes:
        path, size = self.dataset.picture_path(picture), (picture.width, picture.height)
        if self.grey:
            buffer = io.BytesIO()
            Image.new("RGB", open_rgb(path, size).size, (128, 128, 128)).save(buffer, "PNG")
            return buffer.getvalue()
        if path.suffix.lower() in SENT_AS_THEY_ARE and not is_rotated(path):  # a server may turn it, or not
            return path.read_bytes()
        return jpeg_bytes(open_rgb(path, size))
