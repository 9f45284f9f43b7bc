"""Get a model's replies to questions: greedy, batched, appended as they come, resumed without asking anything twice.

Questions are a dataset of conversations; what is asked is everything before the last assistant turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import GenerationConfig

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import sha256_json, write_jsonl
from visift.core.progress import progress
from visift.core.types import Answer, Conversation
from visift.models import Renderer, Vlm, fingerprint, load
from visift.models.families.family import Pixels
from visift.models.pictures import Pictures, with_sizes
from visift.models.render import Rendered

Mode = Literal["generate"]


@dataclass(slots=True)
class Question:
    """A question as the model will see it, and how its request is known."""

    conversation: Conversation
    request: str
    text: Rendered | None = None  # None: it could not be rendered; `problem` says why
    problem: str = ""


def answer(
    task: str, model: str, questions: Path, out: Path, *, mode: Mode = "generate", max_new_tokens: int = 128,
    batch_size: int = 32, images: Mapping[str, str] | None = None, grey: bool = False, threads: int = 0,
    limit: int = 0, vlm: Vlm | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write one Answer a question to `out` (JSON Lines, question order) and return counts by `finish`.

    images  image root name -> folder, overriding the dataset's own
    grey    every picture replaced by mid-grey of its size: what the model knows without looking
    limit   only the first so many questions (0 = all)
    vlm     `model`, already loaded: spares the load when several question sets are answered in a row

    While it runs, `out` holds the answers so far in the order in which they came; run again after a kill it asks only
    what is missing. A question that cannot be rendered or whose picture cannot be read gets finish "error" and is
    unscored. Raises DataError for an unusable model or question folder, UsageError for an unknown mode.
    """
    if mode != "generate":
        raise UsageError(f"unknown mode {mode!r}", remedy="generate")
    if threads:
        torch.set_num_threads(threads)
    dataset = Dataset(Path(questions), dict(images or {}))
    decoding = {"mode": mode, "max_new_tokens": max_new_tokens} | ({"grey": True} if grey else {})
    known = fingerprint(model)
    asked = [Question(c, _request(known, c, decoding)) for c in _first(dataset, limit)]
    if repeated := len(asked) - len({q.conversation.id for q in asked}):
        raise DataError(f"{repeated} question ids occur more than once", where=questions)
    done = _read_done(out, {q.conversation.id: q.request for q in asked})
    missing = [q for q in asked if q.conversation.id not in done]
    if missing:
        vlm = vlm or ready(model)
        engine = Engine(vlm, dataset, max_new_tokens, grey)
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            progress(f"answer {task}", len(asked), "questions", done=len(done)) as tick,
            out.open("a", encoding="utf-8") as f,
        ):
            for question, text, finish in engine.answers(missing, batch_size):
                row = _answer(task, question, text, finish, decoding)
                done[row.id] = row
                f.write(json.dumps(row.to_json(), ensure_ascii=False) + "\n")
                f.flush()
                tick(1)
    rows = [done[q.conversation.id] for q in asked]
    write_jsonl(out, (r.to_json() for r in rows))
    finishes = sorted({r.finish for r in rows})
    return {
        "task": task,
        "questions": len(rows),
        "asked": len(missing),
        **{k: sum(r.finish == k for r in rows) for k in finishes},
    }


