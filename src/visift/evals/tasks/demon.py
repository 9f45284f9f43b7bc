"""DEMON: 31 multi-image tasks in seven categories; ROUGE-L for open questions, accuracy for choices; a category is the unweighted mean of its
datasets. papers.md B.4. Two modes: `published` keeps the scorer's defects (B.4.4 1-3), `fixed` mends them:

    a reply that shares no word with any option, or names two equally, is no answer   (published: the first option)
    options of one character count as words                                          (published: only the bare character matches)
    all three picture-option datasets are scored as such                             (published: VisualCloze by its words)
    a picture option is named by its letter as a word                                (published: `image depicts` names image d)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from visift.core.errors import DataError
from visift.core.files import read_json
from visift.core.types import get
from visift.evals import metrics, parse
from visift.evals.load_answers import own_or, recipe_of, source
from visift.evals.rouge import rouge_l
from visift.evals.task import Files, Metric, Question, Reply, Rows, Sums, Task, Total, Verdict
from visift.synth.demonstration_tasks import COUSINS as DEMONSTRATIONS

OPEN = {
    "dialogue": ("ALFRED", "MMCoQA"),
    "storytelling": ("AESOP", "PororoSV", "FlintstonesSV", "VIST", "DiDeMoSV"),
    "relation": ("Spot-the-Diff", "CLEVR-Change", "IEdit", "Birds-to-Words"),
}
CHOICE = {
    "cloze": ("COMICS_Dialogue", "COMICS_Panel", "RecipeQA_TextCloze", "RecipeQA_VisualCloze"),
    "knowledge": ("WebQA", "TQA", "MultiModalQA", "ManyModalQA"),
    "text_rich": ("SlideVQA", "OCR-VQA", "DocVQA"),
    "multi_image": ("Gibson", "nuScenes", "VISION", "Fashion200K", "MIT-States_PropertyCoherence", "MIT-States_StateCoherence",
                    "RecipeQA_ImageCoherence", "NLVR2", "VizWiz"),
}  # fmt: skip
COUSINS = {  # small tasks of our own in DEMON's format (`visift export demon --to demon`), each in its category
    category: tuple(f"{world}-{task}" for world in ("tabletop", "coco") for task in tasks)
    for category, tasks in {**DEMONSTRATIONS, "relation": (*DEMONSTRATIONS["relation"], "difference")}.items()
}
PICTURED = {  # picture options, and the names under which the published script knows them
    "published": ("recipeqa-RecipeQA_VisualCloze", "RecipeQA_ImageCoherence", "COMICS_Panel"),
    "fixed": ("RecipeQA_VisualCloze", "RecipeQA_ImageCoherence", "COMICS_Panel"),
}


ALIASES = {"mmqa": "MultiModalQA", "flintstones": "FlintstonesSV"}  # as their own metadata call them
PLACE = re.compile(r"\{(?:image|table)#(\d+)\}")  # tables are pictures too; numbers run over both, from 1


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("recipeqa-"))


NAMES = {_key(d): d for family in (OPEN, CHOICE, COUSINS) for ds in family.values() for d in ds} | ALIASES


def plain_name(dataset: str) -> str:
    """The name in the tables above for a folder's name, whatever its prefix, case and separators."""
    return NAMES.get(_key(dataset), dataset)


def is_open(name: str) -> bool:
    return any(name in (*names, *COUSINS[category]) for category, names in OPEN.items())


class Gold(TypedDict):
    """kind is `open`, `choice` or `picture` (under these rules); truth and options as they stand in core.json; dataset is
    its folder's name."""

    kind: str
    truth: str
    options: list[str]
    dataset: str
    rules: str


def under_rules(question: Question, rules: str) -> Question:
    """The question as these rules score it: which datasets have picture options is theirs to say."""
    gold: Gold = question.gold
    if gold["kind"] == "open":
        return replace(question, gold=gold | {"rules": rules})
    dataset = gold["dataset"] if rules == "published" else plain_name(gold["dataset"])
    return replace(
        question, gold=gold | {"kind": "picture" if dataset in PICTURED[rules] else "choice", "rules": rules}
    )


