"""Distances and scores that move by degrees where pass/fail jumps (arXiv 2304.15004)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def tokens(text: str) -> list[str]:
    """Words, single digits and signs, in lower case: tokens that are the same for every model and in every file."""
    return re.findall(r"\d|[^\W\d_]+|[^\w\s]|_", text.lower())


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Insertions, deletions and replacements that turn one sequence into the other (Levenshtein 1966)."""
    return int(_distances(a, b, free=False)[-1])


def nearest(part: Sequence[object], whole: Sequence[object]) -> int:
    """Edits from `part` to the stretch of `whole` that is nearest to it (Sellers 1980); at most len(part)."""
    return int(_distances(part, whole, free=True).min())


def brier(probabilities: Sequence[float] | np.ndarray, right: int) -> float:
    """sum over options of (p - [option is right])^2, in [0, 2] (Brier 1950)."""
    p = np.array(probabilities, float)
    p[right] -= 1.0
    return float(p @ p)


def softmax(logits: Sequence[float] | np.ndarray) -> np.ndarray:
    """Probabilities in proportion to exp(logits)."""
    z = np.exp(np.asarray(logits, float) - np.max(logits))
    return z / z.sum()


def _distances(a: Sequence[object], b: Sequence[object], *, free: bool) -> np.ndarray:
    """Edits from all of `a` to each beginning of `b`, (len(b) + 1,); `free`: to any stretch that ends there.

    One row of the table for each entry of `a`. Inside a row an entry may come from its left neighbour at cost 1:
    a running minimum of the row less its slope.
    """
    if len(a) > len(b) and not free:
        a, b = b, a  # rows cost more than columns
    codes = {item: i for i, item in enumerate(dict.fromkeys((*a, *b)))}
    columns = np.array([codes[item] for item in b], int)
    slope = np.arange(len(b) + 1)
    row = np.zeros(len(b) + 1, int) if free else slope
    for item in a:
        changed = np.minimum(row[1:] + 1, row[:-1] + (columns != codes[item]))
        row = np.minimum.accumulate(np.r_[row[0] + 1, changed] - slope) + slope
    return row
