"""A question as a model will be asked it. Loads no torch: a server is asked, and answers are compared, without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from visift.core.types import Conversation

if TYPE_CHECKING:
    from visift.models.render import Rendered

Mode = Literal["generate", "logits"]


@dataclass(slots=True)
class Question:
    """A question as the model will see it, and how its request is known."""

    conversation: Conversation
    request: str
    text: Rendered | None = None  # None: it could not be rendered; `problem` says why
    problem: str = ""
    choices: dict[str, list[int]] = field(default_factory=dict)  # mode logits: choice -> tokens that would begin it
    scores: dict[str, float] = field(default_factory=dict)  # and its log-probability

    @property
    def ids(self) -> list[int]:
        return self.text.input_ids if self.text else []


Reply = tuple[Question, str, str]  # question, text, finish
