"""`visift score`: answers in, one score out; pure, instant, no model."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import visift
from visift.core.errors import UsageError
from visift.core.files import sha256_file, write_json, write_jsonl
from visift.evals import judge as judging
from visift.evals import tasks
from visift.evals.answer_formats import recognised
from visift.evals.metrics import Table
from visift.evals.task import Files, Item, Reply, Rows, Task

UNSCORED_LIMIT = 0.01  # past this share of unscored questions the headline is withheld
PARSER_VERSION = 1  # of every named parser; a changed rule gets a new number
RULES = ("published", "fixed")  # DEMON's
SAID = 1000  # characters of a reply that items.jsonl keeps
NAMED = 20  # ids that are named of each kind of misfit


def score(
    task: str,
    answers: Path,
    *,
    questions: Path | None = None,
    references: Path | None = None,
    format: str | None = None,
    parser: str | None = None,
    rules: str = "published",
    out: Path | None = None,
    permute: bool = False,
    seed: int = 0,
    judge: judging.Judge | None = None,
) -> dict[str, Any]:
    """Score an answer file and return the score of interface.md (JSON). With `out`, keep score.json and items.jsonl there.

    task        a name in `visift.evals.tasks.TASKS`
    format      one of interface.md's names; None recognises it by the first row
    parser      None takes the format's own published parser; "all" adds `spread`: the headline under every parser
    rules       "published" or "fixed" (DEMON)
    permute     tag-listing only: score against names deranged within each picture (a control; should fall to about 0)
    seed        of the derangement and the bootstrap
    judge       of tasks that need one; None is the offline rule judge. Its verdicts are kept as verdicts.jsonl, which
                format "verdicts" reads again

    Raises UsageError for an unknown task, format or parser; DataError for files that do not hold what they should.
    """
    bench = tasks.get(task)
    if rules not in RULES:
        raise UsageError(f"rules {rules!r} are unknown", remedy=f"one of: {', '.join(RULES)}")
    format = format or recognised(answers)
    files = Files(answers, questions, references, permute, seed, rules)
    exported = format == "lmms-eval" and files.of_ours
    formats = [*bench.readers, *([judging.FORMAT] if bench.rubric else []), *([format] if exported else [])]
    if format not in formats:
        raise UsageError(f"task {task} cannot be read from format {format!r}", remedy=f"one of: {', '.join(formats)}")
    if judge is not None and (bench.rubric is None or not (exported or format in judging.JUDGED)):
        raise UsageError(f"task {task} in format {format} has nothing to judge", remedy="leave --judge out")
    if permute and task != "tag-listing":
        raise UsageError(f"the truth of task {task} cannot be permuted", remedy="only tag-listing's can")
    names = list(bench.parsers) if parser == "all" else [parser or _own_parser(bench, format)]
    for name in names:
        if name not in bench.parsers:
            raise UsageError(
                f"parser {name!r} is unknown to task {task}", remedy=f"one of: {', '.join(bench.parsers)}, all"
            )
    first = _own_parser(bench, format) if parser == "all" else names[0]
    with _no_collector():
        rows = (
            judging.read_stored(answers)
            if format == judging.FORMAT
            else bench.readers["visift" if exported else format](files)
        )
        said = rows.replies  # what the model said, before a judge's points take its place
        if bench.rubric is not None and (exported or format in judging.JUDGED):
            rows = _judged(bench.rubric, bench, judge or judging.Judge(), files, rows, out)
        items = judge_all(bench, rows, first)
        result = summarise(bench, rows, items, first, seed)
        if parser == "all":
            result["spread"] = {name: _short(bench, rows, name, seed) for name in names}
        if bench.modes:
            result["modes"] = {r: _under(bench, replace(files, rules=r), format, first) for r in bench.modes}
        result["recipe"] |= {"answers_sha256": _sha256(answers), "format": format, "seed": seed}
        result["recipe"] |= {"questions": str(questions)} if questions is not None else {}
        if out is not None:
            write_jsonl(out / "items.jsonl", (_item_row(item, said.get(item.question.id)) for item in items))
            write_json(out / "score.json", result)
    return result


def _judged(
    rubric: judging.Rubric, bench: Task, judge: judging.Judge, files: Files, rows: Rows, out: Path | None
) -> Rows:
    """The rows with the judge's points in place of the answers."""
    other = bench.against(files, rows.questions) if bench.against else {}
    verdicts = judging.judged(rubric, judge, rows, other)
    if out is not None:
        write_jsonl(out / "verdicts.jsonl", verdicts)
    found = judging.of_verdicts(verdicts, files.answers)
    return replace(rows, replies=found.replies, recipe=rows.recipe | {"judge": found.recipe["judge"]})


