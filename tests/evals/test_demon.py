"""DEMON's scorer, bug for bug and mended: golden values for each known defect (papers.md B.4.4)."""

import json
import os
import random
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from eval_samples import CRUEL, ENDLESS
from sklearn.feature_extraction.text import TfidfVectorizer
from typer.testing import CliRunner

from visift.cli.main import app
from visift.core.errors import DataError
from visift.core.files import read_json, write_json
from visift.evals.rouge import rouge_l
from visift.evals.score import score
from visift.evals.task import Question
from visift.evals.tasks import demon


def core(folder: Path, dataset: str, kind: str, samples: list[tuple[str, list[str] | None]]) -> None:
    rows = [{"sample_id": str(k), "task_instruction_id": 0, "response": truth,
             "task_instance": {"context": "{image#1}?", "images_path": ["0.jpg"], "choice_list": options}}
            for k, (truth, options) in enumerate(samples)]  # fmt: skip
    write_json(
        folder / dataset / "core" / "core.json",
        {"metadata": {"question_type": kind, "task_instruction": ["Do. "]}, "data": rows},
    )


def predict(folder: Path, dataset: str, replies: list[str], truths: list[str]) -> None:
    rows = [
        {"sample_id": k, "pred_response": r, "gt_response": t}
        for k, (r, t) in enumerate(zip(replies, truths, strict=True))
    ]
    write_json(folder / dataset / "pred.json", rows)


def run(tmp_path: Path, rules: str) -> dict:
    return score("demon", tmp_path / "p", references=tmp_path / "r", format="demon", rules=rules)


TF = ["True", "False"]
DIGITS = ["0", "1", "2"]
# options, truth, reply, published score, fixed score
DEFECTS = [
    (TF, "True", "no", 1, 0),  # 1: no word in common: the first option
    (TF, "False", "no", 0, 0),
    (TF, "True", "a picture of a dog", 1, 0),
    (TF, "True", "", 1, 0),  # an empty reply still gets the first option: the options have words
    (TF, "True", "True or False", 1, 0),  # 1: both named
    (TF, "False", "False.", 1, 1),
    (TF, "False", "The answer is false", 1, 1),
    (DIGITS, "2", "2", 1, 1),  # 2: one-character options match bare
    (DIGITS, "2", "there are 2", 0, 1),  # and never in a sentence: the first option is taken
    (DIGITS, "0", "there are 2", 1, 0),
    (DIGITS, "0", "", 0, 0),  # no word anywhere: compared as strings
    (["a red mug", "a blue mug", "a lamp"], "a blue mug", "the blue one", 1, 1),
]


@pytest.mark.parametrize(("options", "truth", "reply", "published", "fixed"), DEFECTS)
def test_choices_under_both_rules(options, truth, reply, published, fixed):
    for rules, expected in (("published", published), ("fixed", fixed)):
        q = Question("q", "q", demon.Gold(kind="choice", truth=truth, options=options, rules=rules))
        assert demon.judge(q, demon.read(q, reply)).score == expected, rules


@pytest.mark.parametrize(
    ("reply", "published", "fixed"),
    [
        ("Image B", 1, 1),
        ("image b.", 1, 1),
        ("It is image B", 0, 1),
        ("Image B, not image C", 0, 0),
        ("B", 0, 0),
        ("", 0, 0),
        ("The image belongs to the rest", 0, 0),  # a word that begins with the letter names no option
        ("image best", 1, 0),
        ("The image contains eggs; I choose image B", 0, 1),
        ("Image B: the image depicts a cake", 0, 1),
    ],
)
def test_picture_options(reply, published, fixed):
    for rules, expected in (("published", published), ("fixed", fixed)):
        q = Question("q", "q", demon.Gold(kind="picture", truth="Image B", options=[], rules=rules))
        assert demon.judge(q, demon.read(q, reply)).score == expected, rules


