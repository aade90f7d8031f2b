"""How varied grams are, known only from those of a step: entropy, corrected for what was not seen, and variety.

The plain entropy of the observed shares is too low, and the lower the fewer grams a step has. Of five estimators the
one below has the smallest bias, and it still rises with the number of grams where most of them are seen once.
`variety` does not: it is what the phase is judged by. Both are measured by `benchmarks/semantic_entropy_bias.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import numpy as np


def entropy(counts: Iterable[int]) -> float:
    """Entropy in nats from positive counts (K,); NaN without any.

    The estimator of Chao, Wang and Jost (2013), Methods in Ecology and Evolution 4, 1091-1100, equation 7:
    an unbiased sum over the classes seen, plus what the unseen ones add, judged by the classes that were
    seen once (f1) and twice (f2).
    """
    n_k = np.fromiter(counts, np.int64)
    n = int(n_k.sum())
    if n == 0:
        return float("nan")
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n))])  # H_0 ... H_(n-1)
    seen = float((n_k / n * (harmonic[n - 1] - harmonic[n_k - 1])).sum())
    f1, f2 = int((n_k == 1).sum()), int((n_k == 2).sum())
    if f1 == 0 or n == 1:
        return seen
    a = 2 * f2 / ((n - 1) * f1 + 2 * f2) if f2 else 2 / ((n - 1) * (f1 - 1) + 2)
    return seen + f1 / n * _tail(a, n)


def _tail(a: float, n: int) -> float:
    """(1 - a)^(1 - n) x (-log a - sum over r < n of (1 - a)^r / r), where the paper's form does not cancel."""
    b = 1.0 - a
    if b > 0 and n * a < 10:
        powers = b ** np.arange(1, n)
        return float((-np.log(a) - (powers / np.arange(1, n)).sum()) / powers[-1])
    j = np.arange(1, int(37 / a) + 2)  # the same as a series; b^j is below 1e-16 after it
    return float((b**j / (n - 1 + j)).sum())


def variety(votes: Iterable[float], squares: float, voters: int) -> float:
    """Chance that grams taken from two different completions are not the same; NaN with fewer than two.

    Each of `voters` completions has one vote, shared among its grams by how often it has them; `votes` (K,) are the
    sums by gram, `squares` is the sum of all squared shares. A mean over pairs, so neither the number of
    completions nor that of grams in them moves it: the index of Simpson (1949), Nature 163, 688, between completions.
    """
    if voters < 2:
        return float("nan")
    return 1.0 - (sum(vote * vote for vote in votes) - squares) / (voters * (voters - 1))


def conditional_entropy(following: Mapping[Hashable, Mapping[Hashable, int]]) -> float:
    """Entropy in nats of what follows, given what it follows: sum of n_g / n x H(next | g). NaN without any."""
    sizes = [sum(counts.values()) for counts in following.values()]
    entropies = [entropy(counts.values()) for counts in following.values()]
    return float(np.dot(sizes, entropies) / sum(sizes)) if sizes else float("nan")


def coverage(counts: Iterable[int]) -> float:
    """Chance that the next gram is one that was seen, 1 - f1 / n (Good 1953, after Turing). NaN without any."""
    n_k = np.fromiter(counts, np.int64)
    return 1.0 - float((n_k == 1).sum() / n_k.sum()) if len(n_k) else float("nan")
