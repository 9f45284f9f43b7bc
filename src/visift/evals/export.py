"""A benchmark for other harnesses: a folder for lmms-eval's `--include_path`, and our answers as logs that it can read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import write_atomic, write_json
from visift.core.types import Conversation
from visift.evals import questions as own_questions
from visift.evals import tasks

# What lmms-eval runs: it knows nothing of visift. `!function` in the YAML names these.
UTILS = '''"""Written by `visift export`: {task}. Scores here are exact matches; for the task's own rules, score the sample log with `visift score {task} --format lmms-eval`."""


def doc_to_visual(doc):
    return [image.convert("RGB") for image in doc["images"]]


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["asked"]


def doc_to_messages(doc, lmms_eval_specific_kwargs=None):
    """Every picture at its place in the text."""
    images, turns = doc_to_visual(doc), []
    for turn in doc["turns"]:
        content = [
            {{"type": "text", "text": part["text"]}} if part["image"] < 0 else {{"type": "image", "url": images[part["image"]]}}
            for part in turn["parts"]
        ]
        turns.append({{"role": turn["role"], "content": content}})
    return turns


def doc_to_target(doc):
    return doc["target"]


def process_results(doc, results):
    said, truth = (" ".join(text.lower().strip().rstrip(".").split()) for text in (results[0], doc["target"]))
    return {{"exact": {{"id": doc["id"], "score": float(said == truth)}}}}


def mean(results):
    return sum(row["score"] for row in results) / len(results) if results else 0.0
'''
YAML = """# Written by `visift export`. Run: lmms_eval --include_path {out} --tasks {name} --log_samples --model …
dataset_path: {data}
dataset_kwargs:
  load_from_disk: true
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_messages: !function utils.doc_to_messages
doc_to_target: !function utils.doc_to_target
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  top_p: 1.0
  num_beams: 1
  do_sample: false
process_results: !function utils.process_results
metric_list:
  - metric: exact
    aggregation: !function utils.mean
    higher_is_better: true
metadata:
  - version: 0.0
"""


def export(
    task: str, dataset: Dataset, out: Path, *, max_new_tokens: int = 128, answers: Path | None = None
) -> dict[str, Any]:
    """Write `out`: visift_TASK.yaml, utils.py, visift_TASK_data/ (a DatasetDict on disk with the split `test`), and return what it holds.

    Rows carry our ids: `visift score TASK --format lmms-eval --questions DATASET` scores lmms-eval's sample log of them by our rules. With `answers` (ours), logs/ holds them as lmms-eval's `from_log` model reads them.
    Raises UsageError for an unknown task; DataError when a picture cannot be read or an answer is missing.
    """
    from datasets import Dataset as Table
    from datasets import DatasetDict, Features, Image, Sequence, Value

    tasks.get(task)
    name = f"visift_{task.replace('-', '_')}"
    kinds = {"id": "string", "asked": "string", "target": "string"}
    part = {"image": Value("int64"), "text": Value("string")}
    features = Features(
        {k: Value(v) for k, v in kinds.items()} | {"images": Sequence(Image()), "turns": [{"role": Value("string"), "parts": [part]}]}
    )  # fmt: skip

    table = Table.from_list([_row(c, dataset) for c in dataset], features=features)
    DatasetDict({"test": table}).save_to_disk(str(out / f"{name}_data"))
    where = {
        "out": out,
        "data": json.dumps(str((out / f"{name}_data").resolve())),
        "name": name,
        "tokens": max_new_tokens,
    }
    write_atomic(out / f"{name}.yaml", YAML.format(**where))
    write_atomic(out / "utils.py", UTILS.format(task=task))
    if answers is not None:
        _write_log(name, table["id"], answers, out / "logs")
    return {"task": name, "rows": len(table), "yaml": str(out / f"{name}.yaml")}


def _row(c: Conversation, dataset: Dataset) -> dict[str, Any]:
    images = [dataset.picture_path(p) for p in c.images]
    if missing := [str(p) for p in images if not p.is_file()]:
        raise DataError("picture is missing", where=f"conversation {c.id}: {missing[0]}", remedy="pass --images DIR")
    turns = [
        {"role": t.role, "parts": [{"image": -1 if p.image is None else p.image, "text": p.text or ""} for p in t.parts]}
        for t in c.prompt
    ]  # fmt: skip
    return {
        "id": c.id, "images": [str(p) for p in images], "asked": own_questions.question_text(c), "turns": turns,
        "target": c.reference or "",
    }  # fmt: skip


def rating_sheets(
    task: str, dataset: Dataset, out: Path, answers: Sequence[str], *, raters: int, seed: int
) -> dict[str, Any]:
    """OwlEval's blind sheets for the answers of several models, each `MODEL=FILE`. Raises UsageError for another task or a name without a file."""
    from visift.evals.tasks import owleval

    if task != "owleval":
        raise UsageError(f"task {task} is not rated by people", remedy="--to lmms-eval; sheets are for owleval")
    named = dict(a.partition("=")[::2] for a in answers)
    if not all(named) or not all(named.values()) or len(named) < len(answers):
        raise UsageError(
            "--answers names each model once, as MODEL=FILE", remedy="--answers a=a.jsonl --answers b=b.jsonl"
        )
    asked = [own_questions.question_of(c, None) for c in dataset]
    owleval.sheets({m: Path(f) for m, f in named.items()}, asked, out, raters=raters, seed=seed)
    return {"task": task, "rows": len(asked), "raters": raters, "models": sorted(named)}


def _write_log(name: str, ids: Any, answers: Path, out: Path) -> None:
    """One JSON of the shape that lmms-eval logs: replies by doc_id."""
    replies = own_questions.read_answers(answers)[0]
    if lacking := [i for i in ids if i not in replies or replies[i].failed]:
        raise DataError(f"{len(lacking)} questions have no answer, e.g. {lacking[0]}", where=answers)
    logs = [{"doc_id": k, "resps": [[replies[i].text]], "filtered_resps": [replies[i].text]} for k, i in enumerate(ids)]
    args = {"model": "visift", "model_args": "", "limit": None}
    write_json(out / f"{name}.json", {"args": args, "model_configs": {"task": name}, "logs": logs})
