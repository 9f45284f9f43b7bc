"""Degenerate predictors through every task: all-yes, all-no, silence, gold, gold in the wrong places, other languages, 100 kB.
What each scores follows from counting the few questions that stand here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import eval_samples as samples
import pytest
from test_demon import core
from test_foreign import FILES, mme_folder

from visift.core.dataset import Dataset
from visift.core.files import write_json, write_jsonl
from visift.core.types import Answer
from visift.evals import tasks
from visift.evals.score import score
from visift.evals.task import Files


@dataclass(frozen=True)
class Case:
    """`gold` are right replies in question order; `of` a predictor's value of `metric`, 0 where it is not named."""

    make: Callable[[Path], dict[str, Path]]
    gold: list[str]
    of: dict[str, float]
    metric: str = "accuracy"


def own(*truths: str) -> Callable[[Path], dict[str, Path]]:
    def make(folder: Path) -> dict[str, Path]:
        rows = (samples.conversation(f"q{k}", f"s{k}", "?", truth) for k, truth in enumerate(truths))
        return {"questions": samples.question_set(folder / "q", rows)}

    return make


def difference(folder: Path) -> dict[str, Path]:
    rows = (samples.conversation(f"q{k}", f"s{k}", "?", f"The {name} is gone.", edits=[{"before": name}])
            for k, name in enumerate(("red star", "blue ring", "pink moon")))  # fmt: skip
    return {"questions": samples.question_set(folder / "q", rows)}


def published(name: str) -> Callable[[Path], dict[str, Path]]:
    return lambda folder: {"references": FILES[name](folder)}


def mm_vet(folder: Path) -> dict[str, Path]:
    truths = ["a bus", "two<AND>red", "x<OR>y"]
    rows = {f"v1_{k}": {"imagename": f"{k}.png", "question": "?", "answer": t, "capability": ["rec"]} for k, t in enumerate(truths)}  # fmt: skip
    write_json(folder / "mm-vet.json", rows)
    return {"references": folder / "mm-vet.json"}


PAINTED = ["red apples hang", "blue boats sail", "green frogs jump"]


def llava_bench(folder: Path) -> dict[str, Path]:
    write_jsonl(folder / "q.jsonl", [{"question_id": k, "image": f"{k}.jpg", "text": "?"} for k in range(3)])
    write_jsonl(folder / "gpt4.jsonl", [{"question_id": k, "text": t} for k, t in enumerate(PAINTED)])
    return {"questions": folder / "q.jsonl", "references": folder / "gpt4.jsonl"}


def pairwise(folder: Path) -> dict[str, Path]:
    """The other model says `nothing` to everything."""
    rows = [{"question_id": k, "image": f"{k}.jpg", "text": "?", "answer": t} for k, t in enumerate(PAINTED)]
    write_jsonl(folder / "q.jsonl", rows)
    write_jsonl(folder / "other.jsonl", [{"question_id": k, "text": "nothing"} for k in range(3)])
    return {"questions": folder / "q.jsonl", "references": folder / "other.jsonl"}


def chair(folder: Path) -> dict[str, Path]:
    names = ["dog", "train", "bus"]
    write_json(folder / "instances.json", {
        "images": [{"id": k, "file_name": f"{k}.jpg"} for k in range(3)], "categories": [{"id": k, "name": n} for k, n in enumerate(names)],
        "annotations": [{"image_id": k, "category_id": k} for k in range(3)],
    })  # fmt: skip
    return {"references": folder / "instances.json"}


def demon(folder: Path) -> dict[str, Path]:
    core(folder / "r", "Spot-the-Diff", "open-ended", [(t, None) for t in PAINTED])
    return {"references": folder / "r"}


def listing(folder: Path) -> dict[str, Path]:
    return {"questions": samples.listing(folder / "q", [["red circle", "blue star"], ["blue star", "red circle"]])}


