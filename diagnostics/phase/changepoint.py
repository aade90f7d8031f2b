"""Has a noisy series begun to rise? A Bayesian change point on a grid, exact given the grid.

Two hypotheses about observations y at steps t, which may have gaps:

    flat    y = a + noise
    rise    y = a + b * ramp + noise,  b > 0,  ramp 0 up to step t_i, 1 from step t_j on, straight between

The noise is one of `NOISES`: a wander that is correlated from step to step, with white noise on top, or a cycle, so
that neither a slow wander nor the last upswing of a wave is taken for a rise. Level a and noise scale sigma have the
usual flat priors, b is half-normal with scale `expected` sigma, the noise model uniform, the onset i uniform over the
knots but for a share on the first, the width uniform in its logarithm but for a share on "still rising". Then a and b
integrate out in closed form, sigma but for the sign of b (Zellner 1971, ch. 3; for change points: Smith 1975,
Biometrika 62). A ramp is a difference of two hinges max(t - t_i, 0), so all that is needed are the products of the
whitened hinges with each other, the level and y.

The Bayes factor of rise against flat, watched step by step, exceeds B at any time under "flat" with a chance of
at most about 1/B (Ville's inequality), as far as the noise is one of these. What the model does not have, outliers and
a noise level that changes, enters as weights (`noise.py`); other noise is why `detector.py` asks a rise to last. How
far the figures hold all the same is measured by `benchmarks/phase_simulation.py`. Where exactly a rise began is left
to `onset.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from diagnostics.phase.noise import Whitening, innovations, whitening

MOST_KNOTS = 40  # where a ramp may begin and end; more of them hardly change the evidence
FROM_START = 0.5  # prior share of rises that were going on when the record began
STILL_RISING = 0.15  # prior share of rises that are going on when it ends
AFTER = 4  # a rise is believed from this many observations behind its onset on
TAIL = -2.7  # standard deviations, below which an approximation of the normal distribution is none of its logarithm


class Grid(NamedTuple):
    """The ramps that are tried on some steps, as each noise model sees them."""

    steps: np.ndarray  # (N,)
    knots: np.ndarray  # (K,) steps at which a ramp may begin or end
    filters: Whitening
    columns: np.ndarray  # (P, N, 1 + K) whitened: the level, a hinge for each knot
    products: np.ndarray  # (P, 1 + K, 1 + K) of the columns with each other
    onset: np.ndarray  # (M,) knots at which each ramp begins
    end: np.ndarray  # (M,) and at which it ends
    prior: np.ndarray  # (M,) logarithm


class Series(NamedTuple):
    """Observations and the ramps that may be in them."""

    grid: Grid
    y: np.ndarray  # (P, N) whitened


class Posterior(NamedTuple):
    """What is known about a rise."""

    log_bayes_factor: float  # rise against flat, natural logarithm
    ramps: np.ndarray  # (M,) probability of each ramp, given a rise
    noises: np.ndarray  # (P,) of each noise model, given a rise
    flat_noise: int  # the likeliest noise model under "flat"
    best: int  # the likeliest ramp
    size: float  # of the likeliest rise, in units of the series
    sigma: float  # standard deviation of the noise under the likeliest rise


def series(steps: np.ndarray, values: np.ndarray, knots: np.ndarray | None = None) -> Series:
    """Values (N,) at increasing steps (N,), made ready for ramps between any two of the knots."""
    assert len(values) > AFTER + 1, len(values)
    grid = _grid(tuple(steps.tolist()), tuple((spread(steps) if knots is None else knots).tolist()))
    return Series(grid, whitened(grid, values - values.mean())[..., 0])


def whitened(grid: Grid, columns: np.ndarray) -> np.ndarray:
    """Columns (N,) or (N, C) as each noise model sees them: (P, N, C)."""
    return np.stack(list(innovations(grid.filters, columns.reshape(len(grid.steps), -1))), 1)


def fallen(of: Series, n: int) -> Series | None:
    """The first n observations upside down; None where no ramp has room in them. Whitening looks back only."""
    whole = of.grid
    steps, knots = whole.steps[:n], whole.knots[whole.knots <= whole.steps[n - 1]]
    if n <= AFTER + 1 or len(knots) < 2 or knots[0] >= steps[-AFTER]:
        return None
    columns, filters = whole.columns[:, :n, : 1 + len(knots)], Whitening(*(part[:n] for part in whole.filters))
    grid = Grid(steps, knots, filters, columns, columns.transpose(0, 2, 1) @ columns, *_ramps(steps, knots))
    return Series(grid, -of.y[:, :n])


def spread(steps: np.ndarray) -> np.ndarray:
    """At most about `MOST_KNOTS` steps from the first to the last, as far apart as each other but for the last."""
    first, last = float(steps[0]), float(steps[-1])
    apart = max(1.0, np.ceil((last - first) / MOST_KNOTS))
    return np.r_[np.arange(first, last, apart), last]


def rise_posterior(of: Series, scale: np.ndarray | None, expected: float) -> Posterior:
    """The posterior if the innovations have scale (N,), 1 if None.

    `expected` is the rise expected, in standard deviations of the noise: the scale of its prior.
    """
    n, grid = len(of.grid.steps), of.grid
    y, columns, products = of.y, grid.columns, grid.products
    if scale is not None:
        y, columns = y / scale, columns / scale[:, None]
        products = columns.transpose(0, 2, 1) @ columns
    uu, uy, yy = projected(grid, products, (columns.transpose(0, 2, 1) @ y[..., None])[..., 0], (y * y).sum(1))
    spreads = -np.log(grid.filters.spread[..., 0]).sum(0) - 0.5 * np.log(products[:, 0, 0])
    fit, size, rest = log_fit(uu, uy, yy[:, None], n - 1, expected)
    flat = spreads - 0.5 * (n - 1) * np.log(np.maximum(yy, 1e-300))
    rise = fit + spreads[:, None] + grid.prior
    weights = np.exp(rise - rise.max())
    p, best = np.unravel_index(np.argmax(weights), weights.shape)
    return Posterior(
        log_bayes_factor=float(rise.max() + np.log(weights.sum()) - np.logaddexp.reduce(flat)),
        ramps=weights.sum(0) / weights.sum(),
        noises=weights.sum(1) / weights.sum(),
        flat_noise=int(np.argmax(flat)),
        best=int(best),
        size=float(size[p, best]),
        sigma=float(np.sqrt(rest[p, best] / (n - 1))),
    )


def log_fit(
    uu: np.ndarray, uy: np.ndarray, yy: np.ndarray, freedom: int, expected: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood of rises of an unknown size > 0, that size, and the squares that are left; shapes broadcast.

    From the products of the whitened regressor u and of y, the level taken out of both.
    """
    shrunk = uu + expected**-2
    size = uy / shrunk
    rest = np.maximum(yy - uy * size, 1e-12 * yy + 1e-300)
    t = size * np.sqrt(shrunk * freedom / rest)
    fit = -0.5 * freedom * np.log(rest) - 0.5 * np.log1p(expected**2 * uu) + log_twice_normal(t)
    return fit, size, rest


