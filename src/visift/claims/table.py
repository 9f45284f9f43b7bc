"""One row a claim: what the paper says, which recipe tests it, and which two numbers are subtracted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Arm:
    """A number of a run: the headline score of `model` on `task` in the recipe's `variant`."""

    model: str
    task: str
    variant: str = "as shipped"


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """`direction`: up (effect above 0), about zero (within +-margin). `section` is where research notes derive it from.

    `effect` is `plus` minus `minus`; with `rivals`, minus the mean of `minus` and them, but the verdict asks for every one of the
    differences, which are shown. A claim without a recipe is out of this world's reach; `reach` says why.
    """

    name: str
    paper: str
    section: str
    text: str
    recipe: str = ""
    metric: str = ""
    direction: Literal["up", "about zero"] = "up"
    plus: Arm | None = None
    minus: Arm | None = None
    rivals: tuple[Arm, ...] = ()
    margin: float = 0.03
    variants: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"as shipped": ()})
    reach: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def against(self) -> tuple[Arm, ...]:
        return (self.minus, *self.rivals) if self.minus else ()


# A tenth of the demo's data in the same shares and for as many steps, so that each list is shown ten times; the control arm and
# the other questions say nothing about lists.
FEW = (
    "data.vqa.tabletop=190",
    "data.vqa-cluttered.tabletop=60",
    "data.lists.tabletop=80",
    "data.tag-qa.tabletop=30",
    "arms={listing: {stage: full, data: [vqa, vqa-cluttered, lists, tag-qa]}}",
    "questions={tag-listing: {task: tag-listing, kind: listing, tabletop: 250, split: held-out, options: {model_px: 112}, max_new_tokens: 56}}",
    "controls={}",
    "compare=[]",
    "claims=[]",
)

VPGC_LAYERS = range(6)  # of the built-in model
VPGC_MIDDLE = 3  # where the adapter hangs unless a recipe says otherwise
# The recipe as shipped asks the base too; its variants ask the adapter alone, each with one thing changed.
VPGC_ADAPTER_ONLY = (
    "questions.difference.models=[adapter]",
    "questions.existence.models=[adapter]",
    "compare=[]",
    "claims=[]",
)
VPGC_VARIANTS = {"as shipped": ()} | {
    name: (*VPGC_ADAPTER_ONLY, *changes)
    for name, changes in {
        "captions only": ("arms.adapter.data=[captions]", "train.joint=[]"),
        "zero guidance": ("train.vpgc_guidance=zero",),
        "shuffled guidance": ("train.vpgc_guidance=shuffled",),
        **{f"layer {k}": (f"train.vpgc_layer={k}",) for k in VPGC_LAYERS if k != VPGC_MIDDLE},
        "a quarter of the pairs": ("data.difference.tabletop=50",),
        "four times the pairs": ("data.difference.tabletop=800",),
        "random targets": ("data.difference.options.targets=random",),
        "salient targets": ("data.difference.options.targets=salient",),
    }.items()
}


def vpgc(variant: str = "as shipped", model: str = "adapter", task: str = "difference") -> Arm:
    return Arm(model, task, variant)


def vpgc_claim(name: str, text: str, plus: Arm, minus: Arm, *rivals: Arm, **more: Any) -> PaperClaim:
    """A claim of Cheetah's, by the recipe vpgc_claims and those of its variants that it needs."""
    arms = (plus, minus, *rivals)
    variants = {a.variant: VPGC_VARIANTS[a.variant] for a in arms}
    given = {"metric": "f1", "direction": "up", **more}
    return PaperClaim(
        name, "Cheetah", "B.5", text, "vpgc_claims", plus=plus, minus=minus, rivals=rivals, variants=variants, **given
    )


