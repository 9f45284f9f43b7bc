"""DEMON's scorer, bug for bug and mended: golden values for each known defect (papers.md B.4.4)."""

import json
import os
from pathlib import Path

import pytest
from eval_samples import CRUEL, ENDLESS

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


@pytest.mark.data
def test_every_readme_example_is_read(tmp_path):
    """Their gold reply scores 1 under the fixed rules, in every layout."""
    examples = json.loads((Path(os.environ["VISIFT_DATA"]) / "demon" / "readme_examples.json").read_text())
    seen = set()
    for k, row in enumerate(examples):
        if not row["examples"]:
            continue
        folder = tmp_path / str(k) / row["dataset"]
        open_ended = any(demon.plain_name(row["dataset"]) in names for names in demon.OPEN.values())
        metadata = (row["metadata"] or {}) | {"question_type": "open-ended" if open_ended else "multi-choice"}
        write_json(folder / "core" / "core.json", {"metadata": metadata, "data": row["examples"][:1]})
        (question,) = demon.read_core(folder / "core" / "core.json", row["dataset"], "fixed")
        assert question.groups[0] in {d for family in (demon.OPEN, demon.CHOICE) for ds in family.values() for d in ds}
        verdict = demon.judge(question, demon.read(question, question.gold["truth"]))
        assert verdict.score == pytest.approx(1, abs=1e-6), row["dataset"]
        seen.add(row["dataset"])
    assert len(seen) == 30  # ManyModalQA's README holds no example that is valid JSON
