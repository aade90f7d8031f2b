"""Noise that wanders, is measured with an error, changes its level along the run, or has outliers.

Wander and error of measurement are a few models, each with its whitening filter. Level and outliers become a scale for
each observation, from residuals of a fit that already contains the rise, so that a rise is not taken for an outlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CUT = 2.5  # an innovation beyond this many standard deviations counts as one of this many (Huber 1981, ch. 7)
SMALLEST_WINDOW = 12.0  # observations; a local level from fewer is itself mostly noise
SETTLED = 24  # steps without a gap after which a filter does not change any more
WINDOW_SHARE = 0.125  # of the series: standard deviation of the smoothing kernel


class Noise(NamedTuple):
    """A wander x, correlated by phi^gap, and white noise on top; together they have variance 1."""

    phi: float
    white: float = 0.0  # share of the variance

    @property
    def memory(self) -> float:
        """How many observations are worth one independent one, where a mean is estimated from many."""
        return (1 - self.white) * (1 + self.phi) / (1 - self.phi) + self.white


# White noise on a slow wander is ARMA(1, 1). AR(1) alone takes it for a fast wander, and its slow part for a rise.
NOISES = (
    *map(Noise, (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.85)),
    *(Noise(phi, white) for white in (0.35, 0.65) for phi in (0.75, 0.85)),
)


class Whitening(NamedTuple):
    """The Kalman filters of P noise models over N steps, which need not be neighbours."""

    rho: np.ndarray  # (N, P, 1) correlation of the wander with the step before; 0 at the first
    gain: np.ndarray  # (N, P, 1)
    spread: np.ndarray  # (N, P, 1) standard deviation of what a step adds


def whitening(steps: np.ndarray, noises: tuple[Noise, ...] = NOISES) -> Whitening:
    """The filters for increasing steps (N,)."""
    phi, white = (np.array(column) for column in zip(*noises, strict=True))
    gaps = np.diff(steps, prepend=steps[0] - 1).astype(np.float64)
    rho = phi ** gaps[:, None]
    rho[0] = 0.0
    fresh = (1 - rho**2) * (1 - white)  # variance that is new to the wander
    variances, left = np.empty_like(rho), np.zeros(len(noises))  # before and after the step was seen
    steady = 0  # steps in a row that brought nothing new
    for n in range(len(rho)):
        if steady > SETTLED and gaps[n] == gaps[n - 1]:
            variances[n] = variances[n - 1]
            continue
        variances[n] = rho[n] ** 2 * left + fresh[n]
        left = variances[n] * white / (variances[n] + white)
        steady = steady + 1 if n and gaps[n] == gaps[n - 1] else 0
    total = variances + white
    return Whitening(rho[..., None], (variances / total)[..., None], np.sqrt(total)[..., None])


def innovations(filters: Whitening, columns: np.ndarray) -> Iterator[np.ndarray]:
    """What each step adds to what is expected after those before it: (P, C) for each row of columns (N, C).

    Of noise that follows the model they are independent and have the standard deviation of the noise.
    """
    expected = np.zeros((filters.rho.shape[1], columns.shape[1]))
    for rho, gain, spread, row in zip(*filters, columns, strict=True):
        expected *= rho
        new = row - expected
        yield new / spread
        expected += gain * new


def observation_scale(level: np.ndarray, innovations: np.ndarray) -> np.ndarray:
    """Scale (N,) of each innovation (N,): the local noise level (N,), more where the innovation is an outlier.

    Relative to the mean level, so that it is 1 where nothing is odd.
    """
    relative = np.abs(innovations) / level
    outlying = relative / (CUT * max(1.4826 * float(np.median(relative)), 1e-300))
    return level * np.maximum(1.0, outlying) / np.exp(np.log(level).mean())


def local_level(innovations: np.ndarray) -> np.ndarray:
    """Standard deviation (N,) around each observation: kernel mean of squares, outliers cut first."""
    n = len(innovations)
    typical = 1.4826 * np.median(np.abs(innovations))
    typical = max(typical, 1e-9 * float(np.abs(innovations).max()), 1e-300)
    window = max(SMALLEST_WINDOW, WINDOW_SHARE * n)
    kernel = np.exp(-0.5 * (np.arange(1 - n, n) / window) ** 2)
    weight = np.convolve(np.ones(n), kernel, mode="valid")
    level = np.full(n, typical)
    for _ in range(2):  # the second round cuts at the local level
        level = np.sqrt(np.convolve(np.minimum(innovations**2, (CUT * level) ** 2), kernel, mode="valid") / weight)
        level = np.maximum(level, 0.1 * typical)
    return level
