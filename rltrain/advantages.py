"""From scores to advantages. Pure functions over the scores of whole groups.

Shapes: a group has G completions; a reward's values are a list of G floats, None where it does not
apply. A completion whose score failed carries advantage 0: it is neither praised nor blamed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from rltrain.types import Advantage, Group, Score

EPSILON = 1e-4  # added to a standard deviation, as in TRL's GRPOTrainer


def assign(
    groups: Sequence[Group],
    weights: Mapping[str, float],
    *,
    scale: Literal["none", "group", "batch"],
    combine: Literal["sum_then_normalize", "normalize_then_sum"],
) -> list[Group]:
    """The groups with one Advantage per completion.

    `scale`: divide by nothing (Dr. GRPO), by the group's standard deviation (GRPO) or by the batch's.
    `combine`: normalise the weighted sum, or normalise each reward inside its group and then sum; the
    latter with `scale: batch` normalises the sums over the batch once more (GDPO, arXiv 2601.05242).
    """
    if combine == "normalize_then_sum":
        rows = _sums_of_normalized([group.scores for group in groups], weights, scale)
        return [_with(group, _explained(group.scores, row)) for group, row in zip(groups, rows, strict=True)]
    rewards = [totals(group.scores) for group in groups]
    spread = batch_std(rewards) if scale == "batch" else None
    return [_with(group, normalize(row, scale, spread)) for group, row in zip(groups, rewards, strict=True)]


def withhold(groups: Sequence[Group], lucky: Collection[int], cap: float) -> list[Group]:
    """The groups, those with these tickets scaled so that their largest advantage is `cap`; 0 leaves them out.

    The negative advantages go with the positive ones: alone they say of all that was sampled that it is worse than
    what was withheld, and an optimizer that divides by the size of gradients makes whole steps of that. The
    baseline becomes the one that explains the value left; the group says how much was withheld.
    """
    return [_capped(group, cap) if group.ticket in lucky else group for group in groups]


def _capped(group: Group, cap: float) -> Group:
    best = max((a.value for a in group.advantages), default=0.0)
    if best <= cap:
        return group
    kept = [
        Advantage(left := a.value * cap / best, a.baseline + (a.value - left) * a.scale, a.scale)
        for a in group.advantages
    ]
    taken = sum(max(0.0, a.value - k.value) for a, k in zip(group.advantages, kept, strict=True))
    return dataclasses.replace(_with(group, kept), withheld=taken)


def withheld(groups: Sequence[Group]) -> dict[str, float]:
    """advantage/* of the admitted groups: how much of the positive advantage was withheld, in how many groups."""
    trained = [group for group in groups if group.admitted]
    taken = sum(group.withheld for group in trained)
    left = sum(max(0.0, a.value) for group in trained for a in group.advantages)
    return {
        "advantage/lucky_groups": float(sum(group.withheld > 0 for group in trained)),
        "advantage/withheld": taken / (taken + left) if taken else 0.0,
    }


def totals(scores: Sequence[Score]) -> np.ndarray:
    """(G,) float64 totals, NaN where the score failed."""
    return np.array([math.nan if score.error else score.total for score in scores])


def batch_std(rewards: Sequence[np.ndarray]) -> float:
    """Standard deviation (with Bessel's correction, as torch has it) over all known rewards of the batch."""
    known = np.concatenate(list(rewards))
    known = known[~np.isnan(known)]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0


def normalize(rewards_G: np.ndarray, scale: str, spread: float | None = None) -> list[Advantage]:
    """(reward - mean of the group) / scale, for each completion of one group."""
    known = rewards_G[~np.isnan(rewards_G)]
    baseline = float(known.mean()) if len(known) else 0.0
    if scale == "none":
        divisor = 1.0
    elif scale == "batch":
        divisor = (spread or 0.0) + EPSILON
    else:
        divisor = (float(known.std(ddof=1)) if len(known) > 1 else 0.0) + EPSILON
    return [
        Advantage(0.0 if math.isnan(reward) else (reward - baseline) / divisor, baseline, divisor)
        for reward in rewards_G.tolist()
    ]


def _sums_of_normalized(
    groups: Sequence[Sequence[Score]], weights: Mapping[str, float], scale: str
) -> list[np.ndarray]:
    """(G,) a group: each reward normalised over the completions it applies to, summed by weight; NaN = failed."""
    rows = [_sum_of_normalized(scores, weights, "none" if scale == "none" else "group") for scores in groups]
    known = np.concatenate(rows)[~np.isnan(np.concatenate(rows))]
    if scale == "batch" and len(known):
        mean, spread = float(known.mean()), batch_std(rows)
        rows = [(row - mean) / (spread + EPSILON) for row in rows]
    return rows


def _sum_of_normalized(scores: Sequence[Score], weights: Mapping[str, float], scale: str) -> np.ndarray:
    summed = np.where([score.error is not None for score in scores], math.nan, 0.0)
    for name in sorted({name for score in scores for name in score.values}):
        values = np.array([math.nan if s.error or s.values.get(name) is None else s.values[name] for s in scores])
        summed += weights.get(name, 1.0) * np.array([term.value for term in normalize(values, scale)])
    return summed


def _explained(scores: Sequence[Score], values_G: np.ndarray) -> list[Advantage]:
    """Advantages that no single baseline explains: the one is named that the total would have had to be above."""
    return [
        Advantage(0.0, score.total, 1.0) if math.isnan(value) else Advantage(value, score.total - value, 1.0)
        for score, value in zip(scores, values_G.tolist(), strict=True)
    ]


def _with(group: Group, advantages: Sequence[Advantage]) -> Group:
    return dataclasses.replace(group, advantages=tuple(advantages))


def zero_variance(group: Group) -> bool:
    """Whether all known outcomes are equal: such a group says nothing about better and worse.

    Looks at the outcome, never at the shaped total: two wrong answers of different length differ in
    reward and not in worth.
    """
    outcomes = group.outcomes
    return bool(outcomes) and max(outcomes) == min(outcomes)


def token_advantages(group: Group, sample: int) -> np.ndarray:
    """(T,) float32: the completion's advantage on every token, plus token-level credit where it was given."""
    length = len(group.completions[sample].token_ids)
    row = np.full(length, group.advantages[sample].value, dtype=np.float32)
    return row + group.planning_bonus[sample] if group.planning_bonus else row
