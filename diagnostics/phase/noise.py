"""Noise that wanders or cycles, is measured with an error, changes its level along the run, or has outliers.

Wander, cycle and error of measurement are a few models, each with its whitening filter. Level and outliers become a
scale for each observation, from residuals of a fit that already contains the rise, so that a rise is not taken for an
outlier.

A wander is x_t = Re z_t of a complex state with one root, z_t = root z_(t-1) + push e_t, e_t independent and normal:

    AR(1)   root = phi, push = 1
    AR(2)   root = phi exp(i w), push = 1 - i cot w: waves of 2 pi / w steps that die out by phi a step and forget their
            phase (Yule 1927, Phil. Trans. A 226); Re(push root^k) = phi^k sin((k + 1) w) / sin w, its impulse response

So a gap of any length is a power of the root, and the Kalman filter (Harvey 1989, Forecasting, structural time series
models, ch. 3) needs no matrices: E|z|^2 and E z^2 are the covariance of the real and the imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CUT = 2.5  # an innovation beyond this many standard deviations counts as one of this many (Huber 1981, ch. 7)
SMALLEST_WINDOW = 12.0  # observations; a local level from fewer is itself mostly noise
SETTLED = 24  # observations without a gap after which a filter does not change any more
WINDOW_SHARE = 0.125  # of the series: standard deviation of the smoothing kernel


class Noise(NamedTuple):
    """A wander, correlated by phi from step to step or cycling, and white noise on top; together of variance 1."""

    phi: float
    white: float = 0.0  # share of the variance
    period: float = math.inf  # observations of a wave; infinite: AR(1)

    @property
    def root(self) -> complex:
        """What a step leaves of the state."""
        return self.phi * np.exp(2j * np.pi / self.period)

    @property
    def moments(self) -> tuple[float, complex]:
        """E|z|^2 and E z^2 of the state of the wander."""
        push = 1.0 if math.isinf(self.period) else 1 - 1j / np.tan(2 * np.pi / self.period)
        size, square = abs(push) ** 2 / (1 - self.phi**2), push**2 / (1 - self.root**2)
        unit = (1 - self.white) / (0.5 * (size + square.real))
        return size * unit, square * unit

    @property
    def memory(self) -> float:
        """How many observations are worth one independent one, where a mean is estimated from many.

        The sum of the autocorrelations over all lags, from Re(root^k E z x) at lag k.
        """
        with_x = 0.5 * sum(self.moments)
        return self.white + float((with_x * (1 + self.root) / (1 - self.root)).real)


# White noise on a slow wander is ARMA(1, 1). AR(1) alone takes it for a fast wander, and its slow part for a rise; and
# the last upswing of a cycle it takes for one as well.
NOISES = (
    *map(Noise, (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.85)),
    *(Noise(phi, white) for white in (0.35, 0.65) for phi in (0.75, 0.85)),
    *(Noise(phi, 0.0, period) for phi in (0.6, 0.8) for period in (10, 16, 26)),
)


class Whitening(NamedTuple):
    """The Kalman filters of P noise models over N steps, which need not be neighbours."""

    rho: np.ndarray  # (N, P, 1) what is left of the state of the step before; 0 at the first
    gain: np.ndarray  # (N, P, 1)
    spread: np.ndarray  # (N, P, 1) standard deviation of what a step adds

    def part(self, first: int, noises: np.ndarray) -> Whitening:
        """From the first-th step on, for some of the models; real numbers where none of them cycles."""
        rho, gain, spread = (part[first:, noises] for part in self)
        cycling = rho.imag.any() or gain.imag.any()
        return Whitening(rho, gain, spread) if cycling else Whitening(rho.real.copy(), gain.real.copy(), spread)


def whitening(steps: np.ndarray, noises: tuple[Noise, ...] = NOISES) -> Whitening:
    """The filters for increasing steps (N,), whose usual distance counts as one.

    What is known of noise is how neighbouring observations are alike, whether they are a step apart or ten, or means of
    ten steps; counted in steps those of a long run could hardly be alike, and what wanders would be a rise.
    """
    white, root = np.array([n.white for n in noises]), np.array([n.root for n in noises], np.complex128)
    sizes, squares = (np.array(moment) for moment in zip(*(n.moments for n in noises), strict=True))
    gaps = np.diff(steps, prepend=steps[0] - 1).astype(np.float64)
    gaps /= np.median(gaps[1:]) if len(gaps) > 1 else 1.0
    rho = root ** gaps[:, None]
    rho[0] = 0.0
    fresh_size, fresh_square = (1 - np.abs(rho) ** 2) * sizes, (1 - rho**2) * squares
    with_x, size, square = np.empty_like(rho), np.zeros(len(noises)), np.zeros(len(noises), np.complex128)
    steady = 0  # steps in a row that brought nothing new
    for n in range(len(rho)):
        if steady > SETTLED and gaps[n] == gaps[n - 1]:
            with_x[n] = with_x[n - 1]
            continue
        size, square = np.abs(rho[n]) ** 2 * size + fresh_size[n], rho[n] ** 2 * square + fresh_square[n]
        with_x[n] = 0.5 * (size + square)  # covariance of state and wander, before the step is seen
        total = with_x[n].real + white
        size, square = size - np.abs(with_x[n]) ** 2 / total, square - with_x[n] ** 2 / total
        steady = steady + 1 if n and gaps[n] == gaps[n - 1] else 0
    total = with_x.real + white
    return Whitening(rho[..., None], (with_x / total)[..., None], np.sqrt(total)[..., None])


def innovations(filters: Whitening, columns: np.ndarray) -> Iterator[np.ndarray]:
    """What each step adds to what is expected after those before it: (P, C) for each row of columns (N, C).

    Of noise that follows the model they are independent and have the standard deviation of the noise.
    """
    state = np.zeros((filters.rho.shape[1], columns.shape[1]), filters.rho.dtype)
    for rho, gain, spread, row in zip(*filters, columns, strict=True):
        state *= rho
        new = row - state.real
        yield new / spread
        state += gain * new


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
