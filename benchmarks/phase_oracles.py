"""What can be known at best about a simulated run: oracles that are told what a detector has to find out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.phase_generators import Run
from diagnostics.phase.detector import DIVERSITY

WIDTHS = (*range(1, 21), *range(22, 61, 2))  # what is tried where the width is not told
LIMIT = 2.054  # of a standard normal statistic: exceeded by chance in 2% of runs without a rise
MOST_ORDER = 5  # of the autoregression that stands for the noise


def onset(run: Run, widths: Iterable[float] | None = None) -> int:
    """Onset by least squares over every step and the given widths; the shape and all else that moves are known.

    Without `widths` up to that of the whole run are tried. A shape moves along with its onset, so the sums over all
    onsets are correlations of its course with the record.
    """
    n = int(run.steps[-1]) + 1
    seen, y = np.zeros(n), np.zeros(n)
    seen[run.steps] = 1.0
    y[run.steps] = run.metrics[DIVERSITY] - run.known
    y[run.steps] -= y[run.steps].mean()
    best, found = -1.0, 0
    for width in [*WIDTHS, *range(68, n - 1, 8)] if widths is None else widths:
        course = run.shape(width)(np.arange(-n, n), 0)

        def over_onsets(record: np.ndarray, course: np.ndarray) -> np.ndarray:
            return np.correlate(course, record, "valid")[n:2:-1]  # sum of record[t] * course[t - onset]

        g_y, g, g_g = over_onsets(y, course), over_onsets(seen, course), over_onsets(seen, course**2)
        explained = np.maximum(g_y, 0.0) ** 2 / np.maximum(g_g - g**2 / len(run.steps), 1e-12)
        at = int(np.argmax(explained))
        if explained[at] > best:
            best, found = explained[at], at
    return found


def seen(run: Run) -> bool:
    """Whether one look at the end finds the rise at 2% false alarms, told its course and how the noise is correlated.

    The most powerful test there is for Gaussian noise of one level (Neyman and Pearson): no detector that has to find
    out course and noise misses less.
    """
    covariance = autocovariance(run.noise)[np.abs(run.steps[:, None] - run.steps)]
    g, one = run.shape(run.width)(run.steps, run.onset), np.ones(len(run.steps))
    q_g, q_one = np.linalg.solve(covariance, np.column_stack([g, one])).T
    q_g = q_g - q_one * (one @ q_g) / (one @ q_one)
    return bool(q_g @ (run.metrics[DIVERSITY] - run.known) >= LIMIT * np.sqrt(q_g @ g))


def autocovariance(noise: np.ndarray) -> np.ndarray:
    """(N,) of the autoregression that fits noise (N,) best: equations of Yule and Walker, order after Schwarz."""
    x, n = noise - noise.mean(), len(noise)
    found = np.array([x[k:] @ x[: n - k] for k in range(MOST_ORDER + 1)]) / n
    least, weights = np.inf, np.zeros(0)
    for order in range(MOST_ORDER + 1):
        lags = np.arange(order)
        tried = np.linalg.solve(found[np.abs(lags[:, None] - lags)], found[1 : order + 1])
        lost = n * np.log(found[0] - tried @ found[1 : order + 1]) + order * np.log(n)
        if lost < least:
            least, weights = lost, tried
    longer = found[: len(weights) + 1].tolist()
    while len(longer) < n:
        longer.append(float(weights @ longer[: -len(weights) - 1 : -1]))
    return np.array(longer)
