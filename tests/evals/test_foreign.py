"""The benchmarks' own files and other people's answers: joined by what they are about, scored by the published rules."""

import json
import os
from pathlib import Path

import eval_samples as samples
import pytest

from visift.core.errors import DataError, UsageError
from visift.core.files import write_json, write_jsonl
from visift.core.types import Answer
from visift.evals import tasks
from visift.evals.compare import compare
from visift.evals.score import score
from visift.evals.task import Files
from visift.evals.tasks.mme import PERCEPTION

WORD = "\nAnswer the question using a single word or phrase."


def value(result: dict, name: str) -> float:
    return result["metrics"][name]["value"]


# --- POPE


def pope_files(folder: Path, typo: bool = True) -> dict[str, Path]:
    """Three splits, 12 questions each on 4 pictures; ids of two splits are shifted, label rows stand in another order, and
    one label file says `an X in the imange`."""
    asked, answers = [], []
    for shift, split in ((0, "adversarial"), (10_000_000, "popular"), (20_000_000, "random")):
        labels = []
        for k in range(12):
            image, label = f"COCO_val2014_{k // 3:012d}.jpg", "no" if k % 2 else "yes"
            text = f"Is there a thing{k} in the image?"
            odd = text.replace("a thing", "an thing").replace("image?", "imange?") if typo and k == 4 else text
            labels.append({"question_id": k + 1, "image": image, "text": odd, "label": label})
            asked.append({"question_id": shift + k + 1, "image": image, "text": text + WORD, "category": split})
            # adversarial: all right; popular: yes to all; random: right but for question 0 (a miss)
            said = {
                "adversarial": label.capitalize(),
                "popular": "Yes",
                "random": "No" if k == 0 else label.capitalize(),
            }[split]
            answers.append({"question_id": shift + k + 1, "prompt": text + WORD, "text": said, "metadata": {}})
        write_jsonl(folder / "labels" / f"coco_pope_{split}.json", reversed(labels))
    write_jsonl(folder / "q.jsonl", asked)
    write_jsonl(folder / "a.jsonl", [*answers[5:], *answers[:5]])
    return {"answers": folder / "a.jsonl", "questions": folder / "q.jsonl", "references": folder / "labels"}


def test_pope_of_llava(tmp_path):
    files = pope_files(tmp_path)
    (files["references"] / "llava_pope_test.jsonl").write_bytes(
        files["questions"].read_bytes()
    )  # as in LLaVA's own folder
    result = score("pope", **files, format="llava")
    # adversarial 1; popular tp 6 fp 6: 2/3; random tp 5 fn 1: 10/11
    f1 = {"adversarial": 1.0, "popular": 2 / 3, "random": 10 / 11}
    assert {g: r["f1"]["value"] for g, r in result["groups"].items()} == pytest.approx(f1)
    assert value(result, "f1") == pytest.approx(sum(f1.values()) / 3)
    assert result["counts"]["total"] == 36 and result["metrics"]["f1"]["clusters"] == 4
    assert result["recipe"]["parser"] == "llava" and result["recipe"]["prompt"] == WORD.strip()


@pytest.mark.parametrize("name", ["coco_pope_random.json", "labels.json"])
def test_pope_with_one_label_file_counts_that_split_only(tmp_path, name):
    files = pope_files(tmp_path)
    rows = [json.loads(line) for line in (files["references"] / "coco_pope_random.json").read_text().splitlines()]
    if name == "labels.json":  # the split is found by which questions it answers, so give this one its own questions
        asked = [json.loads(line) for line in files["questions"].read_text().splitlines()]
        for row in rows + [q for q in asked if q["category"] == "random"]:
            row["text"] = row["text"].replace("thing", "object")
        write_jsonl(files["questions"], asked)
    write_jsonl(tmp_path / name, rows)
    result = score("pope", **files | {"references": tmp_path / name}, format="llava")
    assert list(result["groups"]) == ["random"] and value(result, "f1") == pytest.approx(10 / 11)
    assert result["counts"]["left_out"] == {"question of a split without labels": 24} and result["counts"]["extra"] == 0