def prompt_of(row: dict[str, Any], templates: list[Any], where: str) -> tuple[str | int, ...]:
    """Template, context and, where `choice_list` stands apart, the choices and a cue; each placeholder becomes the index of
    its picture (papers.md B.4.3). Raises DataError when placeholders and pictures, or template ids, do not fit."""
    instance = get(row, "task_instance", dict, where)
    number = get(row, "task_instruction_id", int, where, 0)
    if templates and not 0 <= number < len(templates):
        raise DataError(f"task_instruction_id {number} is none of the {len(templates)} instructions", where=where)
    text = (str(templates[number]) if templates else "") + str(instance.get("context", ""))
    if choices := instance.get("choice_list") and get(instance, "choice_list", list, where):
        text += "Choice list:['" + "', '".join(map(str, choices)) + "']. Your answer is:"
    pieces = PLACE.split(text)  # text, number, text, …
    if long := next((n for n in pieces[1::2] if len(n) > 9), None):  # int() refuses thousands of digits
        raise DataError(f"placeholder {long[:9]}… names no picture", where=where)
    shown = [int(n) for n in pieces[1::2]]
    pictures = len(get(instance, "images_path", list, where, []))
    if set(shown) != set(range(1, pictures + 1)):
        raise DataError(f"its placeholders name pictures {sorted(set(shown))}, but {pictures} are listed", where=where)
    parts: list[str | int] = [p if k % 2 == 0 else int(p) - 1 for k, p in enumerate(pieces)]
    return tuple(p for p in parts if p != "")


def clean(text: str, rules: str = "published") -> str:
    """The published normalisation of replies, truths and options; it stops after 32 full stops, the fixed one does not."""
    text = parse.vqa_punctuation(
        text.replace("\n", " ").replace("\t", " ").strip(), stops=32 if rules == "published" else 0
    )
    return text.strip("'").strip('"').strip().lower()


def options_of(row: dict[str, Any], where: str) -> list[str]:
    """`choice_list`, or the list that stands in the context after `Choice List:` (quotes within it are not escaped, so it is
    split where one option's closing quote meets the next one's opening quote; picture placeholders go)."""
    instance = get(row, "task_instance", dict, where)
    listed = instance.get("choice_list") and get(instance, "choice_list", list, where)
    if listed is None:
        found = re.search(r"Choice List:\s*\[\s*['\"](.*)['\"]\s*\]", get(instance, "context", str, where), re.DOTALL)
        listed = re.split(r"['\"]\s*,\s*['\"]", re.sub(r":?\s*\{image#\d+\}", "", found[1])) if found else []
    return [str(o) for o in listed]


def read_core(path: Path, dataset: str, rules: str, asking: bool = False) -> list[Question]:
    """Its samples; only questions that are to be asked have to fit their pictures. Raises DataError naming the sample, where
    two have one id too: the published script joins by it as well."""
    core = read_json(path)
    kind = get(get(core, "metadata", dict, str(path), {}), "question_type", str, str(path), "")
    name = plain_name(dataset)
    if not kind:  # ALFRED's says nothing
        kind = "open-ended" if is_open(name) else "multi-choice"
    if kind not in ("open-ended", "multi-choice"):
        raise DataError(f"question_type {kind!r} is neither open-ended nor multi-choice", where=path)
    templates = get(core.get("metadata", {}), "task_instruction", list, str(path), [])
    found: dict[str, Question] = {}
    for k, row in enumerate(get(core, "data", list, str(path))):
        where = f"{path}: sample {k}"
        options = [] if kind == "open-ended" else options_of(row, where)
        shape = "open" if kind == "open-ended" else "choice"
        truth = str(get(row, "response", object, where, ""))
        gold = Gold(kind=shape, truth=truth, options=options, dataset=dataset, rules=rules)
        parts = prompt_of(row, templates, where) if asking else ()
        paths = get(get(row, "task_instance", dict, where), "images_path", list, where, [])
        if wrong := [p for p in paths if not isinstance(p, str)]:
            raise DataError(f"images_path holds {type(wrong[0]).__name__}, expected str", where=where)
        sample = row.get("sample_id", k)
        if (key := f"{name}/{sample}") in found:
            raise DataError(
                f"its sample_id {sample!r} is an earlier sample's too", where=where, remedy="give each its own"
            )
        question = Question(
            key, key, gold, (name,), "".join(p for p in parts if isinstance(p, str)),
            tuple(f"{dataset}/core/images/{p}" for p in paths),
            tuple(options), stratum=name, parts=parts,
        )  # fmt: skip
        question = under_rules(question, rules)
        if question.gold["kind"] == "choice" and clean(gold["truth"]) not in map(clean, options):
            raise DataError(f"truth {gold['truth']!r} is not among its {len(options)} options", where=where)
        found[key] = question
    return list(found.values())


