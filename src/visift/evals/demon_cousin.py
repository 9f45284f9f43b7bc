"""Our own questions over several pictures in DEMON's file format: small cousins of its tasks (papers.md B.4.3)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, under, write_atomic, write_json
from visift.core.types import Conversation, Part
from visift.evals.tasks.demon import COUSINS, is_open, plain_name


def export(dataset: Dataset, out: Path) -> dict[str, Any]:
    """Write `OUT/<world>-<task>/core/core.json`, with the pictures beside it, for each task of a dataset of demonstrations or of difference
    pairs, and return how many samples each has. What stands there already stays, so that several datasets make one benchmark.

    Sets of more than two pictures, and questions without choices where DEMON's category gives them, are left out and counted.
    Raises DataError for a dataset of another kind, and where a picture is missing; UsageError, before anything is written,
    where other questions of a task stand there.
    """
    samples: dict[str, list[dict[str, Any]]] = {}
    templates: dict[str, dict[str, int]] = {}  # instruction -> its number
    pictures: dict[Path, tuple[Path, str]] = {}  # copy -> the file, the conversation
    left_out: Counter[str] = Counter()
    for c in dataset:
        name = _task_of(c)
        if not (is_open(name) or c.meta.get("options")) or (name.endswith("difference") and len(c.images) > 2):
            left_out[name] += 1
            continue
        numbers = templates.setdefault(name, {})
        instruction, body = split(list(c.turns[0].parts))
        number = numbers.setdefault(f"{instruction} ", len(numbers))
        files = [dataset.picture_path(p) for p in c.images]
        names = [f"{p.sha256[:24]}{file.suffix}" for p, file in zip(c.images, files, strict=True)]
        pictures |= {under(out, f"{name}/core/images/{n}"): (f, c.id) for n, f in zip(names, files, strict=True)}
        instance: dict[str, Any] = {
            "context": "".join(f"{{image#{p.image + 1}}}" if p.image is not None else p.text or "" for p in body),
            "images_path": names,
        }
        if not is_open(name):
            instance["context"] += " "  # the list of choices follows without one
            instance["choice_list"] = c.meta["options"]
        found = samples.setdefault(name, [])
        found.append(
            {
                "sample_id": len(found),
                "task_instruction_id": number,
                "task_instance": instance,
                "response": c.turns[-1].text,
            }
        )
    cores = {}
    for name, rows in samples.items():
        metadata = {
            "dataset": name, "split": "core", "num_sample": len(rows), "task_instruction": list(templates[name]),
            "question_type": "open-ended" if is_open(name) else "multi-choice",
        }  # fmt: skip
        path = out / name / "core" / "core.json"
        cores[path] = {"metadata": metadata, "data": rows}
        if path.exists() and read_json(path) != cores[path]:
            raise UsageError("holds other questions of this task", where=path,
                             remedy="name another --out, or remove that task first")  # fmt: skip
    for copy, (file, conversation) in pictures.items():
        if not copy.exists():
            if not file.is_file():
                raise DataError(
                    "picture is missing", where=f"conversation {conversation}: {file}", remedy="pass --images DIR"
                )
            write_atomic(copy, file.read_bytes())
    for path, core in cores.items():
        write_json(path, core)
    return {"samples": {name: len(rows) for name, rows in samples.items()}, "left_out": dict(left_out)}


def _task_of(c: Conversation) -> str:
    """`tabletop-story`."""
    kind, _, task = c.provenance.template.partition("/")
    name = plain_name(f"{c.provenance.scenes[0].partition(':')[0]}-{'difference' if kind == 'difference' else task}")
    if not any(name in names for names in COUSINS.values()):
        raise DataError("is no demonstration and no difference of the tabletop or COCO", where=f"conversation {c.id}",
                        remedy="make them with `visift synth demonstration` or `difference`")  # fmt: skip
    return name


def split(parts: list[Part]) -> tuple[str, list[Part]]:
    """The instruction, without choices, and the rest. It stands first, unless the pictures or `Picture 1:` do; then last."""
    head = parts[0].text
    first = head is not None and not head.rstrip().endswith(":")
    asked = (parts.pop(0) if first else parts.pop()).text or ""
    return asked.partition(" Choices: ")[0].strip(), parts