def test_pope_misfits(tmp_path):
    files = pope_files(tmp_path)
    labels = files["references"] / "coco_pope_popular.json"
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    write_jsonl(labels, [*rows, rows[0] | {"label": "no" if rows[0]["label"] == "yes" else "yes"}])
    with pytest.raises(DataError, match="two labels for one question"):
        score("pope", **files, format="llava")
    write_jsonl(labels, rows[:-1])
    result = score("pope", **files, format="llava")
    assert result["counts"]["unscored"] == {"no label": 1} and value(result, "f1") is None
    write_jsonl(labels, [rows[0] | {"label": "maybe"}])
    with pytest.raises(DataError, match="neither yes nor no"):
        score("pope", **files, format="llava")
    with pytest.raises(UsageError, match="--questions is missing"):
        score("pope", files["answers"], references=labels, format="llava")


# --- MME


def mme_folder(folder: Path) -> Path:
    """existence: two pictures right, one half right -> accuracy 5/6, accuracy+ 2/3; code_reasoning: yes to all -> 1/2, 0; OCR: `other`."""
    folder.mkdir()
    rows = {
        "existence": [("1.jpg", "Is a? Please answer yes or no.", "Yes", "yes, it is"), ("1.jpg", "Is b? Please answer yes or no.", "No", "No."),
                      ("2.jpg", "Is a? Please answer yes or no.", "Yes", "Yes"), ("2.jpg", "Is b?  Please answer yes or no.", "No", "no"),
                      ("3.jpg", "Is a? Please answer yes or no.", "Yes", "it is"), ("3.jpg", "Is b? Please answer yes or no.", "No", " no")],
        "code_reasoning": [("1.png", "Is x? Please answer yes or no.", "Yes", "yes"), ("1.png", "Is y? Please answer yes or no.", "No", "yes")],
        "OCR": [("1.png", "Is x? Please answer yes or no.", "Yes", "the answer is yes"), ("1.png", "Is y? Please answer yes or no.", "No", "")],
    }  # fmt: skip
    for subtask, lines in rows.items():
        (folder / f"{subtask}.txt").write_text("".join("\t".join(line) + "\n" for line in lines))
    return folder


def check_mme(result: dict) -> None:
    assert result["groups"]["existence"]["accuracy"]["value"] == pytest.approx(5 / 6)
    assert result["groups"]["existence"]["accuracy_plus"]["value"] == pytest.approx(2 / 3)
    assert result["groups"]["existence"]["score"]["value"] == pytest.approx(150)
    assert result["groups"]["code_reasoning"]["score"]["value"] == pytest.approx(50)
    assert result["groups"]["OCR"]["score"]["value"] == 0 and result["counts"]["no_answer"] == 3
    assert (value(result, "perception"), value(result, "cognition")) == pytest.approx((150, 50))
    assert result["recipe"]["subtasks"] == "3 of 14" and result["recipe"]["parser"] == "mme"


def test_mme_tool(tmp_path):
    check_mme(score("mme", mme_folder(tmp_path / "tool"), format="mme-tool"))


def test_mme_of_llava_joins_repeated_ids_by_question(tmp_path):
    tool, rows = mme_folder(tmp_path / "tool"), []
    for file in sorted(tool.glob("*.txt")):
        for line in file.read_text().splitlines():
            image, text, _, answer = line.split("\t")
            prompt = text.replace("Please answer yes or no.", "").strip() + WORD
            rows.append({"question_id": f"{file.stem}/{image}", "prompt": prompt, "text": answer})
    write_jsonl(
        tmp_path / "a.jsonl", [*reversed(rows), rows[0] | {"text": "later"}, rows[0] | {"question_id": "OCR/9.png"}]
    )
    result = score("mme", tmp_path / "a.jsonl", references=tool, format="llava")
    check_mme(result | {"counts": result["counts"] | {"no_answer": 3}})
    assert result["counts"]["duplicate"] == 1 and result["counts"]["extra"] == 1


