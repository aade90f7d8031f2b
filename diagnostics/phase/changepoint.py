"""Has a noisy series begun to rise, and when? A Bayesian change point on a grid, exact given the grid.

Two hypotheses about observations y at steps t, which may have gaps:

    flat    y = a + noise
    rise    y = a + b * ramp + noise,  b > 0,  ramp 0 up to step t_i, 1 from step t_j on, straight between

The noise is AR(1) in the step, correlation phi^gap, so that a slow wander is not taken for a rise. Level a and
noise scale sigma have the usual flat priors, b is half-normal with scale `expected` sigma, phi is uniform on
`PHIS`, the onset i uniform but for a share on the first step, the width j - i uniform on a logarithmic grid. Then
a and b integrate out in closed form, sigma but for the sign of b (Zellner 1971, ch. 3; for change points: Smith
1975, Biometrika 62), and every sum that is needed is a difference of prefix sums: the whole posterior costs
O(phis x widths x n).

The Bayes factor of rise against flat, watched step by step, exceeds B at any time under "flat" with a chance of
at most about 1/B (Ville's inequality): no correction for looking after every step is needed. What the model does not
have, outliers and a noise level that changes, enters as weights (`noise.py`); how far the figures hold all the
same is measured by `benchmarks/phase_simulation.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PHIS = np.array([0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.9])
WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 33, 39, 46, 54, 64, 80, 100, 125, 160, 200, 250, 320)
TEMPER = 0.8  # of the likelihood, for where the rise is: real rises are no exact ramps, so intervals are wider
FROM_START = 0.25  # prior share of rises that were going on when the record began
AFTER = 4  # a rise is believed from this many observations behind its onset on


class Posterior(NamedTuple):
    """What is known about a rise. Indices count the observations given, from 0."""

    log_bayes_factor: float  # rise against flat, natural logarithm
    onset: np.ndarray  # (N,) probability that the rise begins at each observation, given a rise
    end: np.ndarray  # (N,) probability that it ends there, given a rise
    phi: float  # correlation of neighbouring steps under the likeliest rise
    flat_phi: float  # the same under "flat"
    best: tuple[int, int]  # onset and end of the likeliest rise
    size: float  # of the likeliest rise, in units of the series
    sigma: float  # standard deviation of the noise under the likeliest rise


def rise_posterior(steps: np.ndarray, values: np.ndarray, scale: np.ndarray, expected: float) -> Posterior:
    """The posterior for values (N,) at increasing steps (N,), innovations scaled by scale (N,).

    `expected` is the rise expected, in standard deviations of the noise: the scale of its prior.
    """
    n = len(values)
    assert n > AFTER + 1, n
    times = (steps - steps[n // 2]).astype(np.float64)
    starts, ends, possible = _grid(n)
    sums = _sums(times, values - values.mean(), scale)
    uu, uy, yy = _projected(sums, times, starts, ends)  # (P, I, W), (P, I, W), (P,)
    shrunk = uu + expected**-2
    size = uy / shrunk
    rest = np.maximum(yy[:, None, None] - uy * size, 1e-12 * yy[:, None, None] + 1e-300)
    t = size * np.sqrt(shrunk * (n - 1) / rest)
    flat = sums.log_scale - 0.5 * (n - 1) * np.log(np.maximum(yy, 1e-300))
    fit = sums.log_scale[:, None, None] - 0.5 * (n - 1) * np.log(rest) - 0.5 * np.log1p(expected**2 * uu)
    fit += _log_twice_normal(t)
    prior = _log_prior(possible)
    rise = fit + prior
    weights = np.exp(rise - rise.max())
    against = np.exp(flat - flat.max())
    where = np.exp(TEMPER * (rise - rise.max()) + (1 - TEMPER) * np.maximum(prior, -700.0)).sum(axis=0)
    mass = where / where.sum()  # (I, W)
    p, i, w = np.unravel_index(np.argmax(weights), weights.shape)
    return Posterior(
        log_bayes_factor=float(rise.max() - flat.max() + np.log(weights.sum()) - np.log(against.sum())),
        onset=np.bincount(starts, mass.sum(axis=1), minlength=n),
        end=np.bincount(ends.ravel(), mass.ravel(), minlength=n),
        phi=float(PHIS[p]),
        flat_phi=float(PHIS[np.argmax(flat)]),
        best=(int(i), int(ends[i, w])),
        size=float(size[p, i, w]),
        sigma=float(np.sqrt(rest[p, i, w] / (n - 1))),
    )


def ramp(times: np.ndarray, onset: float, end: float) -> np.ndarray:
    """0 up to `onset`, 1 from `end` on, straight between; (N,)."""
    return np.clip((times - onset) / (end - onset), 0.0, 1.0)


def innovations(steps: np.ndarray, residuals: np.ndarray, phi: float) -> np.ndarray:
    """What each residual (N,) adds to what AR(1) expects after the one before, at the residuals' scale."""
    rho = _rho(steps, phi)
    return (residuals - rho * np.r_[0.0, residuals[:-1]]) / np.sqrt(1 - rho**2)


