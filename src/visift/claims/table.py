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

    `effect` is `plus` minus `minus`. A claim without a recipe is out of this world's reach; `reach` says why.
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
    margin: float = 0.03
    variants: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"as shipped": ()})
    reach: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


FEW = ("data.lists.tabletop=500", "data.tag-qa.tabletop=250")

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
            "A6", "SoM-LLaVA", "A.5", "Tags are optional at test time: existence with and without them",
            "demo", "f1", "about zero", Arm("listing", "existence-tagged"), Arm("listing", "existence"),
        ),
        PaperClaim(
            "A7", "SoM-LLaVA", "A.5", "The gain is not just as many captions and questions on the same pictures",
            "demo", "f1", "up", Arm("listing", "existence"), Arm("control", "existence"),
        ),
        PaperClaim(
            "C4", "COCO is ALL", "C.5", "Open-ended scores rise on a judged benchmark of real photographs",
            reach="needs real photographs, a real model and a judge; the tabletop world has none of them",
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