def test_mme_release_folder_and_conflicting_truth(tmp_path):
    (tmp_path / "count" / "questions_answers_YN").mkdir(parents=True)
    (tmp_path / "count" / "questions_answers_YN" / "7.txt").write_text("Are there two?\tYes\nAre there three?\tNo\n")
    asked = tasks.get("mme").ask(Files(Path(), references=tmp_path))
    assert [(q.id, q.gold, q.cluster) for q in asked] == [
        ("count/7/Are there two?", "yes", "count/7"),
        ("count/7/Are there three?", "no", "count/7"),
    ]
    (tmp_path / "count" / "questions_answers_YN" / "7.txt").write_text("Are there two?\tYes\nAre there two?\tNo\n")
    write_jsonl(tmp_path / "a.jsonl", [])
    with pytest.raises(DataError, match="two labels for one question"):
        score("mme", tmp_path / "a.jsonl", references=tmp_path, format="llava")


# --- judged benchmarks


def test_mm_vet_grades(tmp_path):
    write_json(tmp_path / "g.json", {"v1_0": {"model": ["gpt-4"], "content": ["0.5"], "score": [0.5]},
                                     "v1_1": {"model": ["gpt-4"] * 2, "content": ["0", "1"], "score": [0.0, 0.4]}})  # fmt: skip
    result = score("mm-vet", tmp_path / "g.json", format="mm-vet-grades")
    assert value(result, "score") == pytest.approx(0.35) and result["recipe"]["judge"] == ["gpt-4"]
    meta = {k: {"imagename": f"{k}.jpg", "question": "?", "answer": "x", "capability": c} for k, c in
            {"v1_0": ["ocr", "math"], "v1_1": ["ocr"], "v1_2": ["rec"]}.items()}  # fmt: skip
    write_json(tmp_path / "m.json", meta)
    result = score("mm-vet", tmp_path / "g.json", references=tmp_path / "m.json", format="mm-vet-grades")
    assert result["counts"]["unscored"] == {"missing": 1} and value(result, "score") is None
    assert {g: r["score"]["value"] for g, r in result["groups"].items()} == pytest.approx({"math": 0.5, "ocr": 0.35})
    write_json(tmp_path / "g.json", {"v1_0": {"score": [-1]}, "v1_1": {"score": []}, "v1_2": {"score": [1.0]}})
    assert score("mm-vet", tmp_path / "g.json", format="mm-vet-grades")["counts"]["unscored"] == {"no usable grade": 2}


def test_llava_bench_reviews(tmp_path):
    pairs = [(8.0, 10.0, "conv"), (9.0, 6.5, "detail"), (8.0, 6.0, "complex"), (9, 9, "conv")]
    rows = [{"question_id": k, "category": f"llava_bench_{c}", "tuple": [a, b]} for k, (a, b, c) in enumerate(pairs)]
    write_jsonl(tmp_path / "r.jsonl", rows)
    result = score("llava-bench-wild", tmp_path / "r.jsonl", format="llava-reviews")
    assert value(result, "relative") == pytest.approx(7.875 / 8.5)  # means of 31.5 and 34 over four
    assert result["groups"]["llava_bench_conv"]["relative"]["value"] == pytest.approx(9.5 / 8.5)
    # means are rounded to three decimals first: 20/3 = 6.667, 25/3 = 8.333
    write_jsonl(tmp_path / "r.jsonl", [{"question_id": k, "tuple": p} for k, p in enumerate([[8, 6], [9, 7], [8, 7]])])
    assert value(score("llava-bench-coco", tmp_path / "r.jsonl", format="llava-reviews"), "relative") == 6.667 / 8.333
    write_jsonl(tmp_path / "r.jsonl", [*rows, {"question_id": 9, "tuple": [-1, -1]}])
    result = score("llava-bench-wild", tmp_path / "r.jsonl", format="llava-reviews")
    assert result["counts"]["unscored"] == {"failed verdict": 1} and value(result, "relative") is None


