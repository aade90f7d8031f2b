"""From a raw series to what can be said about a rise in it: gaps, bad values and odd noise taken care of."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diagnostics.phase.changepoint import Posterior, innovations, ramp, rise_posterior
from diagnostics.phase.noise import observation_scale

FEWEST = 12  # observations below which nothing is said
MOST = 400  # observations looked at; a longer series is averaged over equal stretches of steps first
RECENT = 5  # observations at the end: a rise that ends there is still going on
TEMPER = 1.0  # set on the build set of benchmarks/phase_simulation.py so that the 90% interval covers 85 to 95%


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


def find_rise(steps: np.ndarray, values: np.ndarray) -> Rise | None:
    """The rise in values (N,) at steps (N,); None where fewer than `FEWEST` finite values, or no variation, exist."""
    known = np.isfinite(values)
    steps, values = thinned(np.asarray(steps)[known], np.asarray(values, np.float64)[known])
    if len(values) < FEWEST or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return None
    plain = rise_posterior(steps, values, np.ones(len(values)))
    onset, end = plain.best
    around_rise = values - plain.size * ramp(steps, steps[onset], steps[end])
    weighted = rise_posterior(steps, values, _scale(steps, around_rise, plain.phi), TEMPER)
    evidence = weighted.log_bayes_factor
    if evidence > 0:  # a jump that is an outlier under "flat" must be backed by the level behind it
        sceptic = rise_posterior(steps, values, _scale(steps, values, plain.flat_phi), TEMPER)
        evidence = min(evidence, sceptic.log_bayes_factor)
    return _summary(steps, weighted, evidence)


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` observations: means over equal numbers of neighbours, each at the first one's step."""
    size = -(-len(values) // MOST)
    if size <= 1:
        return steps, values
    firsts = np.arange(0, len(values), size)
    return steps[firsts], np.add.reduceat(values, firsts) / np.diff(firsts, append=len(values))


def _scale(steps: np.ndarray, values: np.ndarray, phi: float) -> np.ndarray:
    """Scale (N,) of the innovations of values that should be level."""
    return observation_scale(innovations(steps, values - np.median(values), phi))


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