def test_visual_cloze_is_scored_by_words_unless_renamed(tmp_path):
    """Defect 3: the published list knows it under another name."""
    options = ["Image A", "Image B", "Image C", "Image D"]
    core(tmp_path / "r", "RecipeQA_VisualCloze", "multi-choice", [("Image B", options)] * 2)
    predict(tmp_path / "p", "RecipeQA_VisualCloze", ["Image B", "It must be image b"], ["Image B"] * 2)
    # by words, `image` is in all options and the letter too short to count: always the first option
    assert run(tmp_path, "published")["groups"]["RecipeQA_VisualCloze"]["accuracy"]["value"] == 0
    assert run(tmp_path, "fixed")["groups"]["RecipeQA_VisualCloze"]["accuracy"]["value"] == 1


def test_groups_categories_and_overall(tmp_path):
    core(tmp_path / "r", "NLVR2", "multi-choice", [("True", TF), ("False", TF)])
    core(tmp_path / "r", "nuScenes", "multi-choice", [("red car", ["red car", "blue bus"])] * 2)
    core(tmp_path / "r", "TQA", "multi-choice", [("Oxygen", ["Oxygen", "Iron"])])
    core(tmp_path / "r", "ALFRED", "", [("Put the mug down", None)])  # says nothing of its question type
    core(tmp_path / "r", "VIST", "open-ended", [("a b c d", None)])
    predict(tmp_path / "p", "NLVR2", ["True", "true"], TF)
    predict(tmp_path / "p", "nuScenes", ["red car", "the red car"], ["red car"] * 2)
    predict(tmp_path / "p", "TQA", ["iron"], ["Oxygen"])
    predict(tmp_path / "p", "ALFRED", ["put the mug"], ["Put the mug down"])
    result = run(tmp_path, "fixed")
    values = {m: r["value"] for m, r in result["metrics"].items()}
    rouge = 2 * 0.75 / 1.75  # precision 3/3, recall 3/4
    assert (
        values["multi_image"] == pytest.approx(0.75) and values["knowledge"] == 0
    )  # unweighted over datasets: (1/2 + 1) / 2
    assert values["accuracy"] == pytest.approx(0.375) and values["dialogue"] == pytest.approx(rouge) == pytest.approx(
        values["rouge_l"]
    )
    assert values["cloze"] is None and values["storytelling"] is None
    assert set(result["groups"]["ALFRED"]) == {"rouge_l"} and set(result["groups"]["TQA"]) == {"accuracy"}
    assert result["counts"]["left_out"] == {"dataset without pred.json": 1}


def test_misfits_are_named(tmp_path):
    core(tmp_path / "r", "NLVR2", "multi-choice", [("True", TF)] * 4)
    predict(tmp_path / "p", "NLVR2", ["True"] * 5, ["True"] * 5)
    rows = read_json(tmp_path / "p" / "NLVR2" / "pred.json")
    write_json(tmp_path / "p" / "NLVR2" / "pred.json", [*rows[1:], rows[2]])
    result = run(tmp_path, "published")
    assert result["rows"] == {"missing": ["NLVR2/0"], "duplicate": ["NLVR2/2"], "extra": ["NLVR2/4"]}
    predict(tmp_path / "p", "Unheard", ["x"], ["x"])
    with pytest.raises(DataError, match="no references for Unheard"):
        run(tmp_path, "published")
    core(tmp_path / "r", "NLVR2", "multi-choice", [("Maybe", TF)])
    with pytest.raises(DataError, match="not among its 2 options"):
        run(tmp_path, "published")


@pytest.mark.parametrize("reply", ["", ENDLESS, CRUEL, "はい"])
@pytest.mark.parametrize("rules", ["published", "fixed"])
def test_nonsense_breaks_nothing(reply, rules, tmp_path):
    core(tmp_path / "r", "NLVR2", "multi-choice", [("False", TF)])
    core(tmp_path / "r", "COMICS_Panel", "multi-choice", [("Image B", ["Image A", "Image B"])])
    core(tmp_path / "r", "VIST", "open-ended", [("we saw it", None)])
    for dataset, truth in (("NLVR2", "False"), ("COMICS_Panel", "Image B"), ("VIST", "we saw it")):
        predict(tmp_path / "p", dataset, [reply], [truth])
    result = run(tmp_path, rules)
    assert [r["value"] for g in result["groups"].values() for r in g.values()] == [0, 0, 0]