# --- the benchmarks' own files: what each asks, and what degenerate predictors score


def gqa(folder: Path) -> Path:
    rows = {str(k): {"imageId": f"i{k // 2}", "question": "What?", "answer": ["yes", "table"][k % 2],
                     "types": {"structural": ["verify", "query"][k % 2]}} for k in range(6)}  # fmt: skip
    rows["x"] = {"imageId": "i", "question": "?", "answer": "no", "isBalanced": False}
    write_json(folder / "gqa.json", rows)
    return folder / "gqa.json"


def vqav2(folder: Path) -> Path:
    answers = [["2"] * 10, ["red"] * 2 + ["blue"] * 8, ["a cat"] * 9 + ["cats"]]
    rows = [{"question_id": k, "image_id": k // 2, "answer_type": "other",
             "answers": [{"answer": a, "answer_id": n} for n, a in enumerate(given)]} for k, given in enumerate(answers)]  # fmt: skip
    write_json(folder / "vqa.json", {"annotations": rows})
    return folder / "vqa.json"


def textvqa(folder: Path) -> Path:
    rows = [{"image_id": "p", "question_id": k, "question": q, "answers": a} for k, (q, a) in
            enumerate([("What is it?", ["The Stop"] * 10), ("Who?", ["bob"] * 1 + ["ann"] * 9)])]  # fmt: skip
    write_json(folder / "text.json", {"data": rows})
    return folder / "text.json"


def seed(folder: Path) -> Path:
    rows = [{"question_id": str(k), "data_id": f"d{k}", "data_type": "video" if k == 3 else "image", "question_type_id": 1 + k % 2, "question": "?",
             "choice_a": "a dog", "choice_b": "a cat", "choice_c": "red", "choice_d": "blue", "answer": "ABCA"[k]} for k in range(4)]  # fmt: skip
    write_json(
        folder / "seed.json", {"question_type": {"Scene Understanding": 1, "Instance Identity": 2}, "questions": rows}
    )
    return folder / "seed.json"


def scienceqa(folder: Path) -> Path:
    problems = {str(k): {"question": "?", "choices": ["x", "y", "z"][: 2 + k % 2], "answer": k % 2, "hint": "", "image": "image.png" if k < 2 else None,
                         "split": "test"} for k in range(4)}  # fmt: skip
    write_json(
        folder / "problems.json", problems | {"9": {"question": "?", "choices": ["x"], "answer": 0, "split": "train"}}
    )
    write_json(folder / "pid_splits.json", {"test": list(problems), "train": ["9"]})
    return folder


def mmbench(folder: Path) -> Path:
    lines = ["index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory"]
    for base in (1, 2):
        lines += [
            f"{base}\tWhat?\tnan\tdog\tcat\t\t\tA\tc{base}",
            f"{1_000_000 + base}\tWhat?\tnan\tcat\tdog\t\t\tB\tc{base}",
        ]
    (folder / "mmbench.tsv").write_text("\n".join(lines) + "\n")
    return folder / "mmbench.tsv"


