"""Questions a second on a POPE-shaped set: one `generate` a question (the common harnesses' way) against `visift answer`.

A random 135M-class VLM (30 x 576 LM; 336-px tower, 576 visual tokens), 18 yes/no questions a picture, at most 4 new
tokens, float32 on CPU (seconds of this process) or bf16 on a GPU. Usage: python bench/answer.py [--pictures 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from rig import clock, make_model, noise

from visift.core.dataset import Dataset, Made, build
from visift.core.seeds import rng
from visift.core.types import Conversation, Provenance, assistant, user
from visift.evals.answer import answer, ready
from visift.evals.engine import Engine
from visift.evals.question import Question

THINGS = (
    "person car dog cat bus chair table bottle cup bowl sofa train truck boat bench bird horse sheep".split()  # noqa: SIM905
)


def make_questions(folder: Path, pictures: int) -> None:
    def make(k: int) -> Made:
        image = noise(folder, f"{k}", rng("bench answer", k), 336)
        rows = [
            Conversation(
                f"{k}-{t}", (image,), (user(0, f"Is there a {t} in the image?"), assistant("Yes")), Provenance("pope")
            )
            for t in THINGS
        ]
        return Made(rows)

    build(folder, kind="pope", items=range(pictures), make=make, settings={"pictures": pictures})


@torch.inference_mode()
def one_by_one(vlm: Any, questions: Path) -> tuple[dict[str, str], dict[str, float], float]:
    """(texts, smallest margin between the two best tokens, seconds): one `generate` for each question."""
    dataset = Dataset(questions)
    engine = Engine(vlm, dataset, 4, grey=False)
    texts, margins = {}, {}
    start = clock()
    for c in dataset:
        q = Question(c, "", engine.renderer.prompt(c))
        inputs = engine._inputs([q], [engine.pictures.of(c, q.text.slots if q.text else ())])
        out = vlm.model.generate(
            **inputs, generation_config=engine.generation, output_logits=True, return_dict_in_generate=True
        )
        best = torch.stack(out.logits).topk(2).values
        margins[c.id] = float((best[..., 0] - best[..., 1]).min())
        texts[c.id] = engine._text(out.sequences[0, inputs["input_ids"].shape[1] :].tolist())[0]
    return texts, margins, clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model", 336, [f"Is there a {t} in the image? Yes No" for t in THINGS], spread=6)
        make_questions(root / "questions", args.pictures)
        vlm = ready(str(root / "model"))
        answer(
            "warm", str(root / "model"), root / "questions", root / "warm.jsonl", max_new_tokens=1, limit=18, vlm=vlm
        )
        count = 18 * args.pictures
        texts, margins, seconds = one_by_one(vlm, root / "questions")
        rows = [
            {"way": "one generate a question", "seconds": seconds, "questions_per_s": count / seconds, "times": 1.0}
        ]
        for mode in ("generate", "logits"):
            start = clock()
            answer(
                "pope",
                str(root / "model"),
                root / "questions",
                root / f"{mode}.jsonl",
                mode=mode,
                max_new_tokens=4,
                vlm=vlm,
            )
            took = clock() - start
            row = {
                "way": f"visift answer --mode {mode}",
                "seconds": took,
                "questions_per_s": count / took,
                "times": seconds / took,
            }
            if mode == "generate":
                found = {
                    r["id"]: r["text"] for r in map(json.loads, (root / "generate.jsonl").read_text().splitlines())
                }
                other = [k for k in texts if found[k] != texts[k]]
                row |= {"different": len(other), "of them with a margin >= 1e-4": sum(margins[k] >= 1e-4 for k in other),
                        "distinct answers": len(set(found.values()))}  # fmt: skip
            rows.append(row)
    for row in rows:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GB, {torch.get_num_threads()} threads, {vlm.model.dtype}")
    if args.json:
        args.json.write_text(
            json.dumps({"rows": rows, "peak_gb": peak, "threads": torch.get_num_threads()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
