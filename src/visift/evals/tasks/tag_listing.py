"""Listing what stands at each number. papers.md A.4.4: M right of N in the truth, averaged over pictures.

An item is right when all that the truth names (category, and colour and size in the tabletop world) stands at its number
and nothing else that this manifest has a name for: the vocabulary words in both must be the same set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.lists import parse_list
from visift.core.seeds import rng
from visift.core.types import TaggedPicture
from visift.evals import metrics, parse, questions
from visift.evals.task import Files, Question, Rows, Task, Verdict

Names = dict[int, str]  # number -> name


def names_of(tagged: TaggedPicture) -> Names:
    return {m.number: m.name or m.category for m in tagged.marks}


class Vocabulary:
    """Every word that some mark's name uses. What a text names is the set of those words in it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.words = {w for name in names for w in parse.plain(name).split()}

    def key(self, text: str) -> frozenset[str]:
        return frozenset(self.words.intersection(parse.plain(text[: parse.HEAD]).split()))


def derange(names: Names, key: Callable[[str], Hashable], *seeds: object) -> Names | None:
    """The names on other numbers, drawn from `seeds`, so that none stands where one of the same key stood. None where that cannot
    be: one key holds more than half of the numbers."""
    shuffled = rng("derangement", *seeds).permutation(sorted(names)).tolist()
    groups: dict[Hashable, list[int]] = {}
    for number in shuffled:
        groups.setdefault(key(names[number]), []).append(number)
    ring, step = [number for group in groups.values() for number in group], max(map(len, groups.values()), default=0)
    if not ring or 2 * step > len(ring):
        return None
    return {number: names[ring[(k + step) % len(ring)]] for k, number in enumerate(ring)}  # past the whole of its group


def read_questions(files: Files, answered: bool = True) -> Rows:
    """Questions of a listing dataset; the truth comes from its manifest. With `files.permute` the truth is deranged within each
    picture, and pictures where it cannot be (`derange`) are left out and counted. Without `answered` no answer file is read."""
    dataset = questions.open_questions(files)
    manifest = {t.image: names_of(t) for t in dataset.tagged()}
    vocabulary = Vocabulary(name for names in manifest.values() for name in names.values())
    asked, templates, alike = [], set(), 0
    for c in dataset:
        if not c.images or c.images[0].path not in manifest:
            raise DataError("its picture is not in the manifest", where=f"conversation {c.id} in {files.questions}",
                            remedy="a listing question needs a tagged picture; was the dataset made by `visift synth listing`?")  # fmt: skip
        truth = manifest[c.images[0].path]
        if files.permute:
            deranged = derange(truth, vocabulary.key, files.seed, c.images[0].path)
            if deranged is None:
                alike += 1
                continue
            truth = deranged
        templates.add(c.provenance.template)
        gold = {number: vocabulary.key(name) for number, name in truth.items()}
        asked.append(
            Question(
                c.id,
                questions.cluster_of(c),
                (gold, truth, vocabulary),
                (),
                questions.question_text(c),
                (c.images[0].path,),
            )
        )
    replies, duplicate, recipe = questions.read_answers(files.answers) if answered else ({}, [], {})
    recipe |= {"prompt": questions.prompt_id(templates), "data_sha256": dataset.card["content_sha256"],
               "truth": f"permuted within each picture, seed {files.seed}" if files.permute else "as drawn"}  # fmt: skip
    rows = questions.join(asked, replies, duplicate, recipe=recipe)
    if files.permute:
        rows.left_out["one name on more than half of its marks: nothing to permute"] = alike
    return rows


def judge(question: Question, said: Any) -> Verdict:
    """Score = M / N with N the number of marks; `free` ignores the numbers (multiset), which exposes guessing."""
    gold, truth, vocabulary = question.gold
    keys = {number: vocabulary.key(text) for number, text in (said or {}).items()}
    hits = [number for number, key in gold.items() if keys.get(number) == key]
    free = (Counter(gold.values()) & Counter(keys.values())).total()
    n = len(gold)
    wrong = tuple(k for k in sorted(gold) if k not in hits)
    why = "; ".join(f"{k}. {truth[k]} / {said[k][:40] if said and k in said else '-'}" for k in wrong)
    parts = {"n": 1.0, "accuracy": len(hits) / n, "free": free / n, "hits": float(len(hits)), "marks": float(n),
             "listed": float(len(keys)), "extra": float(len(set(keys) - set(gold)))}  # fmt: skip
    return Verdict(len(hits) / n, why[:400] or "all right", parts, said is not None, wrong)


def fit_blind(train: Path) -> dict[int, dict[int, str]]:
    """The blind reader: for N marks, the most common name at each number of the training lists: {N: {number: name}}.
    Under N = 0 stands the best name per number whatever N is, for an N that training never showed."""
    seen: dict[int, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for tagged in Dataset(train).tagged():
        names = names_of(tagged)
        for number, name in names.items():
            seen[len(names)][number][name] += 1
            seen[0][number][name] += 1
    if not seen:
        raise DataError("has no marks to learn from", where=train, remedy="name a tagged dataset")
    return {n: {k: min(c, key=lambda name: (-c[name], name)) for k, c in at.items()} for n, at in seen.items()}


def blind_list(reader: Mapping[int, Mapping[int, str]], n: int) -> str:
    """What the blind reader says about a picture with `n` marks."""
    at = {**reader[0], **reader.get(n, {})}
    last = at[max(at)]
    return "\n".join(f"{k}. {at.get(k, last)}" for k in range(1, n + 1))


TASK = Task(
    name="tag-listing",
    readers={"visift": read_questions},
    parsers={"default": lambda question, text: parse_list(text[: 50 * parse.HEAD]) or None},
    judge=judge,
    metrics=(metrics.rate("accuracy", "accuracy"),),
    totals=(
        metrics.total_rate("accuracy", "accuracy"),
        metrics.total_rate("position_free", "free"),
        metrics.total_rate("per_item", "hits", "marks"),
    ),
    headline="accuracy",
)