FILES = {"gqa": gqa, "vqav2": vqav2, "textvqa": textvqa, "seed": seed, "scienceqa": scienceqa, "mmbench": mmbench}
GOLD = {"vqav2": ["two", "blue", "a cat"], "textvqa": ["stop", "ann"]}
# task -> predictor -> (accuracy, no answers); vqav2's gold 1 x, 1, and "a cat": its truths keep the article, the reply loses it: 0, as published
SCORES = {
    "gqa": {"gold": (1, 0), "yes": (0.5, 0), "A": (0, 6)},
    "vqav2": {"gold": (2 / 3, 0), "red": ((0 + (8 * 2 / 3 + 2 / 3) / 10 + 0) / 3, 0), "A": (0, 3)},
    "textvqa": {"gold": (1, 0), "bob": ((9 * 1 / 3 + 0) / 10 / 2, 0), "A": (0, 2)},
    "seed": {"gold": (1, 0), "A": (0.5, 0), "yes": (0, 4)},
    "scienceqa": {"gold": (1, 0), "A": (0.5, 0), "yes": (0, 4)},
    "mmbench": {"gold": (1, 0), "A": (0, 0), "dog": (1, 0), "yes": (0, 4)},
}
ANYWHERE = {
    "empty": "",
    "endless": samples.ENDLESS,
    "cruel": samples.CRUEL,
    "japanese": "はい、犬です",
    "german": "Das ist ein Hund",
}


def answers_to(path: Path, name: str, references: Path, say) -> Path:
    asked = tasks.get(name).ask(Files(Path(), references=references))
    write_jsonl(path, (Answer(q.id, name, q.images, q.asked, say(k, q), "stop").to_json() for k, q in enumerate(asked)))
    return path


@pytest.mark.parametrize(("name", "said"), [(n, s) for n in FILES for s in SCORES[n]])
def test_degenerate_predictors(name, said, tmp_path):
    references = FILES[name](tmp_path)
    right, silent = SCORES[name][said]
    reply = (lambda k, q: GOLD[name][k] if name in GOLD else q.gold) if said == "gold" else (lambda k, q: said)
    result = score(name, answers_to(tmp_path / "a.jsonl", name, references, reply), references=references)
    assert value(result, "accuracy") == pytest.approx(right)
    assert result["counts"]["no_answer"] == silent and not result["counts"]["unscored"]


@pytest.mark.parametrize("said", ANYWHERE)
@pytest.mark.parametrize("name", FILES)
def test_nonsense_scores_nothing_and_breaks_nothing(name, said, tmp_path):
    references = FILES[name](tmp_path)
    answers = answers_to(tmp_path / "a.jsonl", name, references, lambda k, q: ANYWHERE[said])
    result = score(name, answers, references=references, parser="all")
    assert value(result, "accuracy") == 0 and not result["counts"]["unscored"]
    if said == "empty":
        assert result["counts"]["no_answer"] == result["counts"]["total"]


def test_scienceqa_of_llava(tmp_path):
    references = scienceqa(tmp_path)
    texts = ["A", "B. y", "The answer is A.", "the answer is B"]  # the last is no answer by LLaVA's rule
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": str(k), "prompt": "?", "text": t} for k, t in enumerate(texts)])
    result = score("scienceqa", tmp_path / "a.jsonl", references=references, format="llava")
    assert (value(result, "accuracy"), value(result, "image_accuracy")) == (0.75, 1.0) and result["counts"][
        "no_answer"
    ] == 1
    assert result["groups"]["text"]["accuracy"]["value"] == 0.5
    assert (
        value(
            score("scienceqa", tmp_path / "a.jsonl", references=references, format="llava", parser="default"),
            "accuracy",
        )
        == 1
    )


def test_seed_submissions(tmp_path):
    references = seed(tmp_path)
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": str(k), "prediction": p} for k, p in enumerate("ABAA")])
    result = score("seed", tmp_path / "a.jsonl", references=references, format="llava")
    assert [value(result, f"{k}accuracy") for k in ("", "image_", "video_")] == pytest.approx([3 / 4, 2 / 3, 1])
    assert set(result["groups"]) == {"image", "video", "Scene Understanding", "Instance Identity"}
    write_jsonl(
        tmp_path / "a.jsonl", [{"question_id": k, "text": p} for k, p in enumerate("AB.")]
    )  # no video answered, numeric ids
    result = score("seed", tmp_path / "a.jsonl", references=references, format="llava")
    assert value(result, "accuracy") == pytest.approx(2 / 3) and "video_accuracy" not in result["metrics"]
    assert result["counts"]["left_out"] == {"a data type of which nothing was answered": 1}