def cores(references: Path) -> dict[str, Path]:
    found = {p.parent.parent.name: p for p in sorted(references.glob("*/core/core.json"))}
    if not found:
        raise DataError("holds no DEMON dataset (<dataset>/core/core.json)", where=references)
    names: dict[str, str] = {}
    for dataset in found:
        if (other := names.setdefault(plain_name(dataset), dataset)) != dataset:
            raise DataError(f"{other} and {dataset} are one dataset", where=references, remedy="remove one folder")
    return found


def ask(files: Files) -> list[Question]:
    """The questions of all datasets; their pictures lie in DEMON's folder too, under `<dataset>/core/images`."""
    path = source(files, "DEMON's folder with <dataset>/core/core.json")
    return [q for dataset, core in cores(path).items() for q in read_core(core, dataset, files.rules, asking=True)]


def read_own(files: Files) -> Rows:
    """Our answers, scored by the rules asked for: a dataset of questions knows those that it was made with."""
    rows = own_or(ask)(files)
    rows.questions = [under_rules(q, files.rules) for q in rows.questions]
    rows.recipe |= {"rules": files.rules}
    return rows


def read_demon(files: Files) -> Rows:
    """ANSWERS/<dataset>/pred.json: joined by sample_id. A dataset without pred.json was not asked."""
    known = cores(source(files, "DEMON's folder with <dataset>/core/core.json"))
    rows = Rows([], {})
    for dataset, core in known.items():
        path = files.answers / dataset / "pred.json"
        if not path.exists():
            rows.left_out["dataset without pred.json"] = rows.left_out.get("dataset without pred.json", 0) + 1
            continue
        questions = read_core(core, dataset, files.rules)
        names, given = {q.id for q in questions}, {}
        for number, row in enumerate(get({"rows": read_json(path)}, "rows", list, str(path)), 1):
            where = f"{path}: row {number}"
            key = f"{plain_name(dataset)}/{get(row, 'sample_id', object, where)}"
            if key in given:
                rows.duplicate.append(key)
            elif key not in names:
                rows.extra.append(key)
            else:
                given[key] = row
                rows.replies[key] = Reply(get(row, "pred_response", str, where))
        rows.questions += (
            [_published_truth(q, given.get(q.id, {})) for q in questions] if files.rules == "published" else questions
        )
    strangers = [p.parent.name for p in files.answers.glob("*/pred.json") if p.parent.name not in known]
    if strangers or not rows.questions:
        raise DataError(f"no references for {', '.join(strangers) or 'any prediction'}", where=files.answers)
    content = [Question(q.id, q.cluster, q.gold, q.groups) for q in rows.questions]
    rows.recipe = recipe_of(content, "as answered") | {"rules": files.rules}
    return rows


def _published_truth(q: Question, row: Mapping[str, Any]) -> Question:
    """The published script takes the truth of open and picture questions from pred.json."""
    truth = row.get("gt_response")
    if q.gold["kind"] == "choice" or not isinstance(truth, str):
        return q
    return replace(q, gold=q.gold | {"truth": truth})