class _Sums(NamedTuple):
    """Prefix sums (P, N + 1) over the whitened observations; 1, t and y are whitened alike."""

    one_one: np.ndarray
    time_one: np.ndarray
    time_time: np.ndarray
    time_y: np.ndarray
    one_y: np.ndarray
    y_y: np.ndarray
    log_scale: np.ndarray  # (P,) what the likelihood has beside the sum of squares


def _grid(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onsets (I,), ends (I, W), and which pairs exist. The last width ends at the last observation."""
    starts = np.arange(n - AFTER)
    ends = starts[:, None] + np.array([w for w in WIDTHS if w < n] + [n])
    possible = ends < n - 1
    possible[:, -1] = True
    return starts, np.minimum(ends, n - 1), possible


def _log_prior(possible: np.ndarray) -> np.ndarray:
    """Of each onset and width (I, W), given a rise: `FROM_START` on the first onset, the others alike."""
    onsets = len(possible)
    onset = np.r_[FROM_START, np.full(onsets - 1, (1 - FROM_START) / (onsets - 1))]
    return np.where(possible, np.log(onset / possible.sum(axis=1))[:, None], -np.inf)


def _rho(steps: np.ndarray, phi: float | np.ndarray) -> np.ndarray:
    """Correlation of each observation with the one before; 0 for the first."""
    rho = np.power(phi, np.diff(steps, prepend=steps[0] - 1).astype(np.float64))
    rho[..., 0] = 0.0
    return rho


def _sums(times: np.ndarray, y: np.ndarray, scale: np.ndarray) -> _Sums:
    rho = _rho(times, PHIS[:, None])  # (P, N)
    sd = scale * np.sqrt(1 - rho**2)

    def whitened(x: np.ndarray) -> np.ndarray:
        return (x - rho * np.r_[0.0, x[:-1]]) / sd

    def summed(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, axis=1)], axis=1)

    one, time, y = whitened(np.ones_like(y)), whitened(times), whitened(y)
    one_one = summed(one * one)
    return _Sums(
        one_one,
        summed(time * one),
        summed(time * time),
        summed(time * y),
        summed(one * y),
        summed(y * y),
        -np.log(sd).sum(axis=1) - 0.5 * np.log(one_one[:, -1]),
    )


def _projected(
    sums: _Sums, times: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products of each whitened ramp with itself and with y, and of y with itself, the level taken out.

    Inside a ramp the whitened regressor is (t - t_i * 1) / (t_j - t_i), behind it 1, both whitened.
    """
    start, width = times[starts][:, None], (times[ends] - times[starts][:, None])

    def inside(x: np.ndarray) -> np.ndarray:
        return x[:, ends + 1] - x[:, starts + 1][:, :, None]

    def behind(x: np.ndarray) -> np.ndarray:
        return x[:, -1][:, None, None] - x[:, ends + 1]

    one_one, time_one, after = inside(sums.one_one), inside(sums.time_one), behind(sums.one_one)
    u_u = (inside(sums.time_time) - 2 * start * time_one + start**2 * one_one) / width**2 + after
    u_one = (time_one - start * one_one) / width + after
    u_y = (inside(sums.time_y) - start * inside(sums.one_y)) / width + behind(sums.one_y)
    total, mean = sums.one_one[:, -1], sums.one_y[:, -1] / sums.one_one[:, -1]
    uu = u_u - u_one**2 / total[:, None, None]
    return np.maximum(uu, 0.0), u_y - u_one * mean[:, None, None], sums.y_y[:, -1] - total * mean**2


def _log_twice_normal(t: np.ndarray) -> np.ndarray:
    """log(2 * normal distribution function), to 2e-4 (Page 1977, Applied Statistics 26): b > 0 only."""
    x = np.sqrt(8 / np.pi) * t * (1 + 0.044715 * t * t)
    return np.log(2.0) + np.minimum(x, 0.0) - np.log(1 + np.exp(-np.abs(x)))
