"""A conversation becomes ids and loss mask in one pass, for any chat template.

The template is run once per *shape* of conversation (roles and kinds of parts) on stand-ins that occur in no template;
the real texts then take the stand-ins' places. So it is known of every character whose text it is, nothing is searched
for afterwards, and a text that looks like a control token cannot move anything. The whole is tokenised once, with
character offsets, and each picture's one placeholder token becomes as many as the model will make of the picture.

What is learnt of an assistant turn: what the template marks with `{% generation %}`, else the turn's text; and always
the token that ends the turn, so that the model learns to stop. Where a template writes none, the end-of-sequence token
is put there (LLaVA-1.5's text, whose Hugging Face template leaves it out).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from visift.core.errors import DataError
from visift.core.files import sha256_json
from visift.core.types import Conversation, Picture, Turn
from visift.models.load import Vlm

OPEN, CLOSE = "\ue000", "\ue001"  # private-use characters around a stand-in's number
BLANK = "\u2003"  # around those: a blank that is missing afterwards was trimmed by the template, as the text's will be
STAND_IN = re.compile(f"({BLANK}?){OPEN}(\\d+){CLOSE}({BLANK}?)")
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

Shape = tuple[
    tuple[str, str], ...
]  # for each turn its role and the kinds of its parts, "i" or "t": (("user", "it"), …)


@dataclass(slots=True)
class Rendered:
    """One row. `loss_mask[k]` says whether token k is learnt; `slots` are the placeholder counts of its pictures in order."""

    input_ids: list[int]
    loss_mask: list[bool]
    slots: list[int] = field(default_factory=list)

    @property
    def n_visual(self) -> int:
        return sum(self.slots)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the rendered text: literal text, or the part of that running number (over all turns)."""

    text: str
    part: int = -1
    learnt: int = -1  # the turn as whose answer this is learnt, or -1
    trim: str = ""  # "l", "r" or both: blanks that the template takes off the part's text


