"""One job of a run, in a process of its own: `python -m visift.recipe.job '{"do": "synth", …}'`."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from visift.core.errors import DataError, VisiftError


def source_of(data: dict[str, Any], seed: int) -> Any:
    if data.get("tabletop"):
        from visift.sources.tabletop import Tabletop

        return Tabletop(data["tabletop"], seed=seed, split=data["split"], level=data["level"], start=data["start"])
    from visift.sources.coco import CocoSource

    paths = {k: Path(data[k]) if data.get(k) else None for k in ("images", "annotations", "captions")}
    return CocoSource(**paths)  # type: ignore[arg-type]


def synth(seed: int, sets: list[dict[str, Any]]) -> None:
    """Each set: {"data": …, "out": folder}."""
    from visift.curate.card import ensure_card
    from visift.synth.frame import synthesise

    for one in sets:
        data = one["data"]
        source = source_of(data, seed)
        if data.get("attention_of"):
            from visift.models.significance import Diagnosed

            source = Diagnosed(source, data["attention_of"])
        synthesise(data["kind"], source, Path(one["out"]), seed=seed, limit=data.get("limit"), **data["options"])
        ensure_card(Path(one["out"]))


def ask(seed: int, sets: list[dict[str, Any]], trained: dict[str, list[str]]) -> None:
    """`synth` of what is asked. Each set also has its "task", which must be able to read it, and in `trained` the datasets made of
    the same folder of pictures, which must hold none of its scenes: both are found out before anything is trained."""
    from visift.core.dataset import Dataset
    from visift.evals import tasks
    from visift.evals.task import Files

    synth(seed, sets)
    for one in sets:
        questions = Path(one["out"])
        tasks.get(one["task"]).readers["visift"](Files(Path(os.devnull), questions))
        asked = {s for c in Dataset(questions) for s in c.provenance.scenes}
        for other in map(Path, trained.get(questions.name, ())):
            if shared := sorted(asked.intersection(s for c in Dataset(other) for s in c.provenance.scenes)):
                raise DataError(
                    f"{len(shared)} of {len(asked)} scenes are in data {other.name} too, e.g. {shared[0]}",
                    where=f"questions.{questions.name}", remedy="ask about pictures that nothing is trained on",
                )  # fmt: skip


def train(model: str, data: list[str], stage: str, out: str, settings: dict[str, Any]) -> None:
    from visift.train.run import train as run
    from visift.train.settings import settings_from

    run(model, [Path(d) for d in data], stage, Path(out), settings_from(settings))


def answer(model: str, sets: list[dict[str, Any]]) -> None:
    """One model, loaded once, on several question sets: {"task", "questions", "out", "max_new_tokens", "grey"?, "rounds"?}."""
    import torch

    from visift.evals.answer import answer as run
    from visift.evals.answer import ready
    from visift.evals.rounds import Rounds

    torch.set_num_threads(1)
    vlm = ready(model)
    for one in sets:
        task, questions, out = one.pop("task"), Path(one.pop("questions")), Path(one.pop("out"))
        rounds = Rounds(**one.pop("rounds")) if "rounds" in one else None
        run(task, model, questions, out, vlm=vlm, rounds=rounds, **one)


def pretrain(out: str, settings: dict[str, Any]) -> None:
    from visift.models.builtin.pretrain import pretrain as run
    from visift.models.builtin.settings import PretrainSettings

    run(Path(out), PretrainSettings(**settings))


STEPS = {"synth": synth, "ask": ask, "train": train, "answer": answer, "pretrain": pretrain}


def do(spec: dict[str, Any]) -> None:
    """One step: {"do": its name, arguments}."""
    arguments = dict(spec)
    STEPS[arguments.pop("do")](**arguments)


def _end_with_parent() -> None:
    """The parent holds the other end of stdin; when it is gone, so are we."""
    while os.read(0, 1):  # not sys.stdin: its lock must be free when the interpreter ends
        pass
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        do(json.loads(sys.argv[1]))
    except VisiftError as e:
        print(" ".join(str(e).split()), file=sys.stderr)
        sys.exit(e.exit_code)
    except Exception as e:  # the parent shows the last line: it must say what happened, whatever the message looks like
        traceback.print_exc()
        print(f"{type(e).__name__}: {' '.join(str(e).split())}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