def test_rouge_counts_different_words():
    assert rouge_l("a b", "a b") == pytest.approx(1, abs=1e-7)
    assert rouge_l("the the the", "the cat") == pytest.approx(
        2 * 1 * 0.5 / 1.5, abs=1e-7
    )  # precision 1 of 1 different word
    assert rouge_l("d c b a", "a b c d") == pytest.approx(0.25, abs=1e-7)
    assert rouge_l("a b. c d", "a c. b d") == pytest.approx(1, abs=1e-7)  # the union over sentences
    assert rouge_l("", "a") == rouge_l("...", "a") == rouge_l("x", "a") == 0


def test_the_published_overall_numbers_follow_from_the_category_means():
    """papers.md B.4.5, B.4.9: the row of VPG-C Vicuna-7B gives 41.49 (accuracy) and 29.53 (ROUGE-L)."""
    row = {
        "dialogue": 37.50,
        "storytelling": 25.20,
        "relation": 25.90,
        "cloze": 22.15,
        "knowledge": 48.60,
        "text_rich": 44.93,
        "multi_image": 50.28,
    }
    groups = {"": {"n": 1.0}}
    for family, over, under in ((demon.OPEN, "rouge", "open"), (demon.CHOICE, "right", "choice")):
        for category, datasets in family.items():
            groups |= {d: {over: row[category], under: 1.0} for d in datasets}
    totals = {t.name: t for t in demon.TASK.totals}
    assert (
        round(float(totals["accuracy"].of(groups)), 2) == 41.49
        and round(float(totals["rouge_l"].of(groups)), 2) == 29.53
    )


