"""Noise and shapes of the unseen family of simulated runs, after what logs of RL training show besides.

Written before the detector took its present form, by someone who does not know how it works; nothing was chosen by
what it makes of them. Every noise has the same mean at every step, averaged over runs, and what is up comes down again
within a few steps or a fifth of the run: there is no step at which the mean begins to rise. Standard deviation 1. A
shape with a corner begins at it; one without begins where 5% of the rise is done, as the logistic one does.
"""

from __future__ import annotations

import numpy as np

from benchmarks.phase_courses import Rng, Shape, ar, filtered, ramp

WINDOW = 6  # steps over which an averaged log takes its means


# --- noise ---------------------------------------------------------------------------------------


def seasonal(rng: Rng, n: int) -> np.ndarray:
    """AR(1), and three to five tasks that take turns, each with its level; a slow swell of a half in their distance.

    A round lasts 6 to 30 steps and at most a fifth of the run; over a round the levels cancel.
    """
    tasks, period = int(rng.integers(3, 6)), rng.uniform(6, np.clip(n / 5, 8, 30))
    levels = rng.standard_normal(tasks)
    levels = (levels - levels.mean()) / levels.std()
    turn = (np.arange(n) / period + rng.uniform()) % 1 * tasks
    swell = 0.8 + 0.4 * np.sin(2 * np.pi * (np.arange(n) / n * rng.uniform(0.5, 1.5) + rng.uniform()))
    return (ar()(rng, n) + swell * levels[turn.astype(int)]) / np.sqrt(1 + np.mean(swell**2))


def passing(rng: Rng, n: int) -> np.ndarray:
    """AR(1), and jumps of the level by two, up or down, that are gone after 2 to 6 steps; one in twenty steps.

    They come at the same rate from before the first step on, so that the next one is no news.
    """
    jumps = np.zeros(n + 12)
    for at in np.flatnonzero(rng.uniform(size=n + 6) < 0.05):
        jumps[at : at + rng.integers(2, 7)] += 2 * rng.choice([-1, 1])
    return (ar()(rng, n) + jumps[6 : n + 6]) / np.sqrt(1 + 0.05 * 4 * 2**2)


def volatile(rng: Rng, n: int) -> np.ndarray:
    """Innovations of a GARCH(1, 1): a large one makes the next ones large; their mean is 0 whatever went before."""
    shocks, variance = [], 1.0
    for draw in rng.standard_normal(n + 100).tolist():
        shocks.append(draw * np.sqrt(variance))
        variance = 0.05 + 0.15 * shocks[-1] ** 2 + 0.8 * variance
    return np.array(shocks[100:])


def averaged(rng: Rng, n: int) -> np.ndarray:
    """AR(1) of 0 to 0.5, and a log that shows its trailing means over `WINDOW` steps."""
    rho, lags = rng.uniform(0, 0.5), np.arange(WINDOW)
    variance = np.mean(rho ** np.abs(lags[:, None] - lags))
    return np.convolve(ar(rho)(rng, n + WINDOW - 1), np.full(WINDOW, 1 / WINDOW), mode="valid") / np.sqrt(variance)


def zigzag(rng: Rng, n: int) -> np.ndarray:
    """ARMA(2, 1) with one positive and one negative root: a wander, and batches that take turns on top of it."""
    slow, turns = rng.uniform(0.4, 0.8), rng.uniform(-0.6, -0.2)
    weights = filtered(np.r_[1.0, rng.uniform(0.2, 0.6), np.zeros(98)], slow + turns, -slow * turns)
    return np.convolve(rng.standard_normal(n + 99), weights / np.sqrt(weights @ weights), mode="valid")


# --- shapes --------------------------------------------------------------------------------------


def unequal(width: float) -> Shape:
    """A third of the rise at one step, the rest at another, `width` later; the onset is the last step before."""
    return lambda steps, onset: (steps > onset) / 3 + 2 * (steps > onset + width) / 3


def relapsing(width: float) -> Shape:
    """A straight line over `width` steps, of which a third is lost again over the next fifty or so, for good."""
    return lambda steps, onset: ramp(width)(steps, onset) - (1 - np.exp(-np.maximum(steps - onset - width, 0) / 25)) / 3


def taking_off(width: float) -> Shape:
    """Exponential growth, twentyfold over `width` steps, up to a ceiling: slow, then faster and faster."""
    return lambda steps, onset: 20.0 ** np.minimum((steps - onset) / width - 1, 0)


def gompertz(width: float) -> Shape:
    """An S that is fast early and slow late: 5% done at the onset, 95% after `width` steps."""
    first, last = -np.log(0.05), -np.log(0.95)
    return lambda steps, onset: np.exp(-first * (last / first) ** np.maximum((steps - onset) / width, -3))


def warming_up(width: float) -> Shape:
    """Pace that grows over the first two fifths of `width`, as the learning rate does, and stays so to its end."""

    def course(steps: np.ndarray, onset: float) -> np.ndarray:
        done = np.clip((steps - onset) / width, 0, 1)
        return np.where(done < 0.4, done**2 / 0.8, done - 0.2) / 0.8

    return course


def averaged_ramp(width: float) -> Shape:
    """A straight line over `width` steps in a log of trailing means over `WINDOW` steps."""
    return lambda steps, onset: sum(ramp(width)(steps - k, onset) for k in range(WINDOW)) / WINDOW


SHAPES = {
    "unequal": unequal,
    "relapsing": relapsing,
    "taking off": taking_off,
    "gompertz": gompertz,
    "warming up": warming_up,
    "averaged ramp": averaged_ramp,
}
