"""Held-out evaluation: outcomes of a policy on fixed prompts, pass@k without bias, paired intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rltrain.types import Group

RESAMPLES = 10_000


class Interval(NamedTuple):
    """A mean with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def outcomes(groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Task key -> (n,) outcomes. A failed score counts as 0 here: an answer nobody could judge did not pass."""
    return {
        g.task.key: np.array([s.outcome if s.outcome is not None else 0.0 for s in g.scores])
        for g in groups
        if any(s.outcome is not None or s.error for s in g.scores)
    }


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of k samples is correct, estimated from n without bias.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374).
    """
    assert 1 <= k <= n, (n, k)
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def summarize(groups: Sequence[Group], *, solved: float = 1.0) -> dict[str, float]:
    """eval/* metrics: mean outcome in all and per source, pass@k for powers of two, length, forms of the answers."""
    by_key = outcomes(groups)
    if not by_key:
        return {}
    metrics = {
        "eval/outcome": float(np.mean([row.mean() for row in by_key.values()])),
        "eval/prompts": float(len(by_key)),
    }
    source = {g.task.key: g.task.source for g in groups}
    for name in sorted(set(source.values())):
        means = [row.mean() for key, row in by_key.items() if source[key] == name]
        if means:
            metrics |= {f"eval/outcome@{name}": float(np.mean(means)), f"eval/prompts@{name}": float(len(means))}
    n = min(len(row) for row in by_key.values())
    for k in (2**i for i in range(n.bit_length())):
        rates = [pass_at_k(len(row), int((row >= solved).sum()), k) for row in by_key.values()]
        metrics[f"eval/pass_at@{k}"] = float(np.mean(rates))
    lengths = [len(c.token_ids) for g in groups for c in g.completions]
    metrics |= {"eval/length": float(np.mean(lengths)), "eval/completions": float(len(lengths))}
    return metrics | {f"eval/format_share@{form}": share for form, share in sorted(form_shares(groups).items())}


def form_shares(groups: Sequence[Group]) -> dict[str, float]:
    """Share of the completions in each form of an answer."""
    forms = Counter(form for g in groups for form in g.formats)
    return {form: count / forms.total() for form, count in forms.items()}


def form_distance(now: Mapping[str, float], base: Mapping[str, float]) -> float:
    """Total variation between two sets of shares: the part of the completions that would have to change form."""
    return sum(abs(now.get(form, 0.0) - base.get(form, 0.0)) for form in {*now, *base}) / 2


def paired_difference(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], *, seed: int = 0, statistic=np.mean
) -> Interval:
    """Mean of after - before over the prompts both have, resampled by prompt (percentile bootstrap)."""
    keys = sorted(before.keys() & after.keys())
    if not keys:
        raise ValueError("the two evaluations have no prompt in common")
    gains = np.array([statistic(after[key]) - statistic(before[key]) for key in keys])
    draws = np.random.default_rng(seed).integers(len(gains), size=(RESAMPLES, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(gains.mean()), float(low), float(high))
