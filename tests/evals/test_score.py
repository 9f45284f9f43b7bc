import json

import eval_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.core.files import read_json, read_jsonl
from visift.evals import questions, tasks, yes_no
from visift.evals.compare import compare
from visift.evals.score import blind_score, score
from visift.evals.tasks.tag_listing import derange


def values(result: dict, names: tuple[str, ...]) -> list[float]:
    return [result["metrics"][n]["value"] for n in names]


POPE = ("f1", "accuracy", "yes_rate")
# f1, accuracy, yes_rate and no-answers of 720 questions, half of them yes
PREDICTORS = {
    "gold": (lambda c: c.reference, [1, 1, 0.5], 0),
    "all yes": (lambda c: "Yes", [2 / 3, 0.5, 1], 0),
    "all no": (lambda c: "No", [0, 0.5, 0], 0),
    "empty": (lambda c: "", [0, 0, 0], 720),
    "wrong": (lambda c: "no" if c.reference == "Yes" else "yes", [0, 0, 0.5], 0),
    "german": (lambda c: "Ja, da ist einer", [0, 0, 0], 720),
    "chinese": (lambda c: "是的", [0, 0, 0], 720),
    "endless": (lambda c: samples.ENDLESS if c.id[-1] == "0" else "", [0, 0, 0], 720),
    "endless yes": (lambda c: "Yes " + (samples.ENDLESS if c.id[-1] == "0" else ""), [2 / 3, 0.5, 1], 0),
    "sentences": (lambda c: f"There is {'a' if c.reference == 'Yes' else 'no'} thing.", [1, 1, 0.5], 0),
    # two of the three yes questions of a picture are met, one no question is a false alarm: tp 2, fp 1, fn 1
    "shifted": (lambda c: "Yes" if c.id[-1] in "012" else "No", [2 / 3, 2 / 3, 0.5], 0),
}


@pytest.fixture(scope="module")
def existence(tmp_path_factory):
    return samples.existence(tmp_path_factory.mktemp("existence"))


@pytest.mark.parametrize("name", PREDICTORS)
def test_pope_of_degenerate_predictors(name, existence, tmp_path):
    say, expected, silent = PREDICTORS[name]
    result = score("pope", samples.answer_all(tmp_path / "a.jsonl", existence, say), questions=existence)
    assert values(result, POPE) == pytest.approx(expected)
    assert result["counts"] == {
        "total": 720,
        "scored": 720,
        "no_answer": silent,
        "unscored": {},
        "duplicate": 0,
        "extra": 0,
    }
    for group in ("random", "popular", "adversarial"):
        assert result["groups"][group]["f1"]["value"] == pytest.approx(expected[0])
        assert result["groups"][group]["f1"]["n"] == 240
    for row in result["metrics"].values():
        assert row["low"] - 1e-6 <= row["value"] <= row["high"] + 1e-6 and row["clusters"] == 40 and row["n"] == 720


def test_precision_and_recall_of_all_no_are_zero_not_an_error(existence, tmp_path):
    result = score("pope", samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: "No"), questions=existence)
    assert {m: r["value"] for m, r in result["groups"]["random"].items()} == {
        "f1": 0, "accuracy": 0.5, "precision": 0, "recall": 0, "yes_rate": 0,
    }  # fmt: skip


def test_cruel_text_and_every_parser(existence, tmp_path):
    answers = samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: samples.CRUEL if c.id[-1] == "0" else "Yes")
    result = score("pope", answers, questions=existence, parser="all")
    assert set(result["spread"]) == set(tasks.get("pope").parsers)
    # CRUEL opens with "(((no, (((no, ...": no word of denial for LLaVA's rule, hence yes; neither yes nor no in MME's four characters
    assert result["spread"]["llava"]["metrics"]["yes_rate"]["value"] == pytest.approx(1.0)
    assert result["spread"]["mme"]["no_answer"] == 120


