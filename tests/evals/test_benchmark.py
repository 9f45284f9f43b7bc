"""A benchmark as a dataset: the same questions, the same scores."""

from pathlib import Path

import eval_samples as samples
import pytest
from test_demon import TF, core
from test_foreign import FILES, WORD, answers_to, mme_folder, pope_files, value

from visift.core.dataset import Dataset
from visift.core.errors import UsageError
from visift.evals import tasks
from visift.evals.benchmark import as_dataset
from visift.evals.score import score
from visift.evals.task import Files


@pytest.mark.parametrize("name", FILES)
def test_scores_are_the_same_through_a_dataset(name, tmp_path):
    references = FILES[name](tmp_path)
    as_dataset(name, tmp_path / "q", references=references, images=tmp_path)
    answers = answers_to(tmp_path / "a.jsonl", name, references, lambda k, q: "A" if k % 2 else "yes")
    direct = score(name, answers, references=references)
    assert score(name, answers, questions=tmp_path / "q")["metrics"] == direct["metrics"]
    asked = tasks.get(name).ask(Files(Path(), references=references))
    assert [c.prompt[-1].text for c in Dataset(tmp_path / "q")] == [q.asked for q in asked]
    assert all(p.path.startswith("benchmark:") for c in Dataset(tmp_path / "q") for p in c.images)


def test_pope_mme_and_demon(tmp_path):
    as_dataset("pope", tmp_path / "pope", references=pope_files(tmp_path)["references"])
    gold = score(
        "pope",
        samples.answer_all(tmp_path / "1.jsonl", tmp_path / "pope", lambda c: c.reference),
        questions=tmp_path / "pope",
    )
    assert value(gold, "f1") == 1 and set(gold["groups"]) == {"random", "popular", "adversarial"}
    as_dataset("mme", tmp_path / "mme", references=mme_folder(tmp_path / "tool"))
    gold = score(
        "mme",
        samples.answer_all(tmp_path / "2.jsonl", tmp_path / "mme", lambda c: c.reference),
        questions=tmp_path / "mme",
    )
    assert (value(gold, "perception"), value(gold, "cognition")) == (400, 200)
    assert next(iter(Dataset(tmp_path / "mme"))).prompt[-1].text == "Is a?" + WORD
    core(tmp_path / "r", "NLVR2", "multi-choice", [("True", TF), ("False", TF)])
    as_dataset("demon", tmp_path / "demon", references=tmp_path / "r", rules="fixed")
    said = samples.answer_all(tmp_path / "3.jsonl", tmp_path / "demon", lambda c: c.meta["gold"]["truth"])
    assert value(score("demon", said, questions=tmp_path / "demon"), "multi_image") == 1


def test_our_own_tasks_are_datasets_already(tmp_path):
    with pytest.raises(UsageError, match="no published files"):
        as_dataset("counting", tmp_path / "q")