def test_mmbench_rounds_of_llava(tmp_path):
    """Round 1 shows the options rotated by one: the right letter moves."""
    references = mmbench(tmp_path)
    rows = [{"question_id": i, "round_id": r, "prompt": "?", "text": t} for i, r, t in
            [(1, 0, "A"), (1, 1, "B"), (1_000_001, 0, "B"), (1_000_001, 1, "A"), (2, 0, "A"), (2, 1, "A"), (1_000_002, 0, "B"), (1_000_002, 1, "A")]]  # fmt: skip
    write_jsonl(tmp_path / "a.jsonl", rows)
    result = score("mmbench", tmp_path / "a.jsonl", references=references, format="llava")
    assert (value(result, "accuracy"), value(result, "vanilla")) == pytest.approx((0.5, 7 / 8))
    write_jsonl(tmp_path / "a.jsonl", [r for r in rows if r["round_id"] == 0])
    assert value(score("mmbench", tmp_path / "a.jsonl", references=references, format="llava"), "accuracy") == 1


def test_textvqa_of_llava_joins_by_picture_and_question(tmp_path):
    prompts = [
        "What is it?\nReference OCR token: STOP, GO\nAnswer the question using a single word or phrase.",
        "WHO?" + WORD,
    ]
    write_jsonl(
        tmp_path / "a.jsonl",
        [{"question_id": "p", "prompt": p, "text": t} for p, t in zip(prompts, ["stop.", "Bob"], strict=True)],
    )
    result = score("textvqa", tmp_path / "a.jsonl", references=textvqa(tmp_path), format="llava")
    assert value(result, "accuracy") == pytest.approx((1 + 0.3) / 2)


def test_gqa_of_llava_lowers_and_drops_the_full_stop_only(tmp_path):
    texts = ["Yes.", "the table", "yes", "Table", "No", "tables"]
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": str(k), "prompt": "?", "text": t} for k, t in enumerate(texts)])
    assert value(
        score("gqa", tmp_path / "a.jsonl", references=gqa(tmp_path), format="llava"), "accuracy"
    ) == pytest.approx(3 / 6)
    assert value(
        score("gqa", tmp_path / "a.jsonl", references=gqa(tmp_path), format="llava", parser="default"), "accuracy"
    ) == pytest.approx(4 / 6)


def test_lmms_eval_logs(tmp_path):
    docs = [
        {
            "question_id": str(k),
            "question": "Is there a dog?",
            "answer": ["yes", "no"][k % 2],
            "image_source": f"i{k // 2}",
            "category": "random",
        }
        for k in range(4)
    ]
    rows = [{"doc_id": k, "doc": d, "target": d["answer"], "resps": [[t]], "filtered_resps": [t]} for k, (d, t) in
            enumerate(zip(docs, ["Yes", "No", "Yes.", "no"], strict=True))]  # fmt: skip
    write_jsonl(tmp_path / "2025_samples_pope.jsonl", rows)
    result = score("pope", tmp_path, format="lmms-eval")
    # `Yes.` is `other`: wrong for accuracy, but left out of recall, as lmms-eval does
    assert value(result, "accuracy") == 0.75 and value(result, "f1") == 1 and result["counts"]["no_answer"] == 1
    assert (
        value(score("pope", tmp_path / "2025_samples_pope.jsonl", format="lmms-eval", parser="default"), "accuracy")
        == 1
    )
    write_jsonl(tmp_path / "2025_samples_pope.jsonl", [rows[0] | {"doc": {"question": "?"}}])
    with pytest.raises(DataError, match="not as lmms-eval writes it"):
        score("pope", tmp_path, format="lmms-eval")
    mme = [{"doc_id": k, "filtered_resps": [t], "doc": {"question_id": "existence/1.jpg", "question": f"{k}?", "answer": a, "category": "existence"}}
           for k, (a, t) in enumerate([("Yes", "yes"), ("No", "yes")])]  # fmt: skip
    write_jsonl(tmp_path / "m.jsonl", mme)
    assert value(score("mme", tmp_path / "m.jsonl", format="lmms-eval"), "perception") == 50