def test_up_to_a_percent_unscored_is_reported_more_withholds_the_headline(existence, tmp_path):
    few = samples.answer_all(
        tmp_path / "few.jsonl", existence, lambda c: None if c.id.startswith("random-0-") else "Yes"
    )
    result = score("pope", few, questions=existence)
    assert result["counts"]["unscored"] == {"missing": 6} and result["metrics"]["accuracy"]["value"] == pytest.approx(
        0.5
    )
    assert result["rows"]["missing"] == [f"random-0-{k}" for k in range(6)]
    many = samples.answer_all(
        tmp_path / "many.jsonl", existence, lambda c: None if c.id.startswith("random-1") else "Yes"
    )
    result = score("pope", many, questions=existence)
    assert result["metrics"]["f1"]["value"] is None and "66 of 720" in result["metrics"]["f1"]["withheld"]
    assert json.dumps(result, allow_nan=False)
    groups = result["groups"]
    assert groups["random"]["f1"]["value"] is None and "66 of 240" in groups["random"]["f1"]["withheld"]
    assert groups["adversarial"]["f1"]["value"] == pytest.approx(2 / 3)


def test_what_a_score_withholds_is_not_compared(existence, tmp_path):
    """Half of the requests failed, those whose answer would have been no: what is left says nothing of the whole."""
    for name, say in (("all", lambda c: "Yes"), ("half", lambda c: "Yes" if c.reference == "Yes" else None)):
        answers = samples.answer_all(tmp_path / f"{name}.jsonl", existence, say)
        score("pope", answers, questions=existence, out=tmp_path / name)
    for a, b, side in (("all", "half", "B"), ("half", "all", "A")):
        found = compare(tmp_path / a, tmp_path / b, draws=200)
        assert all(row["difference"] is None and row["p"] is None for row in found["metrics"].values())
        assert found["metrics"]["f1"]["withheld"].startswith(f"{side}: 360 of 720 questions are unscored")
        assert json.dumps(found, allow_nan=False)


def test_rows_are_joined_by_id_never_by_position(existence, tmp_path):
    answers = samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: c.reference)
    lines = answers.read_text().splitlines()
    answers.write_text("\n".join(reversed(lines)) + "\n")
    assert score("pope", answers, questions=existence)["metrics"]["f1"]["value"] == 1


def test_misfits_are_named(existence, tmp_path):
    answers = samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: c.reference)
    lines = answers.read_text().splitlines()
    row = json.loads(lines[0])
    lines += [lines[1], json.dumps(row | {"id": "stranger"}), json.dumps(row | {"text": "otherwise"})]
    failed = json.loads(lines[2]) | {"finish": "error", "text": ""}
    lines[2] = json.dumps(failed)
    answers.write_text("\n".join(lines) + "\n")
    result = score("pope", answers, questions=existence, out=tmp_path / "s")
    assert result["rows"] == {
        "missing": [row["id"], failed["id"]],
        "duplicate": [json.loads(lines[1])["id"], row["id"]],
        "extra": ["stranger"],
    }
    assert result["counts"]["unscored"] == {"answered twice, differently": 1, "failed request": 1}
    items = {r["id"]: r for _, r in read_jsonl(tmp_path / "s" / "items.jsonl")}
    assert items[row["id"]]["score"] is None and len(items) == 720
    assert read_json(tmp_path / "s" / "score.json") == result


def test_a_retry_replaces_a_failure_and_a_conflict_is_unscored(tmp_path):
    questions = samples.question_set(tmp_path / "q", (samples.conversation(k, k, "How many?", "1") for k in "abcd"))
    row = json.loads(samples.answer_all(tmp_path / "x.jsonl", questions, lambda c: "1").read_text().splitlines()[0])
    rows = [("a", "", "error"), ("a", "1", "stop"), ("b", "1", "stop"), ("b", "", "error"), ("c", "1", "stop"), ("c", "2", "stop"),
            ("c", "1", "stop"), ("d", "", "error"), ("d", "", "error")]  # fmt: skip
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row | {"id": i, "text": t, "finish": f}) + "\n" for i, t, f in rows)
    )
    counts = score("counting", tmp_path / "a.jsonl", questions=questions)["counts"]
    assert counts["scored"] == 2 and counts["unscored"] == {"answered twice, differently": 1, "failed request": 1}