# papers.md B.4.6 and B.4.5: per-task values of a model in the order of the tables, and its printed category means
BY_TASK = ["ALFRED", "MMCoQA", "AESOP", "PororoSV", "FlintstonesSV", "VIST", "DiDeMoSV", "Spot-the-Diff", "CLEVR-Change", "IEdit", "Birds-to-Words", "COMICS_Dialogue", "COMICS_Panel", "RecipeQA_TextCloze", "RecipeQA_VisualCloze", "WebQA", "TQA", "MultiModalQA", "SlideVQA", "OCR-VQA", "DocVQA", "nuScenes", "VISION", "Fashion200K", "MIT-States_PropertyCoherence", "MIT-States_StateCoherence", "RecipeQA_ImageCoherence", "NLVR2", "VizWiz"]  # fmt: skip
CATEGORIES = ("dialogue", "storytelling", "relation", "cloze", "knowledge", "text_rich", "multi_image")
PUBLISHED = {
    "BLIP-2": ("16.75 35.49 21.64 26.24 29.61 13.16 24.2 17.48 3.21 12.37 9.62 39.70 0.00 30.46 1.60 47.60 29.73 40.36"
        " 43.80 10.40 46.40 34.60 42.80 43.20 59.00 38.20 0.20 53.40 45.80", "26.12 21.31 10.67 17.94 39.23 33.53 39.65"),
    "InstructBLIP": ("18.07 49.09 18.80 28.20 33.32 16.92 24.80 19.71 4.61 10.70 10.92 40.60 0.00 27.40 16.80 45.20 30.20 66.80"
        " 42.00 44.20 47.00 65.00 50.60 44.40 59.20 59.40 11.60 55.20 43.00", "33.58 24.41 11.49 21.20 47.40 44.40 48.55"),
    "LLaMA-Adapter V2": ("19.04 9.40 18.01 20.15 24.22 10.89 14.57 16.72 15.52 7.88 13.92 24.40 0.40 38.20 9.00 44.60 46.00 43.80"
        " 43.00 3.40 49.60 41.60 55.00 45.60 48.80 63.00 0.00 54.80 43.40", "14.22 17.57 13.51 18.00 44.80 32.00 44.03"),
    "LLaVA": ("10.19 5.39 13.56 11.44 12.77 8.00 7.71 8.50 8.76 6.72 9.11 30.60 0.00 32.80 0.00 39.40 39.60 29.60"
        " 38.80 2.60 43.60 29.60 53.00 45.20 50.40 59.20 0.80 50.80 43.20", "7.79 10.70 8.27 15.85 36.20 28.33 41.53"),
    "MiniGPT-4": ("16.82 10.57 12.23 16.00 26.48 14.82 15.81 7.50 7.49 7.84 8.97 33.00 1.00 31.60 0.80 27.40 28.60 34.80"
        " 35.20 7.20 36.80 30.40 59.80 49.20 52.00 57.80 0.20 50.60 48.00", "13.69 17.07 7.95 16.60 30.27 26.40 43.50"),
    "mPLUG-Owl": ("11.07 14.27 18.28 20.49 32.12 10.82 14.94 6.06 1.46 6.22 7.86 36.60 0.00 27.60 0.80 34.20 30.00 35.60"
        " 35.60 22.60 39.20 29.20 54.20 45.80 50.00 60.60 0.00 55.00 45.20", "12.67 19.33 5.40 16.25 33.27 32.47 42.50"),
    "OpenFlamingo": ("24.27 9.49 23.32 32.35 37.79 15.14 12.50 13.01 11.90 12.57 17.90 38.40 1.20 29.00 18.00 37.80 32.40 25.80"
        " 35.60 3.80 52.40 25.80 52.20 44.20 59.60 51.40 2.20 53.60 44.00", "16.88 24.22 13.85 21.65 32.00 30.60 41.63"),
    "Otter": ("16.06 14.68 13.94 17.52 22.21 9.96 14.23 12.69 11.63 8.85 12.38 29.00 0.00 35.00 0.00 45.00 39.00 41.00"
        " 38.40 2.20 42.60 44.80 69.80 47.00 51.40 46.40 0.00 49.00 42.40", "15.37 15.57 11.39 16.00 41.67 27.73 43.85"),
    "VPG-C LLaMA2-7B": ("48.31 37.04 19.98 28.67 38.14 16.95 20.05 21.02 42.05 14.10 24.81 36.80 1.80 51.80 1.40 49.40 42.40 61.20"
        " 45.80 39.60 49.40 62.60 61.40 46.00 56.60 57.80 0.00 53.80 51.20", "42.70 24.76 25.50 22.95 51.00 44.93 48.68"),
    "VPG-C Vicuna-7B": ("41.02 33.99 19.93 28.36 39.19 17.34 21.27 20.01 41.60 16.35 25.64 39.20 3.60 30.40 15.40 50.00 33.40 62.40"
        " 46.80 39.40 48.60 67.20 48.80 50.00 60.80 60.00 0.20 57.80 57.40", "37.50 25.20 25.90 22.15 48.60 44.93 50.28"),
    "VPG-C Vicuna-13B": ("42.25 34.02 20.53 29.81 41.32 19.04 22.26 21.56 40.67 20.27 26.08 42.20 8.20 39.80 18.40 50.60 43.40 64.80"
        " 48.80 46.60 52.60 73.40 54.00 51.00 63.20 63.40 2.60 60.20 61.40", "38.14 26.59 27.15 27.15 52.93 49.33 53.65"),
}  # fmt: skip


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_published_category_numbers_follow_from_the_tasks(model):
    """Within 0.03, but for BLIP-2's storytelling: 21.31 is printed, its tasks give 22.97."""
    tasks, printed = (list(map(float, text.split())) for text in PUBLISHED[model])
    open_ones = {d for names in demon.OPEN.values() for d in names}
    groups = {"": {"n": 1.0}}
    for name, value in zip(BY_TASK, tasks, strict=True):
        groups[name] = {"rouge": value, "open": 1.0} if name in open_ones else {"right": value, "choice": 1.0}
    totals = {t.name: t for t in demon.TASK.totals}
    for category, value in zip(CATEGORIES, printed, strict=True):
        found = float(totals[category].of(groups))
        if (model, category) == ("BLIP-2", "storytelling"):
            assert found == pytest.approx(22.97, abs=0.01)
        else:
            assert found == pytest.approx(value, abs=0.03 + 1e-9), category


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A red-haired dog!", "a red haired dog "),
        ("well- known, well-known", "well known wellknown"),  # a space beside one dash deletes all of them
        ("1,000 well-known", "1000 wellknown"),  # and so does a comma between digits
        ("it cost 3.50. Yes.", "it cost 3.50 yes"),  # a full stop before a digit stays
        ("'quoted'", "quoted"),
        ("a\tb\nc", "a b c"),
    ],
)
def test_the_published_cleaning(text, cleaned):
    assert demon.clean(text) == cleaned.strip()


