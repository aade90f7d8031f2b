"""From a raw series to what can be said about a rise in it: gaps, bad values and odd noise taken care of."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diagnostics.phase.changepoint import Posterior, innovations, ramp, rise_posterior
from diagnostics.phase.noise import local_level, observation_scale

FEWEST = 12  # observations below which nothing is said
MOST = 400  # observations looked at; a longer series is averaged over equal stretches of steps first
RECENT = 5  # observations at the end: a rise that ends there is still going on


class Rise(NamedTuple):
    """A rise and how sure it is. Steps are the run's own."""

    probability: float  # that there is one, at even odds beforehand
    log_bayes_factor: float  # of rise against flat
    onset: int  # median of the onset
    interval: tuple[int, int]  # 90%, equal tails
    end: int  # median of the step from which on the level is flat again
    going_on: float  # probability that it has not ended, given that there is one
    size: float  # in units of the series
    noise: float  # standard deviation, in units of the series
    phi: float  # correlation of neighbouring steps
    count: int  # observations


def find_rise(steps: np.ndarray, values: np.ndarray, expected: float = 5.0) -> Rise | None:
    """The rise in values (N,) at steps (N,); None where fewer than `FEWEST` finite values, or no variation, exist.

    `expected` is the size that is expected, in standard deviations of the noise. A rise of that order is seen best, a
    much larger one all the same.
    """
    known = np.isfinite(values)
    steps, values = thinned(np.asarray(steps)[known], np.asarray(values, np.float64)[known])
    if len(values) < FEWEST or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return None
    plain = rise_posterior(steps, values, np.ones(len(values)), expected)
    onset, end = plain.best
    around = _innovations(steps, values - plain.size * ramp(steps, steps[onset], steps[end]), plain.phi)
    level = local_level(around)
    weighted = rise_posterior(steps, values, observation_scale(level, around), expected)
    evidence = weighted.log_bayes_factor
    if evidence > 0:  # a jump that is an outlier to a flat course must be backed by the level behind it
        flat = observation_scale(level, _innovations(steps, values, plain.flat_phi))
        evidence = min(evidence, rise_posterior(steps, values, flat, expected).log_bayes_factor)
    return _summary(steps, weighted, evidence)


def settled_after(steps: np.ndarray, values: np.ndarray, evidence: float, expected: float = 5.0) -> int:
    """The step at which a fall with which the record begins is over; the first step where there is no such fall.

    What comes before the lowest stretch is looked at alone, so that a later rise does not hide the fall. Of a flat
    series a fall of that evidence is as rare as a rise, so starting behind it costs next to no false alarms.
    """
    known = np.isfinite(values)
    times, finite = steps[known], values[known]
    if len(finite) < FEWEST:
        return int(steps[0]) if len(steps) else 0
    kernel = np.ones(max(5, len(finite) // 10))
    smooth = np.convolve(finite, kernel, mode="same") / np.convolve(np.ones(len(finite)), kernel, mode="same")
    lowest = int(np.argmin(smooth))
    fall = find_rise(times[: lowest + 1], -finite[: lowest + 1], expected)
    return fall.end if fall is not None and fall.log_bayes_factor >= evidence else int(steps[0])


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` observations: means over equal numbers of neighbours, each at the first one's step."""
    size = -(-len(values) // MOST)
    if size <= 1:
        return steps, values
    firsts = np.arange(0, len(values), size)
    return steps[firsts], np.add.reduceat(values, firsts) / np.diff(firsts, append=len(values))


def _innovations(steps: np.ndarray, level_values: np.ndarray, phi: float) -> np.ndarray:
    return innovations(steps, level_values - np.median(level_values), phi)


def _summary(steps: np.ndarray, posterior: Posterior, evidence: float) -> Rise:
    low, middle, high = (_quantile(steps, posterior.onset, share) for share in (0.05, 0.5, 0.95))
    return Rise(
        probability=0.5 * (1 + math.tanh(0.5 * evidence)),
        log_bayes_factor=evidence,
        onset=middle,
        interval=(low, high),
        end=_quantile(steps, posterior.end, 0.5),
        going_on=float(posterior.end[-RECENT:].sum()),
        size=posterior.size,
        noise=posterior.sigma,
        phi=posterior.phi if evidence > 0 else posterior.flat_phi,
        count=len(steps),
    )


def _quantile(steps: np.ndarray, mass: np.ndarray, share: float) -> int:
    return int(steps[min(int(np.searchsorted(np.cumsum(mass), share)), len(steps) - 1)])
