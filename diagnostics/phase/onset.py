"""When did a rise begin? Onset and end of a rise whose shape is not known, on a fine grid.

A rise that is likely is looked at again, around the place where `changepoint.py` found it: straight, logistic,
saturating or in stairs, of any onset and width there, each shape as likely as the others. The
interval of the onset integrates over all of them; a single shape would be sure of a place that is right for that shape
alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diagnostics.phase.changepoint import FROM_START, Grid, Posterior, Series, log_fit
from diagnostics.phase.noise import innovations

TEMPER = 0.8  # of the likelihood: real rises have none of these shapes exactly, so intervals are wider
ONSETS, WIDTHS = 64, 14  # most of each that are tried
TAIL = 1e-4  # of the coarse posterior, beyond which nothing is tried
FEWEST_MASS = 0.3  # of the likeliest noise model's; models with less are left out here
FINE = 100  # entries of a shape's table from onset to end


class Onset(NamedTuple):
    """Where a rise begins and ends."""

    onsets: np.ndarray  # (I,) steps
    mass: np.ndarray  # (I,) their probabilities
    ends: np.ndarray  # (E,) steps, in order
    end_mass: np.ndarray  # (E,)


def _shapes() -> np.ndarray:
    """(S, 4 * FINE + 1) share of the rise, from one width before its onset to two behind its end."""
    x = np.linspace(-1, 3, 4 * FINE + 1)
    later = np.maximum(x, 0.0)
    return np.stack(
        [
            np.clip(x, 0, 1),
            1 - np.exp(-3 * later),
            1 / (1 + np.exp(np.log(19) - 2 * np.log(19) * x)),  # begins where 5% is done, ends where 95% is
            sum((x > k + 1e-9) / 2 for k in (0.0, 1.0)),  # the onset is the last step of the old level
            sum((x > k + 1e-9) / 3 for k in (0.0, 0.5, 1.0)),
        ]
    )


def locate(of: Series, coarse: Posterior, scale: np.ndarray, expected: float) -> Onset:
    """The posterior of onset and end, the innovations having scale (N,)."""
    grid = of.grid
    onsets, widths = _region(grid, coarse)
    noises = np.flatnonzero(coarse.noises >= FEWEST_MASS * coarse.noises.max())
    level, y = grid.columns[noises, :, 0] / scale, of.y[noises] / scale  # (P, N)
    first = int(np.searchsorted(grid.steps, onsets[0] - widths[-1]))
    shares = _shares(grid.steps[first:], onsets, widths)
    u_u, u_one, u_y = np.zeros((3, len(noises), shares.shape[1]))
    for n, new in enumerate(innovations(grid.filters.part(first, noises), shares), first):
        new /= scale[n]
        u_one += new * level[:, n, None]
        u_y += new * y[:, n, None]
        u_u += np.square(new, out=new)
    total = (level**2).sum(1, keepdims=True)
    mean = (level * y).sum(1, keepdims=True) / total
    yy = (y**2).sum(1, keepdims=True) - total * mean**2
    fit, _, _ = log_fit(np.maximum(u_u - u_one**2 / total, 0.0), u_y - u_one * mean, yy, len(y[0]) - 1, expected)
    spreads = -np.log(grid.filters.spread[:, noises, 0]).sum(0)[:, None] - 0.5 * np.log(total)
    weights = np.exp(TEMPER * (fit + spreads - (fit + spreads).max())).sum(0)
    weights = weights.reshape(-1, len(onsets), len(widths)).sum(0) * _prior(grid, onsets)[:, None]
    ends = (onsets[:, None] + widths).ravel()
    order = np.argsort(ends, kind="stable")
    mass = weights / weights.sum()
    return Onset(onsets, mass.sum(1), ends[order], mass.ravel()[order])


def _region(grid: Grid, coarse: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Onsets (I,) and widths (W,) around the ramps that are likely."""
    begins, stops = grid.knots[grid.onset], grid.knots[grid.end]
    likely = coarse.ramps >= TAIL * coarse.ramps.max()
    apart = grid.knots[1] - grid.knots[0]
    shortest, longest = ((stops - begins)[likely].min(), (stops - begins)[likely].max())
    widths = np.unique(np.round(np.geomspace(max(1.0, (shortest - apart) / 2), 2 * longest, WIDTHS)))
    low = max(grid.steps[0], np.floor(begins[likely].min() - apart - longest / 2))
    high = min(begins.max(), begins[likely].max() + apart)
    return np.arange(low, high + 1, max(1.0, np.ceil((high - low) / ONSETS))), widths


def _shares(steps: np.ndarray, onsets: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(N, S * I * W) share of the rise at each step, for each shape, onset and width."""
    x = (steps[:, None, None] - onsets[:, None]) / widths
    at = np.clip(np.rint((x + 1) * FINE), 0, 4 * FINE).astype(np.intp)
    return _shapes()[:, at].transpose(1, 0, 2, 3).reshape(len(steps), -1)


def _prior(grid: Grid, onsets: np.ndarray) -> np.ndarray:
    """(I,) of the onsets, the first step with a share of its own, as on the coarse grid."""
    steps_apart = onsets[1] - onsets[0] if len(onsets) > 1 else 1.0
    later = (1 - FROM_START) * steps_apart / max(grid.knots[grid.onset.max()] - grid.steps[0], 1.0)
    return np.where(onsets <= grid.steps[0], FROM_START, later)
