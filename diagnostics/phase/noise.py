"""Noise that is not Gaussian of one size: a level that changes along the run, and outliers.

Both are turned into a scale for each observation, from residuals of a fit that already contains the rise, so that a
rise is not mistaken for an outlier.
"""

from __future__ import annotations

import numpy as np

CUT = 2.5  # an innovation beyond this many standard deviations counts as one of this many (Huber 1981, ch. 7)
SMALLEST_WINDOW = 12.0  # observations; a local level from fewer is itself mostly noise
WINDOW_SHARE = 0.125  # of the series: standard deviation of the smoothing kernel


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
