"""Rounds into dialogues: no question twice, forms that switch as often as wanted, caps that spill over (papers.md C.1.3)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from visift.core.types import Turn, assistant, user
from visift.synth.dialog.forms import FORMS
from visift.synth.dialog.rounds import Gen, Round, pick

BYTES_PER_TOKEN = 4  # as `visift check` counts


def normalised(question: str) -> str:
    """Lower-case words and figures alone: `How many dogs?` and `how many Dogs` are the same question."""
    return " ".join(re.findall(r"\w+", question.lower()))


def distinct(rounds: Sequence[Round]) -> list[Round]:
    """Without repeated questions; the first of a kind stays."""
    found: dict[str, Round] = {}
    for round_ in rounds:
        found.setdefault(normalised(round_.question), round_)
    return list(found.values())


def tokens(round_: Round) -> int:
    return (
        math.ceil(len(f"{round_.question} {round_.answer}".encode()) / BYTES_PER_TOKEN) + 12
    )  # the request, the roles


def in_order(gen: Gen, rounds: Sequence[Round], switch: float) -> list[Round]:
    """A random order in which about the share `switch` of neighbours differ in form, as far as the forms allow it. Rounds that
    refer to each other stay together, in their order; nothing is told before it is asked. With `switch` 0 every form stands by
    itself, to become a dialogue of its own.

    There is such an order if the rounds' own is one, hints aside: those that hint at nothing in it, then the others.
    """
    blocks: dict[object, list[Round]] = {}
    for k, round_ in enumerate(rounds):
        blocks.setdefault(round_.group or k, []).append(round_)
    together = list(blocks.values())
    waiting = [together[int(k)] for k in gen.permutation(len(together))]
    ordered: list[Round] = []
    switches = 0
    while waiting:
        ready: dict[str, list[list[Round]]] = {}  # form of the block's first round -> blocks
        for block in waiting:
            near = (b for b in waiting if b is not block and (switch > 0 or b[0].form == block[0].form))
            if not any(_tells(block, other) for other in near):
                ready.setdefault(block[0].form, []).append(block)
        last = ordered[-1].form if ordered else ""
        others = [form for form in ready if form != last]
        wanted = switches < switch * len(ordered) or last not in ready
        form = _other(gen, Counter(b[0].form for b in waiting), others) if others and wanted else last
        block = ready[form][-1]
        switches += sum(x.form != y.form for x, y in pairwise([*ordered[-1:], *block]))
        ordered += block
        waiting.remove(block)
    return ordered


def _tells(block: Sequence[Round], other: Sequence[Round]) -> bool:
    """Whether `block` gives away what `other` asks."""
    return any((x.facts | x.hints) & y.clash for x in block for y in other)


def _other(gen: Gen, left: Counter[str], others: list[str]) -> str:
    """One of `others` at random; the most frequent one where putting it off would leave it to itself in the end."""
    largest = max(others, key=left.__getitem__)
    return largest if 2 * left[largest] >= left.total() else str(pick(gen, others))


def split(rounds: Sequence[Round], most: int, most_tokens: int, switch: float) -> list[list[Round]]:
    """Dialogues of at most `most` rounds and `most_tokens`, about equally long. With `switch` 0 a dialogue has one form."""
    runs: list[list[Round]] = []
    for round_ in rounds:
        if runs and (switch > 0 or runs[-1][-1].form == round_.form):
            runs[-1].append(round_)
        else:
            runs.append([round_])
    dialogues: list[list[Round]] = []
    for run in runs:
        longest = math.ceil(len(run) / math.ceil(len(run) / most))
        dialogues.append([])
        for round_ in run:
            full = sum(map(tokens, dialogues[-1])) + tokens(round_) > most_tokens
            if dialogues[-1] and (full or len(dialogues[-1]) == longest):
                dialogues.append([])
            dialogues[-1].append(round_)
    return dialogues


def turns_of(gen: Gen, dialogue: Sequence[Round], request: str) -> tuple[Turn, ...]:
    """The dialogue about picture 0. `request`: on every round, on the first alone, or never."""
    turns: list[Turn] = []
    for k, round_ in enumerate(dialogue):
        wish = pick(gen, FORMS[round_.form].requests)  # drawn always, so that the three variants share their wordings
        asks = round_.request and (request == "every" or (request == "first" and k == 0))
        question = (
            f"{round_.question}{chr(10) if chr(10) in round_.question else ' '}{wish}" if asks else round_.question
        )
        turns += [user(*([0] if k == 0 else []), question), replace(assistant(round_.answer), form=round_.form)]
    return tuple(turns)