def test_rows_read_straight_from_json_are_those_read_in_full(tmp_path):
    from visift.core.types import Conversation, Picture, Provenance, assistant, user

    rounds = (user(0, "Is there a dog?"), assistant("Yes"), user("Sure?"), assistant("Yes"))
    sets = samples.question_set(tmp_path / "q", [
        samples.conversation("plain", "s", "Is there a cat?", "No", split="random"),
        Conversation("bare", (Picture("a.png"),), (user(0, "Is it?"), assistant("Yes")), Provenance("vqa")),
        Conversation("blind", (), (user("Is it?"), assistant("Yes")), Provenance("vqa", (), template="t/2")),
        Conversation("rounds", (Picture("a.png"),), rounds, Provenance("vqa", ("s2",))),
    ])  # fmt: skip
    read = []
    for where, row in Dataset(sets).rows():
        read.append(questions._plain(row, yes_no.gold))
        full = questions._in_full(Dataset.conversation(where, row), yes_no.gold, where)
        assert read[-1] in (None, full)
    assert [r is None for r in read] == [False, False, False, True]
    row["turns"] = row["turns"][:2]
    for broken in (
        {"id": 3},
        {"images": [{"path": 1}]},
        {"turns": row["turns"][:1]},
        {"provenance": []},
        {"meta": {"gold": 1}},
    ):
        assert questions._plain(row | broken, yes_no.gold) is None


def test_items_keep_what_a_report_shows(existence, tmp_path):
    answers = samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: "Yes" + " indeed" * 900)
    score("pope", answers, questions=existence, out=tmp_path / "s")
    row = next(r for _, r in read_jsonl(tmp_path / "s" / "items.jsonl"))
    assert (row["asked"], row["images"], row["truth"]) == ("Is there a thing 0?", ["images/s0.png"], "yes")
    assert row["said"].startswith("Yes indeed") and len(row["said"]) == 1000
    lists = samples.listing(tmp_path / "q", LISTS)
    answers = samples.answer_all(tmp_path / "b.jsonl", lists, lambda c: "1. large red circle\n2. x; 3. y")
    score("tag-listing", answers, questions=lists, out=tmp_path / "t")
    assert [r["wrong"] for _, r in read_jsonl(tmp_path / "t" / "items.jsonl")] == [[2, 3], [1, 2, 3, 4], [1, 2]]


def test_bad_input_says_what_and_where(existence, tmp_path):
    answers = tmp_path / "a.jsonl"
    answers.write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1.*'task' is missing"):
        score("pope", answers, questions=existence)
    answers.write_text("[1]\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1.*expected a JSON object"):
        score("pope", answers, questions=existence)
    with pytest.raises(UsageError, match="task 'nope' is unknown"):
        score("nope", answers)
    with pytest.raises(UsageError, match="is missing"):
        score("pope", answers)
    with pytest.raises(UsageError, match="parser 'nope' is unknown"):
        score("pope", answers, questions=existence, parser="nope")
    with pytest.raises(UsageError, match="from format"):
        score("pope", answers, questions=existence, format="nope")
    bad = samples.question_set(tmp_path / "bad", [samples.conversation("q", "s", "?", "perhaps")])
    with pytest.raises(DataError, match="neither yes nor no"):
        score("pope", answers, questions=bad)


