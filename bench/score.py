"""How fast scoring is: 100,000 POPE answers, ours and in LLaVA's files, every interval included. Target: under 5 s each.

python bench/score.py [--questions 100000] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from visift.core.dataset import Made, build
from visift.core.files import write_jsonl
from visift.core.seeds import rng
from visift.core.types import Answer, Conversation, Picture, Provenance, assistant, user
from visift.evals.score import score

SPLITS = ("random", "popular", "adversarial")
A_PICTURE = 18


def rows(count: int) -> list[tuple[str, str, str, str, str]]:
    """(split, picture, question, truth, reply), POPE-shaped: six questions a picture and split."""
    gen, out = rng("bench score"), []
    for k in range(count):
        truth = "yes" if k % 2 else "no"
        reply = truth if gen.random() < 0.86 else ("no" if truth == "yes" else "yes")
        picture = f"COCO_val2014_{k // A_PICTURE:012d}.jpg"
        out.append(
            (SPLITS[k % 3], picture, f"Is there a thing {k % A_PICTURE} in the image?", truth, reply.capitalize())
        )
    return out


def write_ours(folder: Path, made: list[tuple[str, str, str, str, str]]) -> dict[str, Path]:
    conversations = (
        Conversation(
            str(k), (Picture(f"coco:{p}"),), (user(0, q), assistant(t)), Provenance("existence", (p,)), {"split": s}
        )
        for k, (s, p, q, t, _) in enumerate(made)
    )
    build(
        folder / "questions", kind="questions", items=(Made([c]) for c in conversations), make=lambda m: m, settings={}
    )
    answers = (Answer(str(k), "pope", (p,), q, r, "stop").to_json() for k, (_, p, q, _, r) in enumerate(made))
    write_jsonl(folder / "answers.jsonl", answers)
    return {"answers": folder / "answers.jsonl", "questions": folder / "questions"}


def write_llava(folder: Path, made: list[tuple[str, str, str, str, str]]) -> dict[str, Path]:
    tail = "\nAnswer the question using a single word or phrase."
    asked = [{"question_id": k, "image": p, "text": q + tail, "category": s} for k, (s, p, q, _, _) in enumerate(made)]
    write_jsonl(folder / "questions.jsonl", asked)
    write_jsonl(
        folder / "llava.jsonl",
        ({"question_id": k, "prompt": q + tail, "text": r, "metadata": {}} for k, (_, _, q, _, r) in enumerate(made)),
    )
    for split in SPLITS:
        labels = [
            {"question_id": k, "image": p, "text": q, "label": t}
            for k, (s, p, q, t, _) in enumerate(made)
            if s == split
        ]
        write_jsonl(folder / "labels" / f"coco_pope_{split}.json", labels)
    return {"answers": folder / "llava.jsonl", "questions": folder / "questions.jsonl", "references": folder / "labels"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    made, seconds, cpu = rows(chosen.questions), {}, {}
    with tempfile.TemporaryDirectory() as name:
        print("writing the files …", file=sys.stderr)
        for kind, write in (("visift", write_ours), ("llava", write_llava)):
            files = write(Path(name), made)
            start, busy = time.perf_counter(), time.process_time()
            result = score("pope", **files, format=kind, out=Path(name) / "scores" / kind)  # type: ignore[arg-type]
            seconds[kind], cpu[kind] = round(time.perf_counter() - start, 2), round(time.process_time() - busy, 2)
            assert result["counts"]["scored"] == chosen.questions
    if chosen.json:
        print(json.dumps({"questions": chosen.questions, "seconds": seconds, "cpu_seconds": cpu}))
    else:
        for kind, taken in seconds.items():
            print(
                f"score pope, {kind} files: {chosen.questions:,} answers in {taken} s, {cpu[kind]} s of CPU ({chosen.questions / taken:,.0f}/s)"
            )


if __name__ == "__main__":
    main()
