"""ROUGE-L F1 as DEMON scores it: the summary-level variant over sets of words of the `rouge` package 1.0.1, re-derived from its definition.

Sentences end at full stops. For each sentence of the truth the union of its longest common subsequences with the reply's sentences is
collected as a set of words; recall and precision divide by the number of different words. (google's rouge-score counts repeated words.)
"""

from __future__ import annotations


def common_words(x: list[str], y: list[str]) -> set[str]:
    """The words of one longest common subsequence of `x` and `y`; among equally long ones the package's choice, found from the ends:
    a pair of equal words is taken, else the step back that keeps more, `y` first."""
    table = [[0] * (len(y) + 1)]
    for a in x:
        above, row = table[-1], [0]
        for j, b in enumerate(y):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
        table.append(row)
    i, j, found = len(x), len(y), set()
    while i and j:
        if x[i - 1] == y[j - 1]:
            found.add(x[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def sentences(text: str) -> list[list[str]]:
    return [" ".join(s.split()).split(" ") for s in text.split(".") if s]


def rouge_l(said: str, truth: str) -> float:
    """F1 in 0..1; 0 where either holds no sentence (the package raises there)."""
    hypothesis, reference = sentences(said), sentences(truth)
    if not hypothesis or not reference:
        return 0.0
    union: set[str] = set()
    for r in reference:
        for h in hypothesis:
            union |= common_words(r, h)
    recall = len(union) / len({w for s in reference for w in s})
    precision = len(union) / len({w for s in hypothesis for w in s})
    return 2 * precision * recall / (precision + recall + 1e-8)
