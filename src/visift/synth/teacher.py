"""Text from a model, checked against the marks: asked, checked, asked again with the reason, and rejected in the end."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from PIL import Image

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError, UsageError
from visift.core.files import under
from visift.core.types import Conversation, Mark, Picture, Scene, TaggedPicture, Turn, assistant, user
from visift.remote.client import Client
from visift.remote.request import Reply, Request
from visift.sources.pictures import jpeg_bytes
from visift.synth.frame import Task, draw_tagged

KINDS = {  # kind -> the module that holds its `make(teacher, task, scene)`
    "listing": "visift.synth.teacher_listing",
    "tag-qa": "visift.synth.teacher_tag_qa",
    "dialog": "visift.synth.dialog.reword",
    "difference": "visift.synth.difference_reword",
}
SENT_PX = 1024  # longest side of a picture as sent; tags are drawn to be read at less
LONGEST = 20_000  # characters of a reply that are worth reading
SPELT = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SPELT = re.compile(rf"\b(?:numbers?|tags?)\s+(?:{'|'.join(SPELT)})\b", re.IGNORECASE)
Check = Callable[[str], str | None]  # reply text -> what is wrong with it, None if nothing


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model behind a client. `asks` bounds how often one scene is asked for, the first time included."""

    client: Client
    model: str
    asks: int = 3
    max_tokens: int = 1500
    temperature: float = 0.0

    def describe(self) -> dict[str, Any]:
        """What decides the text, for the settings hash; not the address, the key or the limits."""
        return {
            "model": self.model, "asks": self.asks, "max_tokens": self.max_tokens, "temperature": self.temperature,
        }  # fmt: skip

    def maker(self, kind: str) -> Callable[[Task, Scene], Made]:
        """What `synthesise` calls for each scene. Raises UsageError for a kind that no teacher makes."""
        if kind not in KINDS:
            raise UsageError(f"{kind} is made by rules only", remedy=f"a teacher makes {', '.join(KINDS)}")
        return partial(import_module(KINDS[kind]).make, self)

    def ask(
        self, turns: Sequence[Turn], images: Sequence[bytes], seed: int, *, readable: Check, fits: Check, **extra: Any
    ) -> Reply:
        """A reply that fits.

        readable  why a text is not in the form asked for: then the same is asked again, and nothing is cached
        fits      what is wrong with a readable text: then the teacher is told, and asked again

        Raises DataError when `asks` replies do not fit, UnusableReply when none is readable, RemoteError as the client.
        """
        fault = None
        for _ in range(self.asks):
            request = Request(
                self.model, tuple(turns), tuple(images), self.max_tokens, self.temperature, {"seed": seed, **extra}
            )
            reply = self.client.ask(
                request, lambda text: "it is far too long" if len(text) > LONGEST else readable(text)
            )
            fault = fits(reply.text)
            if fault is None:
                return reply
            turns = (
                *turns,
                assistant(reply.text),
                user(f"This cannot be used: {fault}. Please write all of it again."),
            )
        raise DataError(f"the teacher's reply was wrong {self.asks} times, the last time because {fault}")


Write = Callable[[Teacher, Task, Scene, TaggedPicture, Picture, bytes], Conversation]


def teach(teacher: Teacher, write: Write, task: Task, scene: Scene) -> Made:
    """Tag the scene's picture and let the teacher write. Where that fails, no picture without its text stays behind."""
    tagged, picture, rejected = draw_tagged(task, scene)
    path = under(task.out, picture.path)
    try:
        conversation = write(teacher, task, scene, tagged, picture, _to_send(path.read_bytes()))
    except DataError as e:
        path.unlink(missing_ok=True)
        return Made(rejected=[*rejected, Rejection(scene.id, "teacher", e.what)])
    return Made([conversation], [tagged], rejected)


def _to_send(data: bytes) -> bytes:
    """The JPEG file, made smaller where it is larger than a model looks at."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if max(image.size) <= SENT_PX:
            return data
        image.thumbnail((SENT_PX, SENT_PX), Image.Resampling.LANCZOS)
        return jpeg_bytes(image)


def absent_figures(text: str, marks: Sequence[Mark]) -> str | None:
    """What is wrong with the figures of a text in which every figure refers to a mark; None if nothing."""
    numbers = {mark.number for mark in marks}
    wrong = [figure for figure in re.findall(r"\d+", text) if len(figure) > 4 or int(figure) not in numbers]
    if wrong:
        return f"it says {wrong[0][:8]}, but the numbers run from 1 to {len(marks)}; all other figures are to be words"
    if spelt := _SPELT.search(text):
        return f"{spelt[0]!r} must be written with a figure"
    return None