CLAIMS = {
    claim.name: claim
    for claim in (
        PaperClaim(
            "A1", "SoM-LLaVA", "A.5", "Lists teach which number marks which object, the more of them the better",
            "demo", "accuracy", "up", Arm("listing", "tag-listing"), Arm("listing", "tag-listing", "few lists"),
            variants={"as shipped": (), "few lists": FEW},
        ),
        PaperClaim(
            "A2", "SoM-LLaVA", "A.5", "A larger language model lists better",
            reach="needs two sizes of one pretrained family; the built-in model has one size",
        ),
        PaperClaim(
            "A4", "SoM-LLaVA", "A.5", "Whether a thing is there is answered better, on pictures without tags",
            "demo", "f1", "up", Arm("listing", "existence-cluttered"), Arm("base", "existence-cluttered"),
        ),
        PaperClaim(
            "A6", "SoM-LLaVA", "A.5", "Tags are optional at test time: existence with and without them",
            "demo", "f1", "about zero", Arm("listing", "existence-tagged"), Arm("listing", "existence"),
        ),
        PaperClaim(
            "A7", "SoM-LLaVA", "A.5", "The gain is not just as many captions and questions on the same pictures",
            "demo", "f1", "up", Arm("listing", "existence-cluttered"), Arm("control", "existence-cluttered"),
        ),
        vpgc_claim(
            "B1", "Half-way guidance and re-extraction, trained on captions, beat the frozen model's own prompts",
            vpgc("captions only"), vpgc(model="base"),
        ),
        vpgc_claim("B2", "Difference pairs add to captions", vpgc(), vpgc("captions only")),
        vpgc_claim(
            "B3", "The guidance matters: the prompt's against none and against another row's",
            vpgc(), vpgc("zero guidance"), vpgc("shuffled guidance"),
        ),
        vpgc_claim(
            "B4", "The middle layer is best", vpgc(), *(vpgc(f"layer {k}") for k in VPGC_LAYERS if k != VPGC_MIDDLE),
        ),
        vpgc_claim(
            "B5", "There is a best amount of difference pairs: more help, then they harm",
            vpgc(), vpgc("a quarter of the pairs"), vpgc("four times the pairs"),
        ),
        vpgc_claim("B6", "It works without a Q-Former, in the linear form", vpgc(), vpgc(model="base")),
        vpgc_claim(
            "B7", "Edits of ignored things teach more than those of random or of salient ones",
            vpgc(), vpgc("random targets"), vpgc("salient targets"),
        ),
        vpgc_claim(
            "B8", "What the model sees in a single picture is unharmed",
            vpgc(task="existence"), vpgc(model="base", task="existence"), direction="about zero",
        ),
        PaperClaim(
            "C1", "COCO is ALL", "C.5", "Tuned on dialogues of one form each, a model says less after one short answer (MR-0 against MR-1)",
            "response_forms", "recall", "up", Arm("one-form", "caption"), Arm("one-form", "caption-after-short"),
        ),
        PaperClaim(
            "C2", "COCO is ALL", "C.5", "Dialogues that mix forms, each asked for, cure it (MR-1)",
            "response_forms", "recall", "up", Arm("every", "caption-after-short"), Arm("one-form", "caption-after-short"),
        ),
        PaperClaim(
            "C3", "COCO is ALL", "C.5", "Single-round quality is kept (MR-0)",
            "response_forms", "recall", "about zero", Arm("every", "caption"), Arm("one-form", "caption"),
        ),
        PaperClaim(
            "C4", "COCO is ALL", "C.5", "Open-ended scores rise on a judged benchmark of real photographs",
            reach="needs real photographs, a real model and a judge; the tabletop world has none of them",
        ),
        PaperClaim(
            "C5", "COCO is ALL", "C.5", "Short answers, asked for, survive: counting",
            "response_forms", "accuracy", "about zero", Arm("every", "counting"), Arm("one-form", "counting"),
        ),
    )
}  # fmt: skip


def lines() -> list[str]:
    """The table as text."""
    rows = []
    for c in CLAIMS.values():
        how = f"recipe {c.recipe}, {c.metric}, {c.direction}" if c.recipe else f"out of reach here: {c.reach}"
        rows.append(f"{c.name:4} {c.paper:12} {c.section:5} {c.text} [{how}]")
    return rows
