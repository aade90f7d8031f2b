"""From a raw series to what can be said about a rise in it: gaps, bad values and odd noise taken care of."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diagnostics.phase.changepoint import Posterior, Series, fallen, residuals, rise_posterior, series
from diagnostics.phase.noise import NOISES, local_level, observation_scale
from diagnostics.phase.onset import Onset, locate

FEWEST = 12  # observations below which nothing is said
MOST = 400  # observations looked at; a longer series is averaged over equal stretches of steps first
RECENT = 5  # observations at the end: a rise that ends there is still going on
FAR = 1e3  # median deviations from the median at which a value is cut: farther off, only rounding errors grow
WORTH_LOCATING = 2.0  # log Bayes factor from which on a rise is looked at closely; below, nobody asks where it is


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
    memory: float  # observations that are worth one independent one
    count: int  # observations


class Known(NamedTuple):
    """The observations of a series that are looked at."""

    steps: np.ndarray  # (N,)
    values: np.ndarray  # (N,)
    block: int  # steps that one of them is the mean of, beyond its own; 0 if none was averaged


def find_rise(steps: np.ndarray, values: np.ndarray, expected: float = 5.0) -> Rise | None:
    """The rise in values (N,) at steps (N,); None where fewer than `FEWEST` finite values, or no variation, exist.

    `expected` is the size that is expected, in standard deviations of the noise. A rise of that order is seen best, a
    much larger one all the same.
    """
    known = observations(steps, values)
    return None if known is None else _rise(series(known.steps, known.values), expected, known.block)


def rise_and_first_fall(
    steps: np.ndarray, values: np.ndarray, expected: float = 5.0
) -> tuple[Rise | None, Rise | None]:
    """`find_rise` and `first_fall`."""
    known = observations(steps, values)
    if known is None:
        return None, None
    of = series(known.steps, known.values)
    return _rise(of, expected, known.block), _first_fall(of, known, expected)


def first_fall(steps: np.ndarray, values: np.ndarray, expected: float = 5.0) -> Rise | None:
    """The fall with which the record begins, if it does: the rise of -values, over where it ends.

    What comes before the lowest stretch is looked at alone, so that a later rise does not hide the fall.
    """
    known = observations(steps, values)
    return None if known is None else _first_fall(series(known.steps, known.values), known, expected)


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` observations: means over equal numbers of neighbours, each at their mean step."""
    size = -(-len(values) // MOST)
    if size <= 1:
        return steps, values
    firsts = np.arange(0, len(values), size)
    counts = np.diff(firsts, append=len(values))
    return np.add.reduceat(steps, firsts) / counts, np.add.reduceat(values, firsts) / counts


def observations(steps: np.ndarray, values: np.ndarray) -> Known | None:
    """Steps and values that are known, thinned; None where they are too few or all alike."""
    known = np.isfinite(values)
    whole = np.asarray(steps, np.float64)[known]
    times, kept = thinned(whole, _cut(np.asarray(values, np.float64)[known]))
    if len(kept) < FEWEST or np.ptp(kept) <= 1e-12 * np.abs(kept).max():
        return None
    return Known(times, kept, math.ceil(np.ptp(whole) / len(kept)) if len(kept) < len(whole) else 0)


def _cut(values: np.ndarray) -> np.ndarray:
    """Values (N,) with those that are absurdly far off brought nearer; all as they are where half of them are equal."""
    if not len(values):
        return values
    middle = np.median(values)
    reach = FAR * np.median(np.abs(values - middle))
    return np.clip(values, middle - reach, middle + reach) if reach else values


def _first_fall(of: Series, known: Known, expected: float) -> Rise | None:
    kept = known.values
    kernel = np.ones(max(5, len(kept) // 10))
    smooth = np.convolve(kept, kernel, mode="same") / np.convolve(np.ones(len(kept)), kernel, mode="same")
    before = int(np.argmin(smooth)) + 1
    falling = fallen(of, before) if before >= FEWEST else None
    return None if falling is None else _rise(falling, expected, known.block)


def _rise(of: Series, expected: float, block: int) -> Rise:
    found, scale, evidence = _believed(of, expected)
    where = locate(of, found, scale, expected) if evidence >= WORTH_LOCATING else _roughly(of, found)
    return _summary(of, found, evidence, where, block)


def _believed(of: Series, expected: float) -> tuple[Posterior, np.ndarray, float]:
    """The posterior, the scale of the innovations that it rests on, and the evidence for a rise.

    Where even steady noise speaks against a rise, it is not asked how steady the noise is.
    """
    steady = np.ones(len(of.grid.steps))
    plain = rise_posterior(of, None, expected)
    if plain.log_bayes_factor <= 0:
        return plain, steady, plain.log_bayes_factor
    around = residuals(of, int(np.argmax(plain.noises)), plain.size, plain.best)
    level = local_level(around)
    scale = observation_scale(level, around)
    weighted = rise_posterior(of, scale, expected)
    if weighted.log_bayes_factor <= 0:
        return weighted, scale, weighted.log_bayes_factor
    # A jump that is an outlier to a flat course must be backed by the level behind it.
    flat = observation_scale(level, residuals(of, plain.flat_noise))
    backed = rise_posterior(of, flat, expected)
    return weighted, scale, min(weighted.log_bayes_factor, backed.log_bayes_factor)


def _roughly(of: Series, found: Posterior) -> Onset:
    """Onset and end to the precision of the coarse grid."""
    grid = of.grid
    begins, ends = (np.bincount(at, found.ramps, minlength=len(grid.knots)) for at in (grid.onset, grid.end))
    return Onset(grid.knots, begins, grid.knots, ends)


def _summary(of: Series, found: Posterior, evidence: float, where: Onset, block: int) -> Rise:
    low, middle, high = (_quantile(where.onsets, where.mass, share) for share in (0.05, 0.5, 0.95))
    steps = of.grid.steps
    reach = 2 * block  # a move within a mean begins in the one before
    low, high = max(low - reach, int(steps[0])), min(high + reach, int(steps[-1]))
    return Rise(
        probability=0.5 * (1 + math.tanh(0.5 * evidence)),
        log_bayes_factor=evidence,
        onset=middle,
        interval=(low, high),
        end=min(_quantile(where.ends, where.end_mass, 0.5), int(steps[-1])),
        going_on=float(where.end_mass[where.ends > steps[-RECENT]].sum()),
        size=found.size,
        noise=found.sigma,
        memory=NOISES[int(np.argmax(found.noises)) if evidence > 0 else found.flat_noise].memory,
        count=len(steps),
    )


def _quantile(steps: np.ndarray, mass: np.ndarray, share: float) -> int:
    return int(steps[min(int(np.searchsorted(np.cumsum(mass), share)), len(steps) - 1)])
