"""Get a model's replies to questions: greedy, batched, appended as they come, resumed without asking anything twice.

Questions are a dataset of conversations; what is asked is everything before the last assistant turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import appending, sha256_json, write_jsonl
from visift.core.progress import progress
from visift.core.seeds import rng
from visift.core.types import Answer, Conversation
from visift.evals.question import Mode, Question
from visift.evals.rounds import Rounds, lengths
from visift.evals.tagged_questions import ROOT, tagged

# torch takes seconds to load: not before what is asked is known to make sense, and never for a server
if TYPE_CHECKING:
    from visift.evals.engine import Engine
    from visift.evals.remote_engine import RemoteEngine, RemoteModel
    from visift.models import Vlm


def answer(
    task: str, model: str, questions: Path, out: Path, *, mode: str = "generate", max_new_tokens: int = 128,
    batch_size: int = 32, images: Mapping[str, str] | None = None, grey: bool = False, threads: int = 0,
    limit: int = 0, vlm: Vlm | None = None, remote: RemoteModel | None = None, tags: Path | None = None,
    shuffle_images: int | None = None, rounds: Rounds | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write one Answer a question to `out` (JSON Lines, question order) and return counts by `finish`.

    mode    "generate": greedy text; "logits": the likeliest choice (of meta's `options` by letter, else Yes or No) by the
            log-probability of its first token, from one forward; all of them stand in `meta.logprobs`
    images  image root name -> folder, overriding the dataset's own
    grey    every picture replaced by mid-grey of its size: what the model knows without looking
    limit   only the first so many questions (0 = all)
    vlm     `model`, already loaded: spares the load when several question sets are answered in a row
    remote  asks a server instead; `model` is then its address, and only shown
    shuffle_images  a seed: each question's pictures change places (does the model heed their order?); one picture stays
    rounds  asks so many rounds before each question, which the model answers itself (evals/rounds.py)
    tags    folder of tagged pictures (`visift mark`), which take the place of the questions' own

    While it runs, `out` holds the answers so far in the order in which they came; run again after a kill it asks only
    what is missing. A question that cannot be rendered or whose picture cannot be read gets finish "error" and is
    unscored. Raises DataError for an unusable model or question folder, UsageError for an unknown mode.
    """
    if mode not in get_args(Mode):
        raise UsageError(f"unknown mode {mode!r}", remedy=f"one of {', '.join(get_args(Mode))}")
    if remote is not None and mode != "generate":
        raise UsageError(f"mode {mode} needs a local model", remedy="servers are asked with --mode generate")
    dataset = Dataset(Path(questions), dict(images or {}) | ({ROOT: str(tags.resolve())} if tags else {}))
    decoding: dict[str, Any] = {"mode": mode} | ({"max_new_tokens": max_new_tokens} if mode == "generate" else {})
    decoding |= {"grey": True} if grey else {}
    decoding |= {"shuffle_images": shuffle_images} if shuffle_images is not None else {}
    if rounds is not None:
        if mode != "generate":
            raise UsageError("earlier rounds are answered in text", remedy="leave --mode out")
        decoding |= rounds.decoding()
    if remote is not None:
        known = remote.describe()
    else:
        from visift.models import fingerprint

        known = fingerprint(model)
    shown = map(tagged(tags), _first(dataset, limit)) if tags is not None else _first(dataset, limit)
    if shuffle_images is not None:
        shown = (shuffled(c, shuffle_images) for c in shown)
    asked = [Question(c, _request(known, c, decoding)) for c in shown]
    if mode == "logits" and (open_ended := next((q for q in asked if not _has_choices(q.conversation)), None)):
        raise UsageError(
            "has no options, and its reference is neither yes nor no", where=f"conversation {open_ended.conversation.id}",
            remedy="use mode generate",
        )  # fmt: skip
    if repeated := len(asked) - len({q.conversation.id for q in asked}):
        raise DataError(f"{repeated} question ids occur more than once", where=questions)
    done = _read_done(out, {q.conversation.id: q.request for q in asked})
    missing = [q for q in asked if q.conversation.id not in done]
    if missing:
        engine: Engine | RemoteEngine
        if remote is not None:
            from visift.evals.remote_engine import RemoteEngine

            engine = RemoteEngine(remote, dataset, max_new_tokens, grey)
        else:
            import torch

            from visift.evals.engine import Engine

            if threads:
                torch.set_num_threads(threads)
            engine = Engine(vlm or ready(model), dataset, max_new_tokens, grey, cast(Mode, mode))
        with progress(f"answer {task}", len(asked), "questions", done=len(done)) as tick, appending(out) as add:
            came = rounds.replies(engine, missing, batch_size) if rounds else engine.answers(missing, batch_size)
            for question, text, finish in came:
                row = _answer(task, question, text, finish, decoding)
                done[row.id] = row
                add(json.dumps(row.to_json(), ensure_ascii=False).encode() + b"\n")
                tick(1)
    rows = [done[q.conversation.id] for q in asked]
    write_jsonl(out, (r.to_json() for r in rows))
    finishes = sorted({r.finish for r in rows})
    return {
        "task": task,
        "questions": len(rows),
        "asked": len(missing),
        **(
            {"tagged": sum(any(p.path.startswith(f"{ROOT}:") for p in q.conversation.images) for q in asked)}
            if tags
            else {}
        ),
        **({"protocol": rounds.name, "lengths": lengths(rows)} if rounds else {}),
        **{k: sum(r.finish == k for r in rows) for k in finishes},
    }


def _has_choices(c: Conversation) -> bool:
    """Options, or yes and no; a question without a reference is taken to be a yes/no question."""
    return bool(c.meta.get("options")) or (c.reference or "yes").strip().strip(".").lower() in ("yes", "no")


def shuffled(c: Conversation, seed: int) -> Conversation:
    """The same text with its pictures in another order, never their own where they differ."""
    order = rng("shuffle-images", seed, c.id)
    paths = [p.path for p in c.images]
    while len(set(paths)) > 1:
        moved = tuple(c.images[k] for k in order.permutation(len(paths)))
        if [p.path for p in moved] != paths:
            return c.with_images(moved)
    return c


def ready(model: str) -> Vlm:
    """The model as it answers: bf16 on a GPU that is fast at it, else float32."""
    import torch

    from visift.models import load
    from visift.models.precision import fast_bf16

    gpu = torch.cuda.is_available()
    vlm = load(model, dtype=torch.bfloat16 if gpu and fast_bf16("cuda") else torch.float32)
    if gpu:
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
        meta={"error": question.problem} if question.problem else {"logprobs": question.scores} if question.scores else {},
    )  # fmt: skip
