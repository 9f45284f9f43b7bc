"""Short answers with ten human ones: VQA's normalisation and soft accuracy, as the official scorers compute them, quirks kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from visift.evals.parse import vqa_punctuation
from visift.evals.task import Question, Verdict

LONGEST = 20_000  # characters of a reply that are looked at
_NUMBERS = {
    w: str(k)
    for k, w in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
# The written-out forms; a word that lacks one of the apostrophes is mended. `let's`, `she's` map to themselves and are left out.
_ONE = """ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't it'd it'll
ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd
someone'll someone's something'd something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't
what'll what're what's what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't
y'all you'd you'll you're you've"""
_TWO = """couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've there'd've
they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've"""


def _contractions() -> dict[str, str]:
    found = {form.replace("'", ""): form for form in _ONE.split()}
    for form in _TWO.split():
        marks = [k for k, c in enumerate(form) if c == "'"]
        found |= {form[:k] + form[k + 1 :]: form for k in marks}
    ows = "'ow's'at"
    return found | {ows[1:]: ows, "'ows'at": ows, "'ow'sat": ows, "somebody'd": "somebodyd"}


CONTRACTIONS = _contractions()


def flat(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def words(text: str) -> str:
    """Lower case, number words as digits, no articles, apostrophes put back."""
    kept = (_NUMBERS.get(w, w) for w in text.lower().split())
    return " ".join(CONTRACTIONS.get(w, w) for w in kept if w not in _ARTICLES)


def official(text: str) -> str:
    """A prediction as VQA's official scorer reads it."""
    return words(vqa_punctuation(flat(text[:LONGEST])))


def evalai(text: str) -> str:
    """Prediction or truth as TextVQA's scorer (EvalAI, used by LLaVA) reads it."""
    text = text[:LONGEST].lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return words(vqa_punctuation(flat(text)))


def soft_accuracy(said: str, truths: Sequence[str]) -> float:
    """Mean over leaving one human out of min(1, agreeing others / 3)."""
    agree = sum(t == said for t in truths)
    total = sum(min(1.0, (agree - (t == said)) / 3) for t in truths)
    return total / len(truths) if truths else 0.0


def judge(question: Question, said: Any) -> Verdict:
    """`question.gold` holds the normalised human answers."""
    value = soft_accuracy(said or "", question.gold)
    return Verdict(
        value, f"{str(said)[:80] or 'no answer'}, truth {question.gold[0]}", {"n": 1.0, "right": value}, bool(said)
    )