def test_only_32_full_stops_go_under_the_published_rules():
    """A flag stands where a count is expected."""
    assert demon.clean("a." * 40) == "a" * 32 + "a." * 8
    assert demon.clean("a." * 40, "fixed") == "a" * 40


def test_published_truth_is_of_pred_json_where_the_authors_take_it_from_there(tmp_path):
    core(tmp_path / "r", "VIST", "open-ended", [("we saw it", None)])
    core(tmp_path / "r", "COMICS_Panel", "multi-choice", [("Image B", ["Image A", "Image B"])])
    core(tmp_path / "r", "NLVR2", "multi-choice", [("False", TF)])
    predict(tmp_path / "p", "VIST", ["the sea"], ["the sea"])
    predict(tmp_path / "p", "COMICS_Panel", ["image a"], ["Image A"])
    predict(tmp_path / "p", "NLVR2", ["True"], ["True"])
    for rules, expected in (("published", [1, 1, 0]), ("fixed", [0, 0, 0])):
        groups = run(tmp_path, rules)["groups"]
        values = [next(iter(groups[d].values()))["value"] for d in ("VIST", "COMICS_Panel", "NLVR2")]
        assert values == pytest.approx(expected, abs=1e-6), rules


def test_both_modes_stand_in_one_score(tmp_path):
    core(tmp_path / "r", "NLVR2", "multi-choice", [("True", TF)] * 4)
    predict(tmp_path / "p", "NLVR2", ["True", "no", "maybe", "false"], ["True"] * 4)
    for rules in ("published", "fixed"):
        modes = run(tmp_path, rules)["modes"]
        assert modes["published"]["groups"]["NLVR2"]["accuracy"] == modes["published"]["metrics"]["accuracy"] == 0.75
        assert modes["fixed"]["metrics"]["multi_image"] == 0.25
        assert (modes["published"]["no_answer"], modes["fixed"]["no_answer"]) == (0, 2)
    command = ["score", "demon", "--format", "demon", "--answers", tmp_path / "p", "--references", tmp_path / "r"]
    shown = CliRunner().invoke(app, list(map(str, command)))
    assert shown.exit_code == 0 and "NLVR2 accuracy: 0.75 → 0.25 (-0.5)" in shown.output


def test_questions_keep_pictures_and_tables_in_their_places(tmp_path):
    core(tmp_path / "r", "MMQA", "multi-choice", [("soccer", ["soccer", "golf"])])
    path = tmp_path / "r" / "MMQA" / "core" / "core.json"
    whole = read_json(path)
    instance = whole["data"][0]["task_instance"]
    instance |= {"context": "Global: {table#1} Then {image#2} Q?", "images_path": ["0.png", "1.jpg"]}
    write_json(path, whole)
    (question,) = demon.read_core(path, "MMQA", "fixed", asking=True)
    assert question.id == "MultiModalQA/0"  # one registry of names
    assert question.parts == (
        "Do. Global: ", 0, " Then ", 1, " Q?Choice list:['soccer', 'golf']. Your answer is:",
    )  # fmt: skip
    assert question.images == ("MMQA/core/images/0.png", "MMQA/core/images/1.jpg")
    turn = question.conversation("demon", "benchmark").turns[0]
    assert [p.image if p.text is None else "t" for p in turn.parts] == ["t", 0, "t", 1, "t"]
    for broken in ({"images_path": ["0.png"]}, {"context": "{image#1}{image#3}"}):
        write_json(path, whole | {"data": [whole["data"][0] | {"task_instance": instance | broken}]})
        with pytest.raises(DataError, match="placeholders name pictures"):
            demon.read_core(path, "MMQA", "fixed", asking=True)
    write_json(path, whole | {"data": [whole["data"][0] | {"task_instruction_id": 1}]})
    with pytest.raises(DataError, match="task_instruction_id 1 is none of the 1 instructions"):
        demon.read_core(path, "MMQA", "fixed", asking=True)


