"""Drawing prompts: weighted, without repeats, at a cost that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CANDIDATES = 16  # weighed for each one drawn, of a pool that holds more


def candidates(count: int) -> int:
    """How many rows are weighed to draw this many."""
    return CANDIDATES * (count + 1)


def draw(
    rows: np.ndarray, count: int, weigh: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Up to `count` different rows, likelier with their weight.

    Of many rows some candidates are weighed, not all. Keys u^(1/w) after Efraimidis and Spirakis (2006).
    """
    if not len(rows) or count <= 0:
        return rows[:0]
    if len(rows) > candidates(count):
        rows = np.unique(rows[rng.integers(len(rows), size=candidates(count))])
    keys = np.log(rng.random(len(rows))) / np.maximum(weigh(rows), 1e-12)
    return rows[np.argsort(-keys, kind="stable")[:count]]


def oldest(rows: np.ndarray, count: int, due: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to `count` rows, those that have been due for longest first; of very many, of a part drawn by chance."""
    if count <= 0:
        return rows[:0]
    if len(rows) > 4096:
        rows = np.unique(rows[rng.integers(len(rows), size=4096)])
    return rows[np.argsort(due[rows], kind="stable")[:count]]


def rounded(number: float, rng: np.random.Generator) -> int:
    """The whole number below or above, so that the mean is the number itself."""
    return int(number + rng.random())
