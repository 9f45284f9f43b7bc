"""List items one by one: a tagged picture, an instruction, and what stands at each number (papers.md A.1.3, A.4.4)."""

from __future__ import annotations

from collections.abc import Sequence

from visift.core.dataset import Made
from visift.core.errors import UsageError
from visift.core.lists import render_list
from visift.core.seeds import rng
from visift.core.types import Conversation, Mark, Scene, assistant, user
from visift.synth.frame import TAG_OPTIONS, Kind, Task, draw_tagged, provenance, row_id
from visift.synth.rules import with_article

# Our own wording. Few words, used often: a small model should spend its capacity on the picture.
INSTRUCTIONS = (
    "List the numbered objects one by one.",
    "List what each number marks.",
    "Name every numbered object in order.",
    "What is at each number?",
    "What stands at each number? Answer as a list.",
    "Go through the numbers and name each object.",
    "Give the name of each numbered object.",
    "Write a list of all numbered objects.",
    "For each number, say what it marks.",
    "Starting at 1, name each numbered object.",
    "Name the object at every number, one by one.",
    "Read the numbers and list their objects.",
    "Which object is at which number? List them all.",
    "List all numbered objects in the picture.",
    "Say what each number in the picture marks.",
    "Count up through the numbers and name each object.",
    "Make a list: number, then object.",
    "What does each number mark?",
    "What do the numbers mark? List them in order.",
    "Tell me what is under each number.",
    "Look at the numbers. List the object at each.",
    "List the objects from number 1 to the last number.",
    "Identify the object at each number.",
    "Identify every numbered object, one by one.",
    "Label each number with its object.",
    "Match each number with its object.",
    "In the order of the numbers, list the objects.",
    "Name what is marked by each number.",
    "Every number marks one object. List them.",
    "The picture has numbers on it. List what they mark.",
    "The objects are numbered. List them by number.",
    "Each object has a number. Name them in order.",
    "Please list the numbered objects.",
    "Please name the object at each number.",
    "Please go through all numbers and say what each marks.",
    "Can you list what each number marks?",
    "Can you name all numbered objects in order?",
    "Give me a list of the objects by number.",
    "Give one line for each number: what is there?",
    "Write one line for each number with the name of its object.",
    "Describe each numbered object in a few words.",
    "One by one, what are the numbered objects?",
    "Start with number 1 and list all objects.",
    "Which objects are numbered? List them in order.",
)
TINY = 0.0015  # of the picture's area: below, a varied list admits doubt
HIDDEN = 0.45  # of the region's own box: where less of it is left, a varied list says that it is partly hidden


def make(task: Task, scene: Scene) -> Made:
    """One conversation: picture and instruction, then the list of all marks in order."""
    if task.options["answers"] not in ("plain", "varied"):
        raise UsageError(f"answers {task.options['answers']!r} is neither plain nor varied")
    tagged, picture, rejected = draw_tagged(task, scene)
    gen = rng(task.seed, "listing", scene.id)
    number = int(gen.integers(len(INSTRUCTIONS)))
    style = int(gen.integers(len(ANSWERS))) if task.options["answers"] == "varied" else 0
    text = ANSWERS[style](tagged.marks, scene)
    conversation = Conversation(
        row_id("listing", scene), (picture,), (user(0, INSTRUCTIONS[number]), assistant(text, "list")),
        provenance(task, scene, template=f"listing/{number:02d}"),
    )  # fmt: skip
    return Made([conversation], [tagged], rejected)


def _plain(marks: Sequence[Mark], scene: Scene) -> str:
    return render_list({m.number: m.name for m in marks})


def _with_article(marks: Sequence[Mark], scene: Scene) -> str:
    return render_list({m.number: f"{with_article(m.name)[:1].upper()}{with_article(m.name)[1:]}." for m in marks})


def _with_doubt(marks: Sequence[Mark], scene: Scene) -> str:
    return render_list({m.number: f"{m.name}{_doubt(m, scene)}" for m in marks})


def _doubt(mark: Mark, scene: Scene) -> str:
    """A remark where the thing is very small, or where other things cover much of it."""
    region = next(r for r in scene.regions if r.id == mark.region)
    whole = max(region.mask(scene.height, scene.width).sum(), 1)
    if mark.area / whole < HIDDEN:
        return " (partly hidden)"
    return " (very small, hard to tell)" if mark.area < TINY * scene.width * scene.height else ""


ANSWERS = (_plain, _with_article, _with_doubt)
KIND = Kind(make, {**TAG_OPTIONS, "answers": "plain"})