LONG = "7" * 5000


@pytest.mark.parametrize(
    ("kind", "broken", "named"),
    [
        ("open-ended", None, "expected a JSON object, found NoneType"),
        ("open-ended", {"task_instance": None}, "'task_instance' is NoneType"),
        ("open-ended", {"context": None, "choice_list": 5}, "'choice_list' is int"),
        ("multi-choice", {"images_path": None}, "'images_path' is NoneType"),
        ("multi-choice", {"images_path": 3}, "'images_path' is int"),
        ("multi-choice", {"images_path": [None]}, "images_path holds NoneType"),
        ("multi-choice", {"context": f"{{image#{LONG}}}"}, "placeholder 777777777… names no picture"),
        ("multi-choice", {"sample_id": 0}, "its sample_id 0 is an earlier sample's too"),
        ("open-ended", {"sample_id": 0, "response": "False"}, "its sample_id 0 is an earlier sample's too"),
    ],
)
def test_broken_samples_are_named(kind, broken, named, tmp_path):
    core(tmp_path / "r", "NLVR2", kind, [("True", TF)] * 2)
    path = tmp_path / "r" / "NLVR2" / "core" / "core.json"
    whole = read_json(path)
    row = whole["data"][1]
    if broken is not None:
        instance = row["task_instance"] | {
            k: v for k, v in broken.items() if k in ("context", "images_path", "choice_list")
        }
        row = row | {"task_instance": instance} | {k: v for k, v in broken.items() if k in row}
    write_json(path, whole | {"data": [whole["data"][0], broken and row]})
    prompted = broken is not None and "context" in broken  # what only a prompt is made of
    with pytest.raises(DataError, match=re.escape(f"{path}: sample 1: ") + ".*" + re.escape(named)):
        demon.read_core(path, "NLVR2", "fixed", asking=prompted)