def case_of_chair(tmp_path):
    data = {"images": [{"id": 1, "file_name": "000000000001.jpg"}, {"id": 2, "file_name": "000000000002.jpg"}, {"id": 3, "file_name": "3.jpg"}],
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}, {"id": 3, "name": "train"}],
            "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 1, "category_id": 2}, {"image_id": 2, "category_id": 3}]}  # fmt: skip
    write_json(tmp_path / "instances.json", data)
    return tmp_path / "instances.json"


def test_chair(tmp_path):
    case_of_chair(tmp_path)
    captions = ["Two men walk a puppy past a hot dog stand.", "A passenger train on the train tracks; no people."]
    write_jsonl(
        tmp_path / "a.jsonl",
        [{"question_id": f"COCO_val2014_{k:012d}.jpg", "text": t} for k, t in enumerate(captions, 1)],
    )
    result = score("chair", tmp_path / "a.jsonl", references=tmp_path / "instances.json", format="llava")
    # named: person, dog, hot dog (wrong) | train, person (wrong); there: dog, person | train
    assert [value(result, m) for m in ("chair_i", "chair_s", "recall")] == pytest.approx([2 / 5, 1, 1])
    assert result["counts"]["left_out"] == {"picture without a caption": 1}
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": 1, "text": ""}, {"question_id": 2, "text": "A train."}])
    result = score("chair", tmp_path / "a.jsonl", references=tmp_path / "instances.json", format="llava")
    assert [value(result, m) for m in ("chair_i", "chair_s", "recall")] == pytest.approx([0, 0, 1 / 3]) and result[
        "counts"
    ]["no_answer"] == 1


def test_chair_of_silence_is_no_number_and_a_question_that_was_asked_is_missed(tmp_path):
    references = case_of_chair(tmp_path)
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": k, "text": ""} for k in (1, 2, 3)])
    silent = score("chair", tmp_path / "a.jsonl", references=references, format="llava", out=tmp_path / "silent")
    assert value(silent, "chair_i") is None and value(silent, "recall") == 0 and silent["counts"]["no_answer"] == 3
    write_jsonl(tmp_path / "b.jsonl", [{"question_id": k, "text": "A dog."} for k in (1, 2, 3)])
    score("chair", tmp_path / "b.jsonl", references=references, format="llava", out=tmp_path / "said")
    found = compare(tmp_path / "silent", tmp_path / "said", draws=200)["metrics"]
    assert found["chair_i"]["difference"] is None and "A: says nothing" in found["chair_i"]["withheld"]
    assert found["recall"]["difference"] == pytest.approx(1 / 3)
    write_jsonl(tmp_path / "other.jsonl", [{"question_id": 77, "text": "A dog."}])
    with pytest.raises(DataError, match="captions no picture of the references"):
        score("chair", tmp_path / "other.jsonl", references=references, format="llava")


# --- the shapes themselves


