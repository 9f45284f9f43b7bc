"""What tasks, models and controls are called on the page, and in which order they stand."""

from __future__ import annotations

MODELS = ("base", "control", "listing", "blind")  # in this order, before others
BUILTIN = "the shipped weights: taught to read letters that stand on things, and no number on anything"
BLIND = "no model: at each number it says the name that stood there most often in training lists of that length"
TASKS = {
    "tag-listing": ("Tag listing", "name what stands at each number"),
    "existence": ("Existence", "is there a …? (POPE's three kinds of no)"),
    "counting": ("Counting", "how many …?"),
    "colour": ("Colour", "which colour has the …?"),
    "relation": ("Relation", "is the … left of, right of, above, below the …?"),
    "caption": ("Caption", "which of the things are named"),
    "pope": ("POPE", "is there a …? F1 is the mean of three splits"),
    "mme": ("MME", "yes or no in 14 subtasks; points"),
    "gqa": ("GQA", ""),
    "vqav2": ("VQAv2", ""),
    "seed": ("SEED-Bench", ""),
    "mmbench": ("MMBench", ""),
    "scienceqa": ("ScienceQA", ""),
    "textvqa": ("TextVQA", ""),
    "mm-vet": ("MM-Vet", "graded by a judge"),
    "llava-bench-wild": ("LLaVA-Bench in the wild", "points relative to the reference's"),
    "llava-bench-coco": ("LLaVA-Bench COCO", "points relative to the reference's"),
    "owleval": ("OwlEval", ""),
    "chair": ("CHAIR", "things named that are not there"),
    "demon": ("DEMON", ""),
}
VARIANTS = {
    "shuffled": "truth permuted",
    "area": "numbered by area",
    "grey": "grey picture",
    "tagged": "on tagged pictures",
    "cluttered": "in clutter",
}
CONTROLS = {  # where it is found in a model's or a task's name, what it is called, what it tells
    "blind": (
        "Blind reader",
        "Says the same list for every picture with as many numbers: the most frequent name at each number of the training "
        "lists. Whatever it scores can be had without looking.",
    ),
    "grey": (
        "Grey picture",
        "The tuned model is asked about an even grey picture of the same size. What is left of its score comes from habit, "
        "not from the picture.",
    ),
    "shuffled": (
        "Truth permuted",
        "The same answers, scored after the truth of each picture was moved to other numbers. A model that ties each number "
        "to its object falls to about zero; one that names the right things in any order does not. Pictures where one name "
        "stands on more than half of the numbers are left out.",
    ),
    "area": (
        "Numbered by area",
        "The same scenes, numbered by size instead of at random. A higher score here than with random numbers would mean "
        "that the order gives objects away.",
    ),
}  # fmt: skip


def ordered_models(names: list[str]) -> list[str]:
    """Known models in their order, then the others as they come."""
    return [m for m in MODELS if m in names] + [n for n in names if n not in MODELS]


def ordered_tasks(names: list[str]) -> list[str]:
    """Known tasks in their order, each followed by its variants, then the others as they come."""
    bases, variants = list(TASKS), ["", *VARIANTS]

    def place(name: str) -> tuple[int, int]:
        base, variant = split_task(name)
        return (bases.index(base) if base in TASKS else len(bases), variants.index(variant))

    return sorted(names, key=place)


def split_task(name: str) -> tuple[str, str]:
    """`existence-tagged` -> (`existence`, `tagged`); the variant is empty where there is none."""
    base, _, variant = name.rpartition("-")
    return (base, variant) if base and variant in VARIANTS else (name, "")


def task_title(name: str) -> str:
    base, variant = split_task(name)
    title = TASKS[base][0] if base in TASKS else base
    return f"{title}, {VARIANTS[variant]}" if variant else title


def task_note(name: str) -> str:
    base, _ = split_task(name)
    return TASKS[base][1] if base in TASKS else ""


def metric_title(name: str) -> str:
    return {"f1": "F1", "position_free": "any order", "per_item": "per item"}.get(name, name.replace("_", " "))