@contextmanager
def _no_collector() -> Iterator[None]:
    """Hundreds of thousands of small objects and no cycles: the cyclic collector would take a quarter of the time for nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _own_parser(bench: Task, format: str) -> str:
    return bench.published.get(format, next(iter(bench.parsers)))


def _sha256(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""


def judge_all(bench: Task, rows: Rows, parser: str) -> list[Item]:
    """A verdict for every question, in question order; without an answer the reason stands in `why`."""
    read = bench.parsers[parser]
    items = []
    for question in rows.questions:
        reply = rows.replies.get(question.id)
        if reply is None or reply.failed:
            items.append(Item(question, None, reply.failed if reply else "missing"))
            continue
        verdict = bench.judge(question, read(question, reply.text))
        items.append(Item(question, verdict.score, verdict.why, verdict.answered, dict(verdict.parts), verdict.wrong))
    if bench.finish is not None:
        bench.finish(items)
    return items


def summarise(bench: Task, rows: Rows, items: list[Item], parser: str, seed: int) -> dict[str, Any]:
    """The score as JSON."""
    table = Table.of(items)
    unscored = dict(Counter(i.why for i in items if i.score is None))
    counts = {
        "total": len(items), "scored": len(items) - sum(unscored.values()),
        "no_answer": sum(1 for i in items if i.score is not None and not i.answered), "unscored": unscored,
        "duplicate": len(rows.duplicate), "extra": len(rows.extra),
    }  # fmt: skip
    if rows.left_out:
        counts["left_out"] = rows.left_out
    hidden = {g: unshown(items, g) for g in table.groups}
    groups = {
        g: {m.name: table.of_group(g, m, seed).to_json() | hidden[g] for m in bench.metrics if table.has(g, m.needs)}
        for g in table.groups
        if g
    }  # fmt: skip
    metrics = {
        t.name: table.of_all(t, seed).to_json() | hidden[t.group] for t in bench.totals if t.group in table.groups
    }
    result: dict[str, Any] = {
        "task": bench.name,
        "headline": bench.headline,
        "metrics": metrics,
        "groups": groups,
        "counts": counts,
    }
    if bench.baselines is not None:
        result["baselines"] = bench.baselines(rows.questions)
    named = {
        "missing": [i.question.id for i in items if i.score is None],
        "duplicate": rows.duplicate,
        "extra": rows.extra,
    }
    result["rows"] = {kind: ids[:NAMED] for kind, ids in named.items() if ids}
    result["recipe"] = {"parser": parser, "parser_version": PARSER_VERSION, "visift": visift.__version__, **rows.recipe}
    result["recipe"] |= bench.about(rows.questions) if bench.about is not None else {}
    return result


def unshown(items: Iterable[Item], group: str) -> dict[str, Any]:
    """What stands in place of a number over the questions of that group ('': all), and why; empty where it is shown."""
    asked = [i for i in items if not group or group in i.question.groups]
    reasons = Counter(i.why for i in asked if i.score is None)
    if reasons.total() <= UNSCORED_LIMIT * len(asked) and asked:
        return {}
    kinds = ", ".join(f"{n} {r}" for r, n in reasons.items())
    why = f"{reasons.total()} of {len(asked)} questions are unscored: {kinds}"
    return {"value": None, "low": None, "high": None, "withheld": why}


def _short(bench: Task, rows: Rows, parser: str, seed: int) -> dict[str, Any]:
    whole = summarise(bench, rows, judge_all(bench, rows, parser), parser, seed)
    return {"metrics": whole["metrics"], "no_answer": whole["counts"]["no_answer"]}


def _under(bench: Task, files: Files, format: str, parser: str) -> dict[str, Any]:
    """The plain values under other rules: per metric, per group, and how many replies say nothing by them."""
    rows = bench.readers[format](files)
    items = judge_all(bench, rows, parser)
    whole = summarise(bench, rows, items, parser, 0)
    values = {name: row["value"] for name, row in whole["metrics"].items()}
    groups = {g: {name: row["value"] for name, row in found.items()} for g, found in whole["groups"].items()}
    return {"metrics": values, "groups": groups, "no_answer": whole["counts"]["no_answer"]}


def _item_row(item: Item, said: Reply | None) -> dict[str, Any]:
    """What a report shows of a question: all that it needs to know of it stands here."""
    q = item.question
    row: dict[str, Any] = {"id": q.id, "cluster": q.cluster, "score": item.score, "why": item.why}
    row |= {"groups": list(q.groups)} if q.groups else {}
    row |= {"stratum": q.stratum} if q.stratum else {}
    row |= {"answered": False} if item.score is not None and not item.answered else {}
    row |= {"wrong": list(item.wrong)} if item.wrong is not None else {}
    row |= {"asked": q.asked} if q.asked else {}
    row |= {"images": list(q.images)} if q.images else {}
    row |= {"truth": q.gold} if q.gold and isinstance(q.gold, str) else {}
    row |= {"said": said.text[:SAID]} if said and said.text else {}
    return row | {"parts": item.parts}


def blind_score(train: Path, questions: Path, *, permute: bool = False, seed: int = 0) -> dict[str, Any]:
    """tag-listing score of the blind reader: the best constant name per number given N, fitted on the lists of `train`."""
    from visift.core.dataset import Dataset
    from visift.evals.tasks import tag_listing

    reader = tag_listing.fit_blind(train)
    sizes = {t.image: len(t.marks) for t in Dataset(questions).tagged()}
    rows = tag_listing.read_questions(Files(Path(), questions, permute=permute, seed=seed), answered=False)
    rows.replies = {q.id: Reply(tag_listing.blind_list(reader, sizes[q.images[0]])) for q in rows.questions}
    result = summarise(tag_listing.TASK, rows, judge_all(tag_listing.TASK, rows, "default"), "default", seed)
    result["recipe"]["model"] = "blind: best constant name per number given N"
    return result