class Renderer:
    """Renders for one model. Raises DataError naming the conversation when a row cannot be rendered faithfully."""

    def __init__(self, vlm: Vlm) -> None:
        self.tokenizer, self.template, self.family = vlm.tokenizer, vlm.chat_template, vlm.family
        self.fast = vlm.tokenizer.backend_tokenizer
        self.fast.no_truncation()
        self.fast.no_padding()
        added = {t.content for t in vlm.tokenizer.added_tokens_decoder.values() if t.special}
        special = {*map(str, vlm.tokenizer.all_special_tokens), *added, self.family.marker}
        self.special_re = re.compile("|".join(map(re.escape, sorted(special, key=lambda t: (-len(t), t)))))
        self.eos = str(vlm.tokenizer.eos_token)
        first = vlm.tokenizer("").input_ids[:1]
        self.bos = first if self.family.starts_with_bos and first == [vlm.tokenizer.bos_token_id] else []
        self.fingerprint = sha256_json([self.fast.to_str(), type(self.family).__name__, self.family.slot(640, 480, 1)])
        self.skeleton = lru_cache(maxsize=4096)(self._skeleton)
        self.slot = lru_cache(maxsize=4096)(lambda width, height, count: tuple(self.family.slot(width, height, count)))

    def row(self, conversation: Conversation) -> Rendered:
        """A training row. A row in which nothing is learnt is an error."""
        rendered = self._render(conversation.turns, conversation.images, f"conversation {conversation.id}", False)
        if not any(rendered.loss_mask[1:]):
            raise DataError("no token of it would be learnt", where=f"conversation {conversation.id}",
                            remedy="it needs an assistant turn with `train` true")  # fmt: skip
        return rendered

    def prompt(self, conversation: Conversation) -> Rendered:
        """The turns before the last assistant turn, ending where the model is to go on."""
        return self._render(conversation.prompt, conversation.images, f"conversation {conversation.id}", True)

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end an assistant turn: where generation stops."""
        pieces = self.skeleton((("user", "t"), ("assistant", "t")), False)
        text = "".join(p.text for p in pieces if p.learnt >= 0 and p.part < 0)
        found = {i for t in self.special_re.findall(text) if (i := self.tokenizer.convert_tokens_to_ids(t)) is not None}
        return sorted(found | self.family.ends | {self.tokenizer.eos_token_id})

    def _render(self, turns: Sequence[Turn], images: Sequence[Picture], where: str, generate: bool) -> Rendered:
        shape = tuple((t.role, "".join("t" if p.image is None else "i" for p in t.parts)) for t in turns)
        parts = [p for t in turns for p in t.parts]
        try:
            pieces = self.skeleton(shape, generate)
        except DataError as e:
            raise DataError(e.what, where=where, remedy=e.remedy) from e

        chunks: list[str] = []
        spans: list[tuple[int, int]] = []
        order: list[int] = []
        at = 0
        for piece in pieces:
            text = piece.text
            if piece.part >= 0:
                part = parts[piece.part]
                if part.image is not None:
                    order.append(part.image)
                else:
                    text = _trimmed(part.text or "", piece.trim)
                    if control := self.special_re.search(text):
                        raise DataError(f"its text holds the control token {control[0]!r}", where=where,
                                        remedy="replace it in the data; a picture is a part of its own")  # fmt: skip
            if piece.learnt >= 0 and turns[piece.learnt].train and text:
                if spans and spans[-1][1] == at:
                    spans[-1] = (spans[-1][0], at + len(text))
                else:
                    spans.append((at, at + len(text)))
            chunks.append(text)
            at += len(text)
        return self._tokenise(
            "".join(chunks), spans, [self.slot(images[k].width, images[k].height, len(order)) for k in order], where
        )

    def _tokenise(self, text: str, spans: list[tuple[int, int]], slots: list[tuple[int, ...]], where: str) -> Rendered:
        encoding = self.fast.encode(text, add_special_tokens=False)
        ids, mask, learnt = [], [], iter(spans)
        low, high = next(learnt, (len(text) + 1, len(text) + 1))
        left = iter(slots)
        used = 0
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            first = start if end > start else end - 1  # byte pieces and trimmed blanks have no width
            while first >= high:
                low, high = next(learnt, (len(text) + 1, len(text) + 1))
            if token == self.family.marker_id:
                used += 1
                slot = next(left, ())
                ids.extend(slot)
                mask.extend([False] * len(slot))
            else:
                ids.append(token)
                mask.append(end > low and first < high)
        if used != len(slots):
            raise DataError(f"{used} picture placeholders for {len(slots)} pictures", where=where,
                            remedy="the tokenizer does not know the placeholder as one token")  # fmt: skip
        if self.bos and ids[:1] != self.bos:
            ids, mask = self.bos + ids, [False, *mask]
        return Rendered(ids, mask, [len(s) for s in slots])

    def _skeleton(self, shape: Shape, generate: bool) -> tuple[Piece, ...]:
        """The template run on stand-ins, in the first of three ways that keeps every part once and in its order.

        Structured parts; plain text with the family's picture marks in it; one structured text part with those marks
        (for templates that would gather all pictures in front).
        """
        problem, said = "", False
        for way in ("parts", "text", "one part"):
            try:
                text, spans = self._run(self._messages(shape, way), generate)
            except (TemplateError, TypeError, ValueError, AttributeError, KeyError) as e:
                if not problem or (type(e) is TemplateError and not said):  # what the template itself says goes first
                    problem, said = str(e).strip() or type(e).__name__, type(e) is TemplateError
                continue
            pieces = self._split(text, [kind for _, kinds in shape for kind in kinds], inline=way != "parts")
            if pieces is None:
                problem = problem or "the chat template drops, repeats or reorders parts of it"
                continue
            return self._mark(pieces, [*(spans or []), *self._leads(pieces, shape, way)], shape)
        raise DataError(
            f"does not fit the model's chat template ({problem})", remedy="change the roles or the template"
        )

    def _messages(self, shape: Shape, way: str) -> list[dict[str, Any]]:
        messages, number = [], 0
        for role, kinds in shape:
            content: list[dict[str, str]] = []
            for kind in kinds:
                if kind == "i" and way == "parts":
                    content.append({"type": "image"})
                else:
                    content.append({"type": "text", "text": f"{BLANK}{OPEN}{number}{CLOSE}{BLANK}"})
                number += 1
            joined = "".join(c.get("text", "") for c in content)
            whole: Any = (
                joined if way == "text" else [{"type": "text", "text": joined}] if way == "one part" else content
            )
            messages.append({"role": role, "content": whole})
        return messages

    def _run(self, messages: list[dict[str, Any]], generate: bool) -> tuple[str, list[tuple[int, int]] | None]:
        marked = bool(GENERATION.search(self.template))
        special = {k: v for k, v in self.tokenizer.special_tokens_map.items() if isinstance(v, str)}
        texts, spans = render_jinja_template(
            [messages], chat_template=self.template, add_generation_prompt=generate,
            return_assistant_tokens_mask=marked, **special,
        )  # fmt: skip
        return texts[0], [tuple(s) for s in spans[0]] if marked else None

    def _split(self, text: str, kinds: list[str], inline: bool) -> list[tuple[int, int, Piece]] | None:
        """(start, end, piece) in the rendered text, or None unless every part occurs once and in order."""
        if "{'type'" in text:  # a template for plain text printed the list of parts
            return None
        image = self.family.marker
        pattern = STAND_IN if inline else re.compile(f"{STAND_IN.pattern}|{re.escape(image)}")
        pieces, at, number = [], 0, 0
        for match in pattern.finditer(text):
            stands = match[2] is not None
            kind = kinds[int(match[2])] if stands else "i"
            if number >= len(kinds) or kinds[number] != kind or (stands and int(match[2]) != number):
                return None
            if match.start() > at:
                pieces.append((at, match.start(), Piece(text[at : match.start()])))
            mark = "" if kind == "t" else self.family.picture_text if inline else image
            trim = "" if kind == "i" else ("" if match[1] else "l") + ("" if match[3] else "r")
            pieces.append((match.start(), match.end(), Piece(mark, number, trim=trim)))
            at, number = match.end(), number + 1
        if at < len(text):
            pieces.append((at, len(text), Piece(text[at:])))
        return pieces if number == len(kinds) else None

    def _leads(self, pieces: list[tuple[int, int, Piece]], shape: Shape, way: str) -> list[tuple[int, int]]:
        """What stands between the end of a generation prompt and the answer: the model will have to write it."""
        found = []
        for turn, (role, kinds) in enumerate(shape):
            part = sum(len(k) for _, k in shape[:turn])
            at = next((k for k, (_, _, p) in enumerate(pieces) if p.part == part), 0)
            if role != "assistant" or not kinds or at == 0 or pieces[at - 1][2].part >= 0:
                continue
            try:
                text, _ = self._run(self._messages(shape[:turn], way), True)
            except TemplateError:  # a conversation that cannot be asked to go on here
                continue
            before = self._split(text, [kind for _, kinds in shape[:turn] for kind in kinds], inline=way != "parts")
            lead = before[-1][2].text if before and before[-1][2].part < 0 else ""
            start, end, piece = pieces[at - 1]
            if piece.text.startswith(lead) and len(lead) < len(piece.text):
                found.append((start + len(lead), end))
        return found

    def _mark(
        self, pieces: list[tuple[int, int, Piece]], spans: list[tuple[int, int]], shape: Shape
    ) -> tuple[Piece, ...]:
        """Say of each piece as which turn's answer it is learnt, and give every answer its end."""
        turn_of = [k for k, (_, kinds) in enumerate(shape) for _ in kinds]
        answers = {k for k, (role, _) in enumerate(shape) if role == "assistant"}
        inside = {  # a learnt span -> the turn whose part lies in it or follows it
            span: next((turn_of[p.part] for x, _, p in pieces if p.part >= 0 and span[0] <= x <= span[1]), -1)
            for span in spans
        }
        made: list[Piece] = []
        for start, end, piece in pieces:
            if piece.part >= 0:
                turn = turn_of[piece.part]
                made.append(replace(piece, learnt=turn if turn in answers else -1))
                continue
            cuts = sorted({start, end, *(c for span in inside for c in span if start < c < end)})
            for a, b in pairwise(cuts):
                owner = next((turn for span, turn in inside.items() if span[0] <= a < span[1]), -1)
                made.append(Piece(piece.text[a - start : b - start], learnt=owner))
        return tuple(self._with_ends(made))

    def _with_ends(self, pieces: list[Piece]) -> list[Piece]:
        """After an answer's last part the turn's end is learnt: the template's own control token, else end-of-sequence."""
        last = {p.learnt: k for k, p in enumerate(pieces) if p.learnt >= 0 and p.part >= 0}
        made: list[Piece] = []
        k = 0
        while k < len(pieces):
            piece = pieces[k]
            if piece.part >= 0 or piece.text:
                made.append(piece)
            if last.get(piece.learnt) == k:
                following = "".join(p.text for p in pieces[k + 1 : _next_part(pieces, k)])
                end = re.match(rf"\s*(?:{self.special_re.pattern})", following)
                made.append(Piece(end[0] if end else self.eos, learnt=piece.learnt))
                pieces = _drop(pieces, k + 1, len(end[0]) if end else len(following) - len(following.lstrip()))
            k += 1
        return made


def _next_part(pieces: list[Piece], k: int) -> int:
    return next((j for j in range(k + 1, len(pieces)) if pieces[j].part >= 0), len(pieces))


def _drop(pieces: list[Piece], k: int, count: int) -> list[Piece]:
    """Without the first `count` characters of the literal text from piece k on."""
    rest = list(pieces)
    while count > 0 and k < len(rest):
        cut = min(count, len(rest[k].text))
        rest[k] = replace(rest[k], text=rest[k].text[cut:])
        count, k = count - cut, k + 1
    return rest


def _trimmed(text: str, sides: str) -> str:
    text = text.lstrip() if "l" in sides else text
    return text.rstrip() if "r" in sides else text