def test_a_broken_row_of_predictions_is_named(tmp_path):
    core(tmp_path / "r", "VIST", "open-ended", [("we saw it", None)])
    path = tmp_path / "p" / "VIST" / "pred.json"
    for rows, named in (
        ("[null]", "row 1: expected a JSON object"),
        (f'[{{"sample_id": {LONG}}}]', "thousands of digits"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rows)
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: .*{named}"):
            run(tmp_path, "published")


def test_rules_hold_for_questions_that_were_made_under_others(tmp_path):
    from visift.core.files import write_jsonl
    from visift.core.types import Answer
    from visift.evals.benchmark import as_dataset

    core(tmp_path / "r", "RecipeQA_VisualCloze", "multi-choice", [("Image B", ["Image A", "Image B"])])
    as_dataset("demon", tmp_path / "q", references=tmp_path / "r")
    write_jsonl(tmp_path / "a.jsonl", [Answer("RecipeQA_VisualCloze/0", "demon", (), "", "Image B", "stop").to_json()])
    result = score("demon", tmp_path / "a.jsonl", questions=tmp_path / "q", rules="fixed")
    assert result["metrics"]["cloze"]["value"] == 1
    assert result["modes"]["published"]["metrics"]["cloze"] == 0


@pytest.mark.data
def test_every_readme_example_is_read(tmp_path):
    """Their gold reply scores 1 under the fixed rules, in every layout, and every placeholder finds its picture."""
    examples = json.loads((Path(os.environ["VISIFT_DATA"]) / "demon" / "readme_examples.json").read_text())
    seen = set()
    for k, row in enumerate(examples):
        if not row["examples"]:
            continue
        folder = tmp_path / str(k) / row["dataset"]
        open_ended = any(demon.plain_name(row["dataset"]) in names for names in demon.OPEN.values())
        metadata = (row["metadata"] or {}) | {"question_type": "open-ended" if open_ended else "multi-choice"}
        write_json(folder / "core" / "core.json", {"metadata": metadata, "data": row["examples"][:1]})
        (question,) = demon.read_core(folder / "core" / "core.json", row["dataset"], "fixed", asking=True)
        assert question.groups[0] in BY_TASK or question.groups[0] in ("Gibson", "ManyModalQA")
        shown = [p for p in question.parts if isinstance(p, int)]
        assert sorted(set(shown)) == list(range(len(question.images))) and "{image" not in question.asked
        templates = metadata.get("task_instruction") or [""]
        assert question.asked.startswith(
            templates[row["examples"][0]["task_instruction_id"] if len(templates) > 1 else 0][:40]
        )
        verdict = demon.judge(question, demon.read(question, question.gold["truth"]))
        assert verdict.score == pytest.approx(1, abs=1e-6), row["dataset"]
        seen.add(row["dataset"])
    assert len(seen) == 30  # ManyModalQA's README holds no example that is valid JSON


def test_shuffled_pictures_change_places_and_nothing_else():
    from visift.core.types import Conversation, Picture, Provenance, assistant, user
    from visift.evals.answer import shuffled

    def asked(name, *paths):
        turn = user("First ", 0, " then ", *range(1, len(paths)))
        return Conversation(name, tuple(map(Picture, paths)), (turn, assistant("x")), Provenance("demon"))

    orders = set()
    for k in range(40):
        c = asked(f"q{k}", "a", "b", "c")
        moved = shuffled(c, 1)
        assert moved.turns == c.turns and sorted(p.path for p in moved.images) == ["a", "b", "c"]
        assert moved.images != c.images and moved == shuffled(c, 1)
        orders.add(tuple(p.path for p in moved.images))
    assert len(orders) == 5  # all but the identity
    for alone in (asked("one", "a"), asked("same", "a", "a")):
        assert shuffled(alone, 1) == alone


# An independent transcription of papers.md B.4.4, to be compared with, not shared: regular expressions as VQA prints them,
# the longest common subsequence by recursion.
WORDS = ["the", "a", "cat", "dog", "red", "Image", "A", "B", "C", "D", "image", "album", "no", "yes", "True", "False", "1", "2", "10", "1,000", "3.5", "well-known", "x/y", "(maybe)", "it's", "'so'", '"quoted"', "end.", "end..", "?", "!", ",", ";", "_", "a-", "-b", "{x}", "[y]", "é", "ß", "日本", "５", "...", "U.S.A.", "e.g.", "x.y", "4.", ".5", "=", "+", "\\", ">", "<", "@", "`"]  # fmt: skip


def normal(text: str) -> str:
    text = text.replace("\n", " ").replace("\t", " ").strip()
    out = text
    for mark in (
        ";",
        "/",
        "[",
        "]",
        '"',
        "{",
        "}",
        "(",
        ")",
        "=",
        "+",
        "\\",
        "_",
        "-",
        ">",
        "<",
        "@",
        "`",
        ",",
        "?",
        "!",
    ):
        if mark + " " in text or " " + mark in text or re.search(r"(\d)(\,)(\d)", text) is not None:
            out = out.replace(mark, "")
        else:
            out = out.replace(mark, " ")
    out = re.compile(r"(?!<=\d)(\.)(?!\d)").sub("", out, count=int(re.UNICODE))
    return out.strip("'").strip('"').strip().lower()


def common(x: tuple[str, ...], y: tuple[str, ...]) -> set[str]:
    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        return longest(i - 1, j - 1) + 1 if x[i - 1] == y[j - 1] else max(longest(i - 1, j), longest(i, j - 1))

    def back(i: int, j: int) -> set[str]:
        if not i or not j:
            return set()
        if x[i - 1] == y[j - 1]:
            return {x[i - 1]} | back(i - 1, j - 1)
        return back(i - 1, j) if longest(i - 1, j) > longest(i, j - 1) else back(i, j - 1)

    return back(len(x), len(y))


def f_measure(said: str, truth: str) -> float:
    hypothesis, reference = ([tuple(" ".join(s.split()).split(" ")) for s in t.split(".") if len(s)] for t in (said, truth))  # fmt: skip
    union = set().union(*(common(r, h) for r in reference for h in hypothesis))
    r, p = len(union) / len(set(sum(reference, ()))), len(union) / len(set(sum(hypothesis, ())))
    return 2 * (p * r / (p + r + 1e-8))


def transcribed(kind: str, reply: str, truth: str, options: list[str]) -> float:
    reply, truth, options = normal(reply), normal(truth), [normal(o) for o in options]
    if kind == "open":
        return f_measure(reply, truth) if reply.replace(".", "") else 0.0
    if kind == "picture":
        named = sum(f"image {letter}" in reply for letter in "abcd")
        return float(reply[:7] == truth[:7] and named <= 1)
    try:
        rows = TfidfVectorizer().fit_transform([reply, *options]).toarray()  # of unit length, or nothing
    except ValueError:
        return float(reply == truth)
    return float(options[int(np.argmax(rows[1:] @ rows[0]))] == truth)


@pytest.mark.parametrize("kind", ["open", "picture", "choice"])
def test_published_rules_equal_an_independent_transcription(kind):
    gen = random.Random(kind)

    def text() -> str:
        return "".join(gen.choice(WORDS) + gen.choice([" ", " ", "  ", "\n", "\t", ", ", ""]) for _ in range(gen.choice((0, 1, 2, 5, 12))))  # fmt: skip

    scores = []
    for _ in range(60):
        options = {"open": [], "picture": ["Image A", "Image B", "Image C", "Image D"],
                   "choice": gen.choice((["True", "False"], ["0", "1", "2"], [text() or "x" for _ in range(4)]))}[kind]  # fmt: skip
        truth = gen.choice(options) if options else f"a {text()} cat"
        reply = gen.choice((truth, text(), f"{text()} {truth}", f"{truth} {text()}", "", " or ".join(options), "a." * 40 + truth))  # fmt: skip
        q = Question("q", "q", demon.Gold(kind=kind, truth=truth, options=options, dataset="x", rules="published"))
        score = demon.judge(q, demon.read(q, reply)).score
        assert score == pytest.approx(transcribed(kind, reply, truth, options), abs=1e-12), (reply, truth, options)
        scores.append(score)
    assert 0.2 < np.mean(scores) < 0.9  # both outcomes are met


def test_a_sample_that_cannot_be_asked_can_still_be_scored(tmp_path):
    """Replies of others: whether placeholders and pictures fit is no matter of theirs."""
    core(tmp_path / "r", "NLVR2", "multi-choice", [("True", TF)])
    path = tmp_path / "r" / "NLVR2" / "core" / "core.json"
    whole = read_json(path)
    whole["data"][0]["task_instance"]["context"] = "no placeholder"
    write_json(path, whole)
    predict(tmp_path / "p", "NLVR2", ["True"], ["True"])
    assert run(tmp_path, "published")["metrics"]["accuracy"]["value"] == 1
    with pytest.raises(DataError, match="placeholders name pictures"):
        demon.read_core(path, "NLVR2", "published", asking=True)


def test_two_folders_of_one_dataset_are_refused(tmp_path):
    for name in ("RecipeQA_VisualCloze", "recipeqa-RecipeQA_VisualCloze"):
        core(tmp_path / "r", name, "multi-choice", [("Image B", ["Image A", "Image B"])])
        predict(tmp_path / "p", name, ["Image B"], ["Image B"])
    with pytest.raises(DataError, match="are one dataset"):
        run(tmp_path, "published")