CASES = {
    # half yes, alternating: everything in the wrong place is wrong everywhere
    "pope": Case(lambda f: {"questions": samples.existence(f / "q", 2)}, ["Yes", "No"] * 18, {"gold": 1, "yes": 2 / 3}, "f1"),
    "relation": Case(own("Yes", "No", "Yes", "No"), ["Yes", "No"] * 2, {"gold": 1, "yes": 0.5, "no": 0.5}),
    # existence and OCR count here, code_reasoning is cognition: accuracy 1/2, no pair whole
    "mme": Case(lambda f: {"references": mme_folder(f / "mme")}, ["Yes", "No"] * 5, {"gold": 400, "yes": 100, "no": 100}, "perception"),
    "gqa": Case(published("gqa"), ["yes", "table"] * 3, {"gold": 1, "yes": 0.5}),
    "vqav2": Case(published("vqav2"), ["two", "blue", "a cat"], {"gold": 2 / 3}),
    "textvqa": Case(published("textvqa"), ["stop", "ann"], {"gold": 1}),
    "seed": Case(published("seed"), list("ABCA"), {"gold": 1, "shuffled": 1 / 4}),
    "scienceqa": Case(published("scienceqa"), list("ABAB"), {"gold": 1}),
    "mmbench": Case(published("mmbench"), list("ABAB"), {"gold": 1}),
    "mm-vet": Case(mm_vet, ["It is a bus.", "two, red", "y"], {"gold": 1}, "score"),
    "llava-bench-wild": Case(llava_bench, PAINTED, {"gold": 1}, "relative"),
    "llava-bench-coco": Case(llava_bench, PAINTED, {"gold": 1}, "relative"),
    # what says no word of the truth ties with `nothing`; silence loses
    "pairwise": Case(pairwise, PAINTED, {"gold": 1} | dict.fromkeys(("yes", "no", "shuffled", "german", "japanese", "endless"), 0.5), "win_rate"),
    "chair": Case(chair, ["A dog.", "A train.", "A bus."], {"gold": 1}, "recall"),
    "demon": Case(demon, PAINTED, {"gold": 1}, "rouge_l"),
    "tag-listing": Case(listing, ["1. red circle\n2. blue star", "1. blue star\n2. red circle"], {"gold": 1}),
    "difference": Case(difference, ["the red star", "the blue ring", "the pink moon"], {"gold": 1}, "f1"),
    "counting": Case(own("1", "2", "2", "3"), ["1", "two", "2", "3"], {"gold": 1, "shuffled": 1 / 4}),
    "colour": Case(own("red", "blue", "red", "red"), ["red", "Blue.", "the red", "red"], {"gold": 1, "shuffled": 1 / 2}),
    "caption": Case(own("a red ball and a blue cup", "a red ball", "a dog"), ["a red ball, a blue cup", "a red ball", "a dog"],
                    {"gold": 1, "shuffled": 1 / 6}, "recall"),
}  # fmt: skip
PREDICTORS = {"gold": None, "shuffled": None, "yes": "Yes", "no": "No", "empty": "", "german": "Das ist ein Hund",
              "japanese": "はい、犬です", "endless": samples.ENDLESS}  # fmt: skip


def test_every_task_has_a_case() -> None:
    assert set(tasks.TASKS) - {"owleval"} == set(
        CASES
    )  # owleval's answers are ranks that people wrote: test_owleval.py


def write_answers(folder: Path, name: str, files: dict[str, Path], replies: list[str]) -> Path:
    if (files.get("questions", folder) / "dataset.json").exists():
        asked = [c.id for c in Dataset(files["questions"])]
    else:
        asked = [q.id for q in tasks.get(name).ask(Files(Path(), **files))]
    rows = zip(asked, replies, strict=True)
    write_jsonl(folder / "a.jsonl", (Answer(i, name, (), "?", text, "stop").to_json() for i, text in rows))
    return folder / "a.jsonl"


@pytest.mark.parametrize("name", CASES)
def test_degenerate_predictors(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    files = case.make(tmp_path)
    n = len(case.gold)
    for predictor, said in PREDICTORS.items():
        replies = {"gold": case.gold, "shuffled": [*case.gold[1:], case.gold[0]]}.get(predictor, [said] * n)
        result = score(name, write_answers(tmp_path, name, files, replies), **files)
        assert result["metrics"][case.metric]["value"] == pytest.approx(case.of.get(predictor, 0)), predictor
        assert result["counts"]["scored"] == result["counts"]["total"] == n and not result["counts"]["unscored"]
        if predictor == "empty":
            assert result["counts"]["no_answer"] == n
        if predictor == "gold":
            assert result["counts"]["no_answer"] == 0


@pytest.mark.parametrize("name", [n for n in CASES if n != "chair"])  # a picture without a caption was not asked
def test_a_missing_answer_is_unscored_and_counted(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    files = case.make(tmp_path)
    answers = write_answers(tmp_path, name, files, case.gold)
    answers.write_text("".join(answers.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    result = score(name, answers, **files)
    assert sum(result["counts"]["unscored"].values()) == 1 and result["counts"]["scored"] == len(case.gold) - 1
    assert result["metrics"][case.metric]["value"] is None and "1 of" in result["metrics"][case.metric]["withheld"]