def ready(model: str) -> Vlm:
    """The model as it answers: bf16 on a GPU where there is one, else float32."""
    vlm = load(model, dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    if torch.cuda.is_available():
        vlm.model.to("cuda")
    return vlm


def _first(dataset: Dataset, limit: int) -> Iterator[Conversation]:
    for k, conversation in enumerate(dataset):
        if limit and k >= limit:
            return
        yield conversation


def _request(known: Mapping[str, Any], conversation: Conversation, decoding: Mapping[str, Any]) -> str:
    pictures = [p.sha256 or p.path for p in conversation.images]
    turns = [t.to_json() for t in conversation.prompt]
    return sha256_json({"model": dict(known), "turns": turns, "images": pictures, "decoding": dict(decoding)})


def _read_done(out: Path, requests: Mapping[str, str]) -> dict[str, Answer]:
    """The answers an earlier run left, without failed ones; the line that a kill tore is dropped from the file.

    Raises UsageError when the file holds anything else: other questions, another model, another decoding.
    """
    done: dict[str, Answer] = {}
    if not out.exists():
        return done
    *lines, torn = out.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            row = Answer.from_json(json.loads(line))
        except (ValueError, DataError):
            row = None
        if row is None or requests.get(row.id) != row.request_sha256:
            raise UsageError("holds answers to other questions, or of another model or decoding", where=f"{out}:{number}",
                             remedy="choose another --out or remove it")  # fmt: skip
        if row.finish != "error":
            done[row.id] = row
    if torn or len(done) < len(lines):
        write_jsonl(out, (r.to_json() for r in done.values()))
    return done


def _answer(task: str, question: Question, text: str, finish: str, decoding: Mapping[str, Any]) -> Answer:
    c = question.conversation
    *before, last = c.prompt
    return Answer(
        id=c.id, task=task, images=tuple(p.path for p in c.images), question=last.text, text=text, finish=finish,
        request_sha256=question.request, decoding=decoding,
        history=tuple({"role": t.role, "text": t.text} for t in before),
        meta={"error": question.problem} if question.problem else {},
    )  # fmt: skip


class Engine:
    """Greedy generation over left-padded batches of questions of like length."""

    def __init__(self, vlm: Vlm, dataset: Dataset, max_new_tokens: int, grey: bool) -> None:
        self.vlm, self.dataset = vlm, dataset
        self.renderer = Renderer(vlm)
        self.pictures = Pictures(dataset, vlm.family, grey=grey)
        self.ends = set(self.renderer.end_ids)
        pad = vlm.tokenizer.pad_token_id
        self.pad = int(pad if pad is not None else vlm.tokenizer.eos_token_id)
        # the folder's own sampling settings do not apply: what is asked for stands in the answer's `decoding`
        self.generation = vlm.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=sorted(self.ends), pad_token_id=self.pad
        )

    def answers(self, questions: Sequence[Question], batch_size: int) -> Iterator[tuple[Question, str, str]]:
        """(question, text, finish), longest questions first."""
        for question in questions:
            try:
                question.text = self.renderer.prompt(with_sizes(question.conversation, self.dataset, self.vlm.family))
            except DataError as e:
                question.problem = str(e)
                yield question, "", "error"
        ready = [q for q in questions if q.text is not None]
        ready.sort(key=lambda q: -len(_ids(q)))
        for k in range(0, len(ready), batch_size):
            batch: list[Question] = []
            pixels: list[list[Pixels]] = []
            for question in ready[k : k + batch_size]:
                try:
                    pixels.append(self.pictures.of(question.conversation, question.text.slots if question.text else ()))
                    batch.append(question)
                except DataError as e:
                    question.problem = str(e)
                    yield question, "", "error"
            if batch:
                texts = self._generate(batch, pixels)
                yield from ((q, text, finish) for q, (text, finish) in zip(batch, texts, strict=True))

    @torch.inference_mode()
    def _generate(self, batch: Sequence[Question], pixels: Sequence[Sequence[Pixels]]) -> list[tuple[str, str]]:
        rows = [_ids(q) for q in batch]
        longest = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (longest - len(r)) + r for r in rows])  # (B, T)
        mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
        family, model = self.vlm.family, self.vlm.model
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            **family.batch(pixels, model.dtype),
            **family.extra(ids),
        }
        made = model.generate(**{k: v.to(model.device) for k, v in inputs.items()}, generation_config=self.generation)[
            :, longest:
        ].tolist()
        return [self._text(row) for row in made]

    def _text(self, ids: list[int]) -> tuple[str, str]:
        """New ids -> (text, finish): up to the first token that ends a turn."""
        end = next((k for k, i in enumerate(ids) if i in self.ends), None)
        text = self.vlm.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        return text, "length" if end is None else "stop"


def _ids(question: Question) -> list[int]:
    return question.text.input_ids if question.text else []
