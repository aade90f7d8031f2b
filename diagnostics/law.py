"""The law of reward against entropy, R = b - a exp(H) (Cui et al. 2025, arXiv 2505.22617), fitted to a run.

Both series are noisy, and noise in H flattens a least-squares line: the slope comes out too small, the ceiling too
near to today's outcome, the more surely so the longer the run. The noise of one step is not in its neighbours, so a
step stands in the fit where their mean puts it (an instrument, as in two-stage least squares); the slope is free of
the noise then, whatever its size, and also of what prompts of a step do to outcome and entropy at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.noise import noise_of
from diagnostics.student import student_t

MIN_STEPS = 12  # a fit rests on, unless somebody says otherwise
FEWEST = 8  # steps below which nobody can
IMPOSSIBLE = 100.0  # nats of a token that no vocabulary has; such a step counts as unknown
MOST = 1.0  # the largest outcome there is (`Score.outcome`)
NEAR = 4  # steps either side that place a step; in a long run an eighth of it
POINTS = 512  # as many steps as a fit takes one by one; of a longer run neighbours are averaged


class Fit(NamedTuple):
    """R = b - a exp(H), and its ceiling b - a with a 95% interval."""

    a: float
    b: float
    ceiling: float
    low: float
    high: float
    steps: int  # it rests on


def fit(entropy: Sequence[float], outcome: Sequence[float], min_steps: int = MIN_STEPS) -> Fit | None:
    """The law through the steps (nats, shares; NaN is unknown); None where there is too little to tell.

    Too little: fewer than `min_steps` steps, or an interval of `a` that holds 0. An interval wholly above `MOST` is
    none of a ceiling: the course has to bend before H = 0, and where it will is not in it.

    The interval counts noise of outcome and entropy that lasts for some steps as well as noise that does not: on
    simulated runs of 12 to 2,000 steps it holds the ceiling in nine of ten or more, mostly in 98 of 100. It does not
    count what breaks the law, such as entropy that wanders for many steps without the outcome (tests/test_law.py).
    """
    h, y = np.asarray(entropy, float), np.asarray(outcome, float)
    known = (np.abs(h) < IMPOSSIBLE) & np.isfinite(y)
    steps = int(known.sum())
    if steps < max(min_steps, FEWEST) or np.ptp(h[known]) == 0 or np.ptp(y[known]) == 0:
        return None
    x, y = np.exp(_thinned(h[known])), _thinned(y[known])
    count = len(x)
    placed = _by_neighbours(x, max(NEAR, count // 8))
    placed -= placed.mean()
    moved = placed @ x
    if moved <= 0:  # neighbours are no more alike than any steps: entropy has not moved
        return None
    of_slope = placed / moved  # weights of y, and so is the next
    of_ceiling = 1 / count + (1 - x.mean()) * of_slope
    slope, ceiling = float(of_slope @ y), float(of_ceiling @ y)
    noise = noise_of(y - y.mean() - slope * (x - x.mean()))
    t = student_t(count - 2)
    if slope + t * noise.error(of_slope) >= 0:  # the slope is -a, and a > 0 is the whole model
        return None
    half = t * noise.error(of_ceiling)
    if ceiling - half > MOST:
        return None
    return Fit(-slope, ceiling - slope, ceiling, ceiling - half, ceiling + half, steps)


def _thinned(values_T: np.ndarray) -> np.ndarray:
    """Means of as many neighbours each as it takes to have `POINTS` or fewer; the last may be of fewer."""
    first = np.arange(0, len(values_T), -(-len(values_T) // POINTS))
    return np.add.reduceat(values_T, first) / np.diff([*first, len(values_T)])


def _by_neighbours(values_T: np.ndarray, near: int) -> np.ndarray:
    """(T,) mean of up to `near` values either side of each, without its own."""
    sums = np.concatenate([[0.0], np.cumsum(values_T)])
    at = np.arange(len(values_T))
    first, last = np.maximum(at - near, 0), np.minimum(at + near + 1, len(values_T))
    return (sums[last] - sums[first] - values_T) / (last - first - 1)
