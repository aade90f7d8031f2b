"""How uncertain a weighted sum of a series is whose noise lasts from one step to the next, and nobody knows how long.

The noise is taken for white noise plus a part that lasts (autoregressive of order 1). Which share lasts how long is
weighed by the spectrum of what a fit has left over (Whittle's likelihood), each kind equally likely before: a short
series cannot tell slow noise from none, and the error then counts both. Taking the one lag-1 correlation that a fit
leaves over for the truth makes intervals too narrow: it comes out too small, the more so the shorter the series and
the whiter most of the noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LASTING = (0.5, 0.8, 0.9, 0.95, 0.98)  # what is left of it after a step
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the noise's variance that lasts; the rest is white
KINDS = np.array([(0.0, 0.0), *((left, share) for left in LASTING for share in SHARES)])  # (K, 2)
PRIOR = np.array([1.0, *[1 / len(SHARES)] * (len(KINDS) - 1)])  # (K,) equal for white noise and each way to last


class Noise(NamedTuple):
    """The noise of a series of T steps, as far as its residuals tell."""

    residual: np.ndarray  # (T,)
    chances: np.ndarray  # (K,) that it is of each of `KINDS`
    variances: np.ndarray  # (K,) of a step, if it is

    def error(self, weights_T: np.ndarray) -> float:
        """Standard error of sum w y for weights that the noise does not depend on.

        Where the residuals are larger at steps of large weight the error is larger by as much (White 1980).
        """
        products = _lagged(weights_T)
        variance = self.chances @ (self.variances * (_correlations(len(weights_T)) @ products))
        squares = self.residual**2
        loud = (weights_T**2 * squares).mean() / max((weights_T**2).mean() * squares.mean(), np.finfo(float).tiny)
        return float(np.sqrt(variance * max(loud, 1.0)))


def noise_of(residual_T: np.ndarray) -> Noise:
    """The noise that a straight line fitted to a trend has left over; T - 2 degrees of freedom.

    Mean and slowest wave are what the line took, so they say nothing about it.
    """
    count = len(residual_T)
    power = _waves(residual_T)[2:] ** 2
    shapes = _spectra(count)[:, 2:]
    sums = np.maximum((power / shapes).sum(axis=1), np.finfo(float).tiny)
    likelihood = -0.5 * np.log(shapes).sum(axis=1) - 0.5 * (count - 2) * np.log(sums) + np.log(PRIOR)
    chances = np.exp(likelihood - likelihood.max())
    return Noise(residual_T, chances / chances.sum(), sums / (count - 2))


def _waves(values_T: np.ndarray) -> np.ndarray:
    """(T,) orthonormal cosine transform (DCT-II); its first term is the mean's and not normalised."""
    count = len(values_T)
    turned = np.exp(-0.5j * np.pi * np.arange(count) / count)
    return (turned * np.fft.rfft(np.concatenate([values_T, values_T[::-1]]))[:count]).real / np.sqrt(2 * count)


def _spectra(count: int) -> np.ndarray:
    """(K, T) power of each kind of noise at the waves of T steps; 1 a step over all of them."""
    left, share = KINDS[:, :1], KINDS[:, 1:]
    return 1 - share + share * (1 - left**2) / (1 - 2 * left * np.cos(np.pi * np.arange(count) / count) + left**2)


def _correlations(count: int) -> np.ndarray:
    """(K, T) correlation of steps that lie 0, 1, 2, ... apart."""
    found = KINDS[:, 1:] * KINDS[:, :1] ** np.arange(count)
    found[:, 0] = 1.0
    return found


def _lagged(weights_T: np.ndarray) -> np.ndarray:
    """(T,) sums of the products of weights that lie 0, 1, 2, ... apart, either way."""
    count = len(weights_T)
    found = np.fft.irfft(np.abs(np.fft.rfft(weights_T, 2 * count)) ** 2, 2 * count)[:count]
    found[1:] *= 2
    return found
