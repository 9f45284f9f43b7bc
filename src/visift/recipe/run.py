"""Walk a recipe: synthesise, train the arms side by side, answer, score, compare, judge the claims, write the report.

    RUN/recipe.json            what is being run; another recipe in the same folder is refused
    RUN/made_with.json         the version of visift and the weights to start from; others are refused too
    RUN/data/NAME              datasets           RUN/models/ARM            runs of `visift train`
    RUN/questions/NAME         held-out questions RUN/answers/MODEL/NAME.jsonl
    RUN/scores/MODEL/NAME      score.json, items.jsonl
    RUN/summary.json           everything a report needs; RUN/report.html

Every step is finished or absent: killed anywhere, the same command goes on and ends with the same scores.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import visift
from visift.core.errors import UsageError
from visift.core.files import begun_with, model_hashes, read_json, write_json
from visift.recipe.jobs import Job, run_jobs
from visift.recipe.schema import BaseRecipe, Control, Data, Questions, Recipe, read_recipe
from visift.recipe.verdicts import judge

DATA_KEYS = set(Data.model_fields)
BUILTIN = Path(visift.__file__).parent / "models/builtin/weights"  # as models/builtin names it, which loads torch
QUESTION_SEED = 1000  # of its own, so that every seed of training is measured on the same questions


def run_recipe(path: Path, out: Path, overrides: Sequence[str] = ()) -> Path:
    """Run the recipe at `path` in folder `out`; returns the report. Raises UsageError when `out` holds a run of another recipe,
    or one begun with another version of visift or other weights to start from: what is finished there would be of those."""
    recipe = read_recipe(path, overrides)
    _claim(out, "recipe", recipe.model_dump(mode="json", exclude={"jobs"}), "another recipe")
    _claim(out, "made_with", made_with(recipe), "another version of visift, or of other weights to start from")
    run = Run(recipe, out)
    summary = run.pretrain() if isinstance(recipe, BaseRecipe) else run.experiment()
    write_json(out / "summary.json", summary)
    from visift.report import write_report

    return write_report(out)


def _claim(out: Path, name: str, value: dict[str, Any], other: str) -> None:
    """Keep `value` in out/NAME.json. Raises UsageError where another lies there and a step of it is finished."""
    if not begun_with(out / f"{name}.json", value, done=any(out.glob("steps/*.json"))):
        raise UsageError(f"holds a run of {other}", where=out, remedy="choose another --out or remove it")


class Run:
    """A recipe in its folder."""

    def __init__(self, recipe: Recipe | BaseRecipe, out: Path) -> None:
        self.recipe, self.out = recipe, out

    def pretrain(self) -> dict[str, Any]:
        """The base weights, then their scores on held-out questions."""
        recipe = self.recipe
        assert isinstance(recipe, BaseRecipe)
        model = str(self.out / "models" / "base")
        jobs = [
            Job("pretrain", {"do": "pretrain", "out": model, "settings": recipe.pretrain}),
            self._questions({}),
            self._answer("base", model, [], "pretrain"),
        ]
        seconds = run_jobs(self.out, jobs, recipe.jobs)
        return self._summary({"base": {n: self._score("base", n) for n in recipe.questions}}, [], [], seconds)

    def experiment(self) -> dict[str, Any]:
        recipe = self.recipe
        assert isinstance(recipe, Recipe)
        seconds = run_jobs(self.out, self._experiment_jobs(recipe), recipe.jobs)
        scores: dict[str, dict[str, Any]] = {}
        for model in ("base", *recipe.arms):
            for name, asked in recipe.questions.items():
                if asked.asks(model):
                    scores.setdefault(model, {})[name] = self._score(model, name)
        for name, control in recipe.controls.items():
            for model, score in self._control(name, control).items():
                scores.setdefault(model, {})[name] = score
        comparisons = [
            found
            for a, b in recipe.compare
            for task in scores[a]
            if task in scores[b] and (found := self._compare(a, task, b, task))
        ]
        verdicts = [judge(claim, scores, self._compare) for claim in recipe.claims]
        from visift.train.model_card import add_scores

        for arm in recipe.arms:
            add_scores(self.out / "models" / arm / "model", scores.get(arm, {}))
        return self._summary(scores, comparisons, verdicts, seconds) | self._lengths(recipe)

    def _experiment_jobs(self, recipe: Recipe) -> list[Job]:
        """In the order in which they should start: what is asked before the arms, so that a question that cannot be costs no
        training."""
        needed = {d for arm in recipe.arms.values() for d in arm.data} | {
            c.data for c in recipe.controls.values() if c.data
        }
        data = {n: d for n, d in recipe.data.items() if n in needed}
        jobs = [self._synth(f"data.{n}", {n: d}, "data", recipe.seed) for n, d in data.items()]
        jobs.append(self._questions(data))
        for name, arm in recipe.arms.items():
            start = arm.model or recipe.base
            spec = {
                "do": "train", "model": self._model(start), "data": [str(self.out / "data" / d) for d in arm.data],
                "stage": arm.stage, "out": str(self.out / "models" / name),
                "settings": {"seed": recipe.seed, "threads": 1, **recipe.train, **arm.train},
            }  # fmt: skip
            after = {f"data.{d}" for d in arm.data} | ({f"train.{start}"} if start in recipe.arms else set())
            jobs.append(Job(f"train.{name}", spec, frozenset(after)))
        for model in ("base", *recipe.arms):
            grey = [n for n, c in recipe.controls.items() if c.kind == "grey" and model in c.models]
            jobs.append(self._answer(model, self._model(model), grey, f"train.{model}" if model in recipe.arms else ""))
        return jobs

    def _model(self, name: str) -> str:
        recipe = self.recipe
        if isinstance(recipe, Recipe) and name in recipe.arms:
            return str(self.out / "models" / name / "model")
        return recipe.base if name == "base" and isinstance(recipe, Recipe) else name

    def _synth(self, name: str, sets: Mapping[str, Data], folder: str, seed: int) -> Job:
        rows = [
            {"data": d.model_dump(mode="json", include=DATA_KEYS), "out": str(self.out / folder / n)}
            for n, d in sets.items()
        ]
        return Job(name, {"do": "synth", "seed": seed, "sets": rows})

    def _questions(self, data: Mapping[str, Data]) -> Job:
        """What is asked; `data` is trained on."""
        asked = self.recipe.questions
        spec = self._synth("questions", asked, "questions", QUESTION_SEED).spec
        for row, one in zip(spec["sets"], asked.values(), strict=True):
            row["task"] = one.task
        folder = self.out / "data"
        trained = {
            name: [str(folder / n) for n, d in data.items() if d.images and d.images.resolve() == one.images.resolve()]
            for name, one in asked.items()
            if one.images
        }
        return Job("questions", spec | {"do": "ask", "trained": trained}, frozenset(f"data.{n}" for n in data))

    def _answer(self, model: str, path: str, grey: list[str], after: str) -> Job:
        """Everything that is asked of one model; `grey` names controls asked with grey pictures."""
        sets = [self._asked(model, name, name) for name, q in self.recipe.questions.items() if q.asks(model)]
        if isinstance(self.recipe, Recipe):
            sets += [{**self._asked(model, self.recipe.controls[c].questions, c), "grey": True} for c in grey]
        spec = {"do": "answer", "model": path, "sets": sets}
        return Job(f"answer.{model}", spec, frozenset({"questions", after} - {""}))

    def _asked(self, model: str, name: str, save_as: str) -> dict[str, Any]:
        asked = self.recipe.questions[name]
        return {
            "task": asked.task, "questions": str(self.out / "questions" / name),
            "out": str(self._answers(model, save_as)), "max_new_tokens": asked.max_new_tokens,
            **({"rounds": {"number": asked.rounds, "neutral": asked.neutral}} if asked.rounds else {}),
        }  # fmt: skip

    def _answers(self, model: str, name: str) -> Path:
        return self.out / "answers" / model / f"{name}.jsonl"

    def _score(self, model: str, name: str, questions: str = "", **options: Any) -> dict[str, Any]:
        from visift.evals.score import score

        asked = self.recipe.questions[questions or name]
        answers = self._answers(model, questions if options.get("permute") else name)
        return score(
            asked.task, answers, questions=self.out / "questions" / (questions or name),
            out=self.out / "scores" / model / name, **options,
        )  # fmt: skip

    def _control(self, name: str, control: Control) -> dict[str, dict[str, Any]]:
        if control.kind == "blind":
            from visift.evals.score import blind_score

            train = self.out / "data" / control.data
            return {"blind": blind_score(train, self.out / "questions" / control.questions)}
        permute = {"permute": True} if control.kind == "permuted" else {}
        return {model: self._score(model, name, control.questions, **permute) for model in control.models}

    def _compare(self, model_a: str, task_a: str, model_b: str, task_b: str) -> dict[str, Any] | None:
        """B minus A of the headline metric, paired; None where the two share no question or one of them is withheld."""
        from visift.evals.compare import compare

        folders = [self.out / "scores" / m / t for m, t in ((model_a, task_a), (model_b, task_b))]
        if not all((f / "items.jsonl").exists() for f in folders):
            return None
        found = compare(*folders)
        metric = found["headline"]
        row = found["metrics"][metric]
        if "withheld" in row:
            return None
        return {
            "task": task_b, "than_task": task_a, "metric": metric, "a": model_a, "b": model_b, "delta": row["difference"],
            **{k: row[k] for k in ("low", "high", "p", "n", "clusters", "method")},
        }  # fmt: skip

    def _lengths(self, recipe: Recipe) -> dict[str, Any]:
        """Words and share of short answers after earlier rounds, against the same questions alone, paired."""
        from visift.evals.rounds import compare_lengths

        rows = []
        for name, asked in recipe.questions.items():
            alone = next((n for n, q in recipe.questions.items() if asked.rounds and _alone(asked) == q), None)
            for model in ("base", *recipe.arms):
                if alone and asked.asks(model):
                    found = compare_lengths(self._answers(model, alone), self._answers(model, name))
                    kept = {k: found[k] for k in ("n", "clusters", "metrics", "rounds")}
                    rows.append({"model": model, "task": name, "than_task": alone, **kept})
        return {"lengths": rows} if rows else {}

    def _summary(
        self, scores: dict[str, Any], comparisons: list[Any], verdicts: list[Any], seconds: dict[str, float]
    ) -> dict[str, Any]:
        return {
            "title": self.recipe.title, "scores": scores, "comparisons": comparisons, "verdicts": verdicts,
            "seconds": seconds, "recipe": read_json(self.out / "recipe.json"), "machine": machine(),
        }  # fmt: skip


def _alone(asked: Questions) -> Questions:
    """The same questions without earlier rounds."""
    return asked.model_copy(update={"rounds": 0, "neutral": False})


def made_with(recipe: Recipe | BaseRecipe) -> dict[str, Any]:
    """The version of visift and the hashes of the models that `recipe` starts from; a hub id has none. Loads no torch."""
    if isinstance(recipe, Recipe):
        names = {recipe.base, *(arm.model for arm in recipe.arms.values())} - set(recipe.arms)
    else:
        names = {recipe.pretrain.get("start") or ""}
    folders = {n: BUILTIN if n == "builtin" else Path(n) for n in sorted(names - {""})}
    return {"visift": visift.__version__, "models": {n: model_hashes(folder) for n, folder in folders.items()}}


def machine() -> dict[str, Any]:
    """What it ran on."""
    from importlib.metadata import version

    names = ("torch", "transformers", "numpy", "pillow")
    return {
        "visift": visift.__version__, "python": platform.python_version(), "system": platform.system(),
        "processor": platform.machine(), "cores": os.cpu_count() or 1, **{name: version(name) for name in names},
    }  # fmt: skip