def test_formats_are_recognised(tmp_path):
    """Every shape is scored without being named, and the same as when it is."""
    pope, tool = pope_files(tmp_path / "pope"), mme_folder(tmp_path / "tool")
    write_json(tmp_path / "g.json", {"v1_0": {"model": ["gpt-4"], "content": ["0.5"], "score": [0.5]}})
    (tmp_path / "pretty.json").write_text(json.dumps({"v1_0": {"score": [0.5]}}, indent=1))
    write_jsonl(tmp_path / "r.jsonl", [{"id": 1, "question_id": 0, "tuple": [8.0, 10.0]}])
    write_jsonl(tmp_path / "s.jsonl", [{"question_id": str(k), "prediction": "A"} for k in range(4)])
    doc = {"question_id": "1", "question": "Is it?", "answer": "yes", "image_source": "i", "category": "random"}
    write_jsonl(tmp_path / "logs" / "1_samples_pope.jsonl", [{"doc_id": 0, "doc": doc, "filtered_resps": ["yes"]}])
    write_jsonl(tmp_path / "v.jsonl", [{"id": "q", "cluster": "p", "judge": {"model": "rules"}, "points": [1.0]}])
    for task, named, files in (
        ("pope", "llava", pope), ("mme", "mme-tool", {"answers": tool}), ("mm-vet", "mm-vet-grades", {"answers": tmp_path / "g.json"}),
        ("mm-vet", "mm-vet-grades", {"answers": tmp_path / "pretty.json"}), ("mm-vet", "verdicts", {"answers": tmp_path / "v.jsonl"}),
        ("llava-bench-wild", "llava-reviews", {"answers": tmp_path / "r.jsonl"}), ("pope", "lmms-eval", {"answers": tmp_path / "logs"}),
        ("seed", "llava", {"answers": tmp_path / "s.jsonl", "references": seed(tmp_path)}),
    ):  # fmt: skip
        found = score(task, **files)
        assert found["recipe"]["format"] == named and found == score(task, **files, format=named)


def test_what_is_missing_of_one_part_does_not_withhold_another(tmp_path):
    references = seed(tmp_path)
    rows = json.loads(references.read_text())
    rows["questions"] += [rows["questions"][3] | {"question_id": "4"}]  # a second video, which nobody answers
    write_json(references, rows)
    write_jsonl(tmp_path / "a.jsonl", [{"question_id": str(k), "prediction": p} for k, p in enumerate("ABAA")])
    result = score("seed", tmp_path / "a.jsonl", references=references)
    assert value(result, "accuracy") is None and value(result, "video_accuracy") is None
    assert value(result, "image_accuracy") == pytest.approx(2 / 3)


def test_figures_are_shown_to_the_last_published_digit(tmp_path):
    """MME to two decimals of a point, shares to hundredths of a percent."""
    from typer.testing import CliRunner

    from visift.cli.main import app

    rows = [("a.jpg", f"Is {k}?", "Yes", "yes" if k else "no") for k in range(6)]
    (tmp_path / "tool").mkdir()
    for subtask in PERCEPTION:
        (tmp_path / "tool" / f"{subtask}.txt").write_text("".join("\t".join(r) + "\n" for r in rows))
    shown = CliRunner().invoke(app, ["score", "mme", "--answers", str(tmp_path / "tool")]).stdout
    assert "mme perception: 1500.00 [" in shown and "mme accuracy: 0.8333 [" in shown


@pytest.mark.data
def test_the_shapes_in_the_shared_folder():
    folder = Path(os.environ["VISIFT_DATA"]) / "eval_formats"
    result = score("mme", folder / "mme_tool", format="mme-tool")
    assert {g: r["score"]["value"] for g, r in result["groups"].items()} == {"existence": 200, "code_reasoning": 50}
    reviews = score("llava-bench-wild", folder / "llava_bench_reviews.jsonl", format="llava-reviews")
    assert value(reviews, "relative") == pytest.approx(round(22.5 / 3, 3) / round(25 / 3, 3))
    assert value(score("mm-vet", folder / "mmvet_grades.json", format="mm-vet-grades"), "score") == 0
    with pytest.raises(DataError, match="asks nothing of random"):
        score("pope", folder / "llava_pope_answers.jsonl", questions=folder / "llava_pope_questions.jsonl",
              references=folder / "pope_random_labels.jsonl", format="llava")  # fmt: skip