def test_the_same_input_gives_the_same_bytes(existence, tmp_path):
    answers = samples.answer_all(tmp_path / "a.jsonl", existence, PREDICTORS["shifted"][0])
    for name in ("one", "two"):
        score("pope", answers, questions=existence, out=tmp_path / name)
    for file in ("score.json", "items.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


# --- tag listing

LISTS = [
    ["large red circle", "small blue star", "large blue star"],
    ["small red circle", "small blue star", "small pink ring", "large red circle"],
    ["small blue star", "large pink ring"],
]


def said(names: list[str]) -> str:
    return "\n".join(f"{k}. {name}" for k, name in enumerate(names, 1))


# reply to each of the three pictures -> accuracy, position_free, per_item, no_answer
LISTINGS = {
    "gold": ([said(names) for names in LISTS], [1, 1, 1], 0),
    "words around": ([said([f"a {n}, it seems" for n in names]) for names in LISTS], [1, 1, 1], 0),
    "rotated": ([said(names[1:] + names[:1]) for names in LISTS], [0, 1, 0], 0),
    "first two swapped": ([said([n[1], n[0], *n[2:]]) for n in LISTS], [(1 / 3 + 1 / 2 + 0) / 3, 1, 3 / 9], 0),
    "missing last": ([said(n[:-1]) for n in LISTS], [(2 / 3 + 3 / 4 + 1 / 2) / 3] * 2 + [6 / 9], 0),
    "two too many": ([said([*n, "small pink ring", "x"]) for n in LISTS], [1, 1, 1], 0),
    "one name repeated": (
        [said(["small blue star"] * 4)] * 3,
        [(1 / 3 + 1 / 4 + 1 / 2) / 3, (1 / 3 + 1 / 4 + 1 / 2) / 3, 3 / 9],
        0,
    ),
    "shape and colour only": ([said([" ".join(n.split()[1:]) for n in names]) for names in LISTS], [0, 0, 0], 0),
    "hedging": ([said(["large small red blue pink circle star ring"] * 4)] * 3, [0, 0, 0], 0),
    "empty": ([""] * 3, [0, 0, 0], 3),
    "prose": (["A red circle and stars."] * 3, [0, 0, 0], 3),
    "german": (["1. grosser roter Kreis"] * 3, [0, 0, 0], 0),
    "endless": ([samples.ENDLESS] * 3, [0, 0, 0], 3),
    "endless list": (
        ["\n".join(f"{k}. large red circle" for k in range(1, 5000))] * 3,
        [(1 / 3 + 1 / 4) / 3] * 2 + [2 / 9],
        0,
    ),
    "cruel": ([samples.CRUEL] * 3, [0, 0, 0], 3),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listing_of_degenerate_predictors(name, tmp_path):
    replies, expected, silent = LISTINGS[name]
    questions = samples.listing(tmp_path / "q", LISTS)
    answers = samples.answer_all(tmp_path / "a.jsonl", questions, lambda c: replies[int(c.id[-1])])
    result = score("tag-listing", answers, questions=questions)
    assert values(result, ("accuracy", "position_free", "per_item")) == pytest.approx(expected)
    assert result["counts"]["no_answer"] == silent and result["metrics"]["accuracy"]["flag"] == "fewer than 30 pictures"


@given(st.lists(st.sampled_from("abcde"), min_size=0, max_size=9), st.integers(0, 99))
def test_a_deranged_truth_names_no_number_as_before(names, seed):
    """The same names, none where an equal one stood; None exactly where one name is on more than half of the numbers."""
    truth = dict(enumerate(names, 1))
    found = derange(truth, str.upper, seed)
    if not names or 2 * max(map(names.count, names)) > len(names):
        assert found is None
    else:
        assert sorted(found) == sorted(truth) and sorted(found.values()) == sorted(names)
        assert not [k for k in truth if found[k] == truth[k]]


def test_permuted_truth_takes_the_oracle_to_zero_and_leaves_single_marks_out(tmp_path):
    distinct = [[f"small {c} circle", f"large {c} star", f"small {c} ring"] for c in ("red", "blue", "pink")]
    questions = samples.listing(tmp_path / "q", [*distinct, ["small red star"]])
    answers = samples.answer_all(
        tmp_path / "a.jsonl", questions, lambda c: said([*distinct, ["small red star"]][int(c.id[-1])])
    )
    result = score("tag-listing", answers, questions=questions, permute=True)
    assert values(result, ("accuracy", "position_free")) == [0, 1]
    assert result["counts"]["total"] == 3 and result["counts"]["left_out"] == {
        "one name on more than half of its marks: nothing to permute": 1
    }
    assert result["recipe"]["truth"] == "permuted within each picture, seed 0"
    with pytest.raises(UsageError, match="cannot be permuted"):
        score("pope", answers, questions=questions, permute=True)


def test_the_blind_reader_knows_only_numbers(tmp_path):
    train = samples.listing(
        tmp_path / "t", [["red circle", "blue star"]] * 2 + [["pink ring", "pink ring", "blue star"]]
    )
    held_out = samples.listing(
        tmp_path / "h",
        [["red circle", "blue star"], ["red circle", "pink ring", "blue star"], ["red circle"], ["a b"] * 4],
    )
    # two marks: both right; three: 2 of 3; one (never seen): red circle is commonest at 1; four: none of its names is known
    assert blind_score(train, held_out)["metrics"]["accuracy"]["value"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)


def test_a_listing_question_without_its_manifest_is_an_error(tmp_path):
    questions = samples.question_set(tmp_path / "q", [samples.conversation("q", "s", "List.", "1. x")])
    with pytest.raises(DataError, match="not in the manifest"):
        score("tag-listing", samples.answer_all(tmp_path / "a.jsonl", questions, lambda c: "1. x"), questions=questions)


# --- short answers


def test_counting_reads_numbers_and_shows_the_majority(tmp_path):
    gold = ["1", "2", "2", "2", "0"]
    replies = ["one", "There are 2 of them.", "2 or 3", "", "zero"]
    questions = samples.question_set(
        tmp_path / "q", (samples.conversation(f"q{k}", f"s{k}", "How many?", g) for k, g in enumerate(gold))
    )
    answers = samples.answer_all(tmp_path / "a.jsonl", questions, lambda c: replies[int(c.id[1])])
    result = score("counting", answers, questions=questions)
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(3 / 5) and result["counts"]["no_answer"] == 2
    assert result["baselines"] == {"majority": 3 / 5}


def test_colour_relation_and_caption(tmp_path):
    one = samples.question_set(
        tmp_path / "c", (samples.conversation(f"q{k}", f"s{k}", "What colour?", "red") for k in range(4))
    )
    replies = ["Red.", "the red", "blue", "it is red"]
    answers = samples.answer_all(tmp_path / "c.jsonl", one, lambda c: replies[int(c.id[1])])
    assert score("colour", answers, questions=one)["metrics"]["accuracy"]["value"] == 0.5

    two = samples.question_set(
        tmp_path / "r", (samples.conversation(f"q{k}", f"s{k}", "Left?", "Yes" if k else "No") for k in range(4))
    )
    answers = samples.answer_all(tmp_path / "r.jsonl", two, lambda c: "Yes")
    result = score("relation", answers, questions=two)
    assert values(result, ("accuracy", "yes_rate", "f1")) == pytest.approx([0.75, 1, 6 / 7])

    truth = "a large red circle, a small blue star and a small blue star"
    three = samples.question_set(
        tmp_path / "t", (samples.conversation(f"q{k}", f"s{k}", "Describe.", truth) for k in range(4))
    )
    replies = [truth, "A small blue star.", "", "a small blue star, a small blue star, a cat and a large red circle"]
    answers = samples.answer_all(tmp_path / "t.jsonl", three, lambda c: replies[int(c.id[1])])
    result = score("caption", answers, questions=three)
    assert values(result, ("recall", "precision")) == pytest.approx([(1 + 1 / 3 + 0 + 1) / 4, 7 / 8])


# --- comparing


def test_compare_pairs_by_question(existence, tmp_path):
    for name in ("gold", "all yes", "shifted"):
        score(
            "pope",
            samples.answer_all(tmp_path / f"{name}.jsonl", existence, PREDICTORS[name][0]),
            questions=existence,
            out=tmp_path / name,
        )
    found = compare(tmp_path / "all yes", tmp_path / "gold")
    assert found["headline"] == "f1" and found["metrics"]["f1"]["difference"] == pytest.approx(1 / 3)
    assert (
        found["metrics"]["accuracy"]["difference"] == pytest.approx(0.5) and found["metrics"]["accuracy"]["p"] < 0.001
    )
    assert (found["only_a"], found["only_b"]) == (0, 360) and found["counts"] == {"shared": 720, "dropped": 0}
    same = compare(tmp_path / "gold", tmp_path / "gold")["metrics"]["f1"]
    assert (same["difference"], same["p"]) == (0, 1)
    assert -same["low"] == same["high"] == pytest.approx(1 - 0.05 ** (1 / 40), abs=1e-5)  # of 40 pictures none differed
    back = compare(tmp_path / "gold", tmp_path / "all yes")["metrics"]["f1"]
    assert back["difference"] == pytest.approx(-1 / 3)


def test_compare_of_independent_questions_uses_mcnemar(tmp_path):
    questions = samples.question_set(
        tmp_path / "q", (samples.conversation(f"{k:03d}", f"s{k}", "How many?", "1") for k in range(100))
    )
    for name, wrong in (("a", range(20)), ("b", range(15, 22))):
        answers = samples.answer_all(
            tmp_path / f"{name}.jsonl", questions, lambda c, wrong=wrong: "2" if int(c.id) in wrong else "1"
        )
        score("counting", answers, questions=questions, out=tmp_path / name)
    row = compare(tmp_path / "a", tmp_path / "b")["metrics"]["accuracy"]
    # only A wrong: 0..14 (15 questions), only B wrong: 20, 21
    assert (
        row["difference"] == pytest.approx(0.13)
        and row["p"] == pytest.approx(0.0023498535, rel=1e-6)
        and "McNemar" in row["method"]
    )


def test_compare_refuses_what_cannot_be_paired(existence, tmp_path):
    score(
        "pope",
        samples.answer_all(tmp_path / "a.jsonl", existence, lambda c: "Yes"),
        questions=existence,
        out=tmp_path / "a",
    )
    other = samples.question_set(tmp_path / "o", [samples.conversation("z", "s", "?", "1")])
    score(
        "counting", samples.answer_all(tmp_path / "b.jsonl", other, lambda c: "1"), questions=other, out=tmp_path / "b"
    )
    with pytest.raises(UsageError, match="different tasks"):
        compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="no such file"):
        compare(tmp_path / "a", tmp_path / "nothing")


def test_compare_over_seeds(existence, tmp_path):
    for seed in (0, 1, 2):
        for arm, flips in (("a", 4), ("b", 2 + seed)):
            say = lambda c, flips=flips: c.reference if int(c.id.split("-")[1]) % 8 >= flips else "No"  # noqa: E731
            score(
                "pope",
                samples.answer_all(tmp_path / "x.jsonl", existence, say),
                questions=existence,
                out=tmp_path / arm / f"seed-{seed}",
            )
    found = compare(tmp_path / "a", tmp_path / "b", draws=500)
    # of every 8 pictures 4 lose their yes answers in arm a, 2, 3, 4 in arm b: accuracy 0.75 against 0.875, 0.8125, 0.75
    row = found["metrics"]["accuracy"]
    assert row["difference"] == pytest.approx(0.0625) and (row["a"], row["b"]) == pytest.approx((0.75, 0.8125))
    assert set(found["seeds"]) == {"seed-0", "seed-1", "seed-2"} and row["method"] == "t over 3 seeds"
    assert row["low"] < 0 < row["high"] and row["p"] == pytest.approx(0.2254, abs=1e-3)


# --- the commands


def test_the_commands(existence, tmp_path):
    import typer
    from typer.testing import CliRunner

    from visift.cli.score import compare as compare_command
    from visift.cli.score import score as score_command

    app = typer.Typer()
    app.command()(score_command)
    app.command()(compare_command)
    for name in ("a", "b"):
        answers = samples.answer_all(
            tmp_path / f"{name}.jsonl", existence, lambda c, name=name: "Yes" if name == "a" else c.reference
        )
        args = [
            "score",
            "pope",
            "--answers",
            str(answers),
            "--questions",
            str(existence),
            "--out",
            str(tmp_path / name),
        ]
        done = CliRunner().invoke(app, [*args, "--json"])
        assert done.exit_code == 0 and json.loads(done.stdout) == read_json(tmp_path / name / "score.json")
        text = CliRunner().invoke(app, [*args, "--parser", "all"]).stdout
        assert "pope f1:" in text and "parser vlmevalkit:" in text and "720 of 720 scored" in text
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"])
    assert json.loads(done.stdout)["metrics"]["f1"]["difference"] == pytest.approx(1 / 3)
    assert "difference +0.3333" in CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(tmp_path / "b")]).stdout
