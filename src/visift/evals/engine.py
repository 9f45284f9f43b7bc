"""What puts questions to a local model: greedy, batched by length, and questions on one picture sharing its reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.types import assistant
from visift.evals.guided_prefix import GuidedPrefix
from visift.evals.question import Mode, Question, Reply
from visift.evals.shared_prefix import SharedPrefix, can_share, common_prefix, decode
from visift.models import Renderer, Vlm, vpgc
from visift.models.families.family import Pixels
from visift.models.pictures import Pictures, with_sizes

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
YES_NO = {"Yes": ("Yes", "yes"), "No": ("No", "no")}


class Engine:
    """Replies of one model to questions of one dataset."""

    def __init__(self, vlm: Vlm, dataset: Dataset, max_new_tokens: int, grey: bool, mode: Mode = "generate") -> None:
        self.vlm, self.dataset, self.mode = vlm, dataset, mode
        self.renderer = Renderer(vlm)
        self.pictures = Pictures(dataset, vlm.family, grey=grey)
        self.ends = set(self.renderer.end_ids)
        self.share = can_share(vlm.model, vlm.family)
        self.max_new_tokens = max_new_tokens
        pad = vlm.tokenizer.pad_token_id
        self.pad = int(pad if pad is not None else vlm.tokenizer.eos_token_id)
        # the folder's own sampling settings do not apply: what is asked for stands in the answer's `decoding`
        self.generation = vlm.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=sorted(self.ends), pad_token_id=self.pad
        )

    def answers(self, questions: Sequence[Question], batch_size: int) -> Iterator[Reply]:
        """Every question once: those that cannot be asked first, then groups on one picture, then the rest by length."""
        for question in questions:
            try:
                question.text = self.renderer.prompt(with_sizes(question.conversation, self.dataset, self.vlm.family))
                question.choices = self._first_tokens(question) if self.mode == "logits" else {}
            except DataError as e:
                question.text, question.problem = None, str(e)
                yield question, "", "error"
        for batch in self._batches([q for q in questions if q.text is not None], batch_size):
            pixels: list[list[Pixels]] = []
            asked: list[Question] = []
            for question in batch:
                try:
                    pixels.append(self.pictures.of(question.conversation, question.text.slots if question.text else ()))
                    asked.append(question)
                except DataError as e:
                    question.problem = str(e)
                    yield question, "", "error"
            if asked:
                replies = self._generate(asked, pixels) if self.mode == "generate" else self._choose(asked, pixels)
                yield from ((q, text, finish) for q, (text, finish) in zip(asked, replies, strict=True))

    def _batches(self, ready: list[Question], size: int) -> Iterator[list[Question]]:
        groups: dict[tuple[str, ...], list[Question]] = {}
        for question in ready:
            pictures = tuple(p.path for p in question.conversation.images)
            groups.setdefault(pictures if self.share and pictures else (question.conversation.id,), []).append(question)
        worth = [key for key, group in groups.items() if _worth_sharing(group)]
        for key in worth:
            yield from (groups[key][k : k + size] for k in range(0, len(groups[key]), size))
        alone = [q for key, group in groups.items() if key not in worth for q in group]
        alone.sort(key=lambda q: -len(q.ids))
        yield from (alone[k : k + size] for k in range(0, len(alone), size))

    def _shared(
        self, batch: Sequence[Question], pixels: Sequence[Sequence[Pixels]]
    ) -> SharedPrefix | GuidedPrefix | None:
        """The batch behind one prefix, if it is of one picture and all placeholders lie in what its questions share."""
        names = {tuple(p.path for p in q.conversation.images) for q in batch}
        if not self.share or len(batch) < 2 or len(names) > 1:
            return None
        rows = [q.ids for q in batch]
        prefix = common_prefix(rows)
        if prefix < 1 or any(self.vlm.family.image_id in row[prefix:] for row in rows):
            return None
        kind = SharedPrefix if vpgc.attached(self.vlm.model) is None else GuidedPrefix
        return kind(self.vlm.model, self.vlm.family, rows, prefix, pixels[0])

    def _inputs(self, batch: Sequence[Question], pixels: Sequence[Sequence[Pixels]]) -> dict[str, torch.Tensor]:
        """Padded on the left: (B, T)."""
        longest = max(len(q.ids) for q in batch)
        ids = torch.tensor([[self.pad] * (longest - len(q.ids)) + q.ids for q in batch])
        mask = torch.tensor([[0] * (longest - len(q.ids)) + [1] * len(q.ids) for q in batch])
        family, model = self.vlm.family, self.vlm.model
        made = {"input_ids": ids, "attention_mask": mask, **family.batch(pixels, model.dtype), **family.extra(ids)}
        return {k: v.to(model.device) for k, v in made.items()}

    @torch.inference_mode()
    def _generate(self, batch: Sequence[Question], pixels: Sequence[Sequence[Pixels]]) -> list[tuple[str, str]]:
        if shared := self._shared(batch, pixels):
            return [self._text(row) for row in decode(shared, self.ends, self.max_new_tokens)]
        inputs = self._inputs(batch, pixels)
        made: Any = self.vlm.model.generate(**inputs, generation_config=self.generation)
        return [self._text(row) for row in made[:, inputs["input_ids"].shape[1] :].tolist()]

    @torch.inference_mode()
    def _choose(self, batch: Sequence[Question], pixels: Sequence[Sequence[Pixels]]) -> list[tuple[str, str]]:
        """The likeliest choice by the log-probability of its first token, from one forward."""
        if shared := self._shared(batch, pixels):
            logits = shared.logits  # (B, V)
        else:
            logits = self.vlm.model(**self._inputs(batch, pixels)).logits[:, -1].float()
        replies = []
        for question, row in zip(batch, logits.log_softmax(-1), strict=True):
            question.scores = {name: float(row[ids].logsumexp(0)) for name, ids in question.choices.items()}
            replies.append((max(question.scores, key=lambda name: question.scores[name]), "stop"))
        return replies

    def _first_tokens(self, question: Question) -> dict[str, list[int]]:
        """Choice -> ids that would begin it here, over its spellings. Raises DataError when two choices begin alike."""
        c = question.conversation
        options = c.meta.get("options") or []
        spellings = {k: (k,) for k in LETTERS[: len(options)]} if options else YES_NO
        at = len(question.ids)
        found: dict[str, list[int]] = {}
        for name, ways in spellings.items():
            rows = [
                self.renderer.row(
                    with_sizes(replace(c, turns=(*c.prompt, assistant(w))), self.dataset, self.vlm.family)
                )
                for w in ways
            ]
            found[name] = sorted({r.input_ids[at] for r in rows})
            if any(r.input_ids[:at] != question.ids for r in rows):
                raise DataError(
                    "a choice melts into the prompt's last token",
                    where=f"conversation {c.id}",
                    remedy="use mode generate",
                )
        flat = [i for ids in found.values() for i in ids]
        if len(set(flat)) < len(flat):
            raise DataError(
                "two choices begin with the same token", where=f"conversation {c.id}", remedy="use mode generate"
            )
        return found

    def _text(self, ids: list[int]) -> tuple[str, str]:
        """New ids -> (text, finish): up to the first token that ends a turn."""
        end = next((k for k, i in enumerate(ids) if i in self.ends), None)
        text = self.vlm.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        return text, "length" if end is None else "stop"


def _worth_sharing(group: Sequence[Question]) -> bool:
    """A group is asked by itself: few questions on a small picture are faster in a batch with other pictures."""
    visual = group[0].text.n_visual if group[0].text else 0
    return len(group) >= 8 or (len(group) - 1) * visual >= 512