def residuals(of: Series, noise: int, size: float = 0.0, ramp: int = 0) -> np.ndarray:
    """Innovations (N,) of what a flat level, or a rise of that size along that ramp, leaves of y."""
    grid, columns = of.grid, of.grid.columns[noise]
    level, hinges = columns[:, 0], columns[:, 1:]
    slope = size / (grid.knots[grid.end[ramp]] - grid.knots[grid.onset[ramp]])
    left = of.y[noise] - slope * (hinges[:, grid.onset[ramp]] - hinges[:, grid.end[ramp]])
    return left - level * (left @ level) / (level @ level)


@lru_cache(maxsize=2)
def _grid(steps: tuple[float, ...], knots: tuple[float, ...]) -> Grid:
    """Several series are judged at the same steps, and what does not depend on their values is most of the work."""
    times, at = np.array(steps), np.array(knots)
    filters = whitening(times)
    hinges = np.column_stack([np.ones(len(times)), np.maximum(times[:, None] - at, 0.0)])
    columns = np.stack(list(innovations(filters, hinges)), 1)
    return Grid(times, at, filters, columns, columns.transpose(0, 2, 1) @ columns, *_ramps(times, at))


def _ramps(steps: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and last knot of each ramp, and the logarithm of its prior probability; (M,) each."""
    onset, end = np.triu_indices(len(knots), 1)
    behind = len(steps) - np.searchsorted(steps, knots[onset], side="right")
    onset, end = onset[behind >= AFTER], end[behind >= AFTER]
    last, onsets = len(knots) - 1, int(onset.max()) + 1
    width = 1 / (knots[end] - knots[onset])
    width *= (1 - STILL_RISING) / np.bincount(onset, width)[onset]
    begins = np.r_[FROM_START, np.full(onsets - 1, (1 - FROM_START) / (onsets - 1))] if onsets > 1 else np.ones(1)
    return onset, end, np.log(begins[onset] * (width + STILL_RISING * (end == last)))


def projected(
    grid: Grid, products: np.ndarray, with_y: np.ndarray, y_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products of each ramp with itself and with y, (P, M), and of y with itself, (P,), the level taken out.

    From those of the columns with each other (P, 1 + K, 1 + K) and with y (P, 1 + K), and of y with itself (P,).
    """
    i, j = grid.onset + 1, grid.end + 1
    width = grid.knots[grid.end] - grid.knots[grid.onset]
    squares, level = np.einsum("pkk->pk", products), products[:, 0]
    u_u = (squares[:, i] - 2 * products[:, i, j] + squares[:, j]) / width**2
    u_one, u_y = (level[:, i] - level[:, j]) / width, (with_y[:, i] - with_y[:, j]) / width
    total, mean = level[:, :1], with_y[:, :1] / level[:, :1]
    return np.maximum(u_u - u_one**2 / total, 0.0), u_y - u_one * mean, y_y - with_y[:, 0] * mean[:, 0]


def log_twice_normal(t: np.ndarray) -> np.ndarray:
    """log(2 * normal distribution function), to 0.06: b > 0 only.

    Page 1977, Applied Statistics 26, and from `TAIL` down the asymptotic series (Abramowitz and Stegun 26.2.12).
    """
    near = np.maximum(t, TAIL)
    x = np.sqrt(8 / np.pi) * near * (1 + 0.044715 * near * near)
    found = np.log(2.0) + np.minimum(x, 0.0) - np.log(1 + np.exp(-np.abs(x)))
    below = t < TAIL
    if np.any(below):
        far = t[below]
        r = far**-2
        found[below] = np.log1p(r * (-1 + r * (3 + r * (-15 + 105 * r)))) - 0.5 * far**2 - np.log(-far)
        found[below] -= 0.5 * np.log(np.pi / 2)
    return found