def read(question: Question, text: str) -> str | None:
    """The cleaned reply of an open question; the option that a choice reply is taken for."""
    gold: Gold = question.gold
    said = clean(text if gold["rules"] == "published" else text[: 50 * parse.HEAD], gold["rules"])
    if gold["kind"] == "open":
        return said or None
    if gold["kind"] == "picture":
        if gold["rules"] == "published":
            return said[:7] if sum(f"image {letter}" in said for letter in "abcd") <= 1 else None
        named = set(re.findall(r"\bimage [abcd]\b", said))
        return named.pop() if len(named) == 1 else None
    options = tuple(clean(o, gold["rules"]) for o in gold["options"])
    return published_option(said, options) if gold["rules"] == "published" else fixed_option(said, options)


@lru_cache(maxsize=4096)
def published_option(said: str, options: tuple[str, ...]) -> str | None:
    """TF-IDF over reply and options, the most similar option, the first one where all are equally far; the reply itself where there is no word."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    try:
        matrix = TfidfVectorizer().fit_transform([said, *options])
    except ValueError:  # an empty vocabulary
        return said
    return options[int(cosine_similarity(matrix[0:1], matrix[1:]).flatten().argmax())]


def fixed_option(said: str, options: tuple[str, ...]) -> str | None:
    """The option itself; else the one whose share of words in the reply (by cosine over sets of words) is largest, if one is and it is above 0."""
    if said in options:
        return said
    words = set(re.findall(r"\w+", said))
    scores = [
        len(words & w) / (len(words) * len(w)) ** 0.5 if words and (w := set(re.findall(r"\w+", o))) else 0.0
        for o in options
    ]
    best = max(scores, default=0.0)
    near = [o for o, s in zip(options, scores, strict=True) if s > best - 1e-12]
    return near[0] if best > 0 and len(set(near)) == 1 else None


def judge(question: Question, said: Any) -> Verdict:
    truth = clean(question.gold["truth"], question.gold["rules"])
    if question.gold["kind"] == "open":
        value = rouge_l(said or "", truth)
        return Verdict(value, f"rouge-l {value:.3f}", {"rouge": value, "open": 1.0}, said is not None)
    if question.gold["kind"] == "picture":
        truth = truth[:7]
    right = said is not None and said == truth
    return Verdict(
        float(right), f"{str(said)[:60]}, truth {truth[:60]}", {"right": float(right), "choice": 1.0}, said is not None
    )


def mean_of(name: str, over: str, under: str, datasets: tuple[str, ...]) -> Total:
    def of(groups: Mapping[str, Sums]) -> np.ndarray:
        found = [metrics.ratio(groups[d][over], groups[d][under]) for d in datasets if d in groups]
        return np.mean(np.stack(found), axis=0) if found else np.full(np.shape(next(iter(groups[""].values()))), np.nan)

    return Total(name, of)


def mean_of_means(name: str, totals: list[Total]) -> Total:
    """The unweighted mean of the categories (papers.md B.4.4: reproduces 41.49 and 29.53)."""

    def of(groups: Mapping[str, Sums]) -> np.ndarray:
        found = [v for v in (t.of(groups) for t in totals) if not np.isnan(v).all()]
        return np.mean(np.stack(found), axis=0) if found else np.full(np.shape(next(iter(groups[""].values()))), np.nan)

    return Total(name, of)


BY_CHOICE = [mean_of(name, "right", "choice", (*datasets, *COUSINS[name])) for name, datasets in CHOICE.items()]
BY_ROUGE = [mean_of(name, "rouge", "open", (*datasets, *COUSINS[name])) for name, datasets in OPEN.items()]
TASK = Task(
    name="demon", readers={"demon": read_demon, "visift": read_own}, parsers={"default": read}, judge=judge,
    metrics=(Metric("rouge_l", lambda s: metrics.ratio(s["rouge"], s["open"]), ("rouge", "open"), "open"),
             Metric("accuracy", lambda s: metrics.ratio(s["right"], s["choice"]), ("right", "choice"), "choice")),
    totals=(mean_of_means("accuracy", BY_CHOICE), mean_of_means("rouge_l", BY_ROUGE), *BY_CHOICE, *BY_ROUGE),
    headline="accuracy", ask=ask, modes=("published", "fixed"),
)  # fmt: skip
