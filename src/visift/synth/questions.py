"""Untagged rounds as datasets: `skills` to learn from, `questions` to be measured by (the reference is the last turn)."""

from __future__ import annotations

from visift.core.dataset import Made, Rejection
from visift.core.errors import DataError, UsageError
from visift.core.files import under
from visift.core.seeds import rng
from visift.core.types import Conversation, Picture, Scene, TaggedPicture, Turn, assistant, user
from visift.sources.pictures import write_jpeg
from visift.synth.frame import TAG_OPTIONS, Kind, Task, draw_tagged, file_stem, provenance, row_id
from visift.synth.skills import SKILLS, Round, draw_round, existence

SPLITS = ("random", "popular", "adversarial")  # POPE's


def make_skills(task: Task, scene: Scene) -> Made:
    """One conversation of `rounds` different rounds in random order, a caption among them half the time."""
    _check(scene)
    gen = rng(task.seed, "skills", scene.id)
    asked = [name for name in SKILLS if name != "caption"]
    rounds: dict[str, Round] = {}
    if gen.random() < 0.5:
        found = draw_round(gen, scene, "caption")
        rounds[found.question] = found
    while len(rounds) < task.options["rounds"]:
        found = draw_round(gen, scene, asked[int(gen.integers(len(asked)))])
        rounds[found.question] = found
    order = gen.permutation(len(rounds))
    chosen = [list(rounds.values())[k] for k in order]
    turns: list[Turn] = []
    for k, found in enumerate(chosen):
        turns += [user(*([0] if k == 0 else []), found.question), assistant(found.answer, found.form)]
    return Made(
        [Conversation(row_id("skills", scene), (plain_picture(task, scene),), tuple(turns), provenance(task, scene))]
    )


def make_questions(task: Task, scene: Scene) -> Made:
    """`per_scene` questions of one skill, a conversation each; existence asks a yes and a no in each of POPE's splits.

    With `tagged` the same questions stand over the picture with numbers drawn on it; `wish` is added to each.
    """
    _check(scene)
    skill, number, wish = (task.options[name] for name in ("skill", "per_scene", "wish"))
    if skill not in SKILLS:
        raise UsageError(f"skill {skill!r} is not one of {', '.join(SKILLS)}")
    gen = rng(task.seed, "questions", skill, scene.id)
    rounds: dict[tuple[str, str], Round] = {}
    if skill == "existence":
        for split in SPLITS:
            for present in (True, False):
                found = existence(gen, scene, split, present)
                rounds[split, found.question] = found
    else:
        for _ in range(4 * number):
            found = draw_round(gen, scene, skill)
            if found.skill == skill and len(rounds) < number:
                rounds["", found.question] = found
    if not rounds:
        raise DataError(f"the scene offers no question of skill {skill}", where=f"scene {scene.id}")
    tagged: list[TaggedPicture] = []
    rejected: list[Rejection] = []
    if task.options["tagged"]:
        line, picture, rejected = draw_tagged(task, scene)
        tagged = [line]
    else:
        picture = plain_picture(task, scene)
    return Made(
        [
            Conversation(
                f"{row_id(skill, scene)}-{k}", (picture,), (user(0, f"{found.question} {wish}".rstrip()), assistant(found.answer, found.form)),
                provenance(task, scene, template=f"{skill}"), {"split": found.split} if found.split else {},
            )
            for k, found in enumerate(rounds.values())
        ],
        tagged,
        rejected,
    )  # fmt: skip


def _check(scene: Scene) -> None:
    if not scene.regions or any({"size", "colour"} - r.attributes.keys() for r in scene.regions):
        raise DataError(
            "skills ask for size and colour of every region", where=f"scene {scene.id}", remedy="use --tabletop"
        )


def plain_picture(task: Task, scene: Scene) -> Picture:
    """The picture as it is, written by the encoder that writes tagged ones."""
    relative = f"images/{file_stem(scene)}.jpg"
    sha256 = write_jpeg(task.source.open(scene), under(task.out, relative))
    return Picture(relative, sha256, scene.width, scene.height)


KIND = Kind(make_skills, {"rounds": 5})
QUESTIONS = Kind(make_questions, {**TAG_OPTIONS, "skill": "existence", "per_scene": 2, "tagged": False, "wish": ""})
