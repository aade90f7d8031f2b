"""What simulated runs of the build family are made of: noise of standard deviation 1, and shapes of a rise.

What they share with the unseen family (`phase_unseen.py`) is here as well. The lower part of each was unseen before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Shape = Callable[[np.ndarray, float], np.ndarray]  # steps, onset -> share of the rise; moves along with the onset
Noise = Callable[[Rng, int], np.ndarray]  # -> (N,), standard deviation 1 over the run


# --- noise ---------------------------------------------------------------------------------------


def ar(phi: float | None = None, draw: Callable[[Rng, int], np.ndarray] = Rng.standard_normal) -> Noise:
    """AR(1), correlation phi, uniform on 0 to 0.8 if None."""

    def made(rng: Rng, n: int) -> np.ndarray:
        rho = rng.uniform(0, 0.8) if phi is None else phi
        return filtered(draw(rng, n + 100) * np.sqrt(1 - rho**2), rho)[100:]

    return made


def filtered(shocks: np.ndarray, first: float, second: float = 0.0) -> np.ndarray:
    """AR(2) driven by the shocks (N,), from rest."""
    x, before, last = [], 0.0, 0.0
    for shock in shocks.tolist():
        before, last = last, first * last + second * before + shock
        x.append(last)
    return np.array(x)


def student(freedom: float) -> Callable[[Rng, int], np.ndarray]:
    """Heavy tails, standard deviation 1."""
    return lambda rng, n: rng.standard_t(freedom, n) / np.sqrt(freedom / (freedom - 2))


def changing(rng: Rng, n: int) -> np.ndarray:
    """AR(1) whose level grows or falls threefold along the run."""
    level = 3.0 ** (rng.choice([-1, 1]) * np.linspace(-0.5, 0.5, n))
    return ar()(rng, n) * level / np.sqrt(np.mean(level**2))


def moving_average(rng: Rng, n: int) -> np.ndarray:
    """MA(3) with weights 1, 0.8, 0.6, 0.4."""
    weights = np.array([1, 0.8, 0.6, 0.4])
    return np.convolve(rng.standard_normal(n + 3), weights / np.sqrt(weights @ weights), mode="valid")


def wandering(rng: Rng, n: int) -> np.ndarray:
    """ARMA(1, 1): half slow AR(1) of 0.8, half measurement noise."""
    return np.sqrt(0.5) * (ar(0.8)(rng, n) + rng.standard_normal(n))


def wiggle(rng: Rng, n: int) -> np.ndarray:
    """AR(1) and a sine of half a standard deviation, period 15 to 60 steps."""
    wave = 0.5 * np.sin(2 * np.pi * (np.arange(n) / rng.uniform(15, 60) + rng.uniform()))
    return (ar()(rng, n) + wave) / np.sqrt(1.125)


def bursts(rng: Rng, n: int) -> np.ndarray:
    """AR(1) with two stretches of a tenth of the run in which the noise is threefold."""
    level = np.ones(n)
    for start in rng.integers(0, n - n // 10, 2):
        level[start : start + n // 10] = 3.0
    return ar()(rng, n) * level / np.sqrt(np.mean(level**2))


def spikes(rng: Rng, n: int) -> np.ndarray:
    """AR(1) of standard deviation 1, and on top single values six off, one in fifty."""
    return ar()(rng, n) + 6.0 * rng.choice([-1, 1], n) * (rng.uniform(size=n) < 0.02)


def any_of(*kinds: Noise) -> Noise:
    """One of the kinds, drawn for each run."""
    return lambda rng, n: kinds[rng.integers(len(kinds))](rng, n)


def laplace(rng: Rng, n: int) -> np.ndarray:
    """Innovations with exponential tails, standard deviation 1."""
    return rng.laplace(size=n) / np.sqrt(2)


def cycling(rng: Rng, n: int) -> np.ndarray:
    """AR(2) with complex roots of modulus 0.6 to 0.85: waves of 10 to 40 steps that forget their phase."""
    modulus, turn = rng.uniform(0.6, 0.85), 2 * np.pi / rng.uniform(10, 40)
    first, second = 2 * modulus * np.cos(turn), -(modulus**2)
    variance = (1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))
    return filtered(rng.standard_normal(n + 200), first, second)[200:] / np.sqrt(variance)


def long_memory(rng: Rng, n: int) -> np.ndarray:
    """Fractional noise of order 0.2: correlations that die out as a power of the lag and never add up."""
    order, lags = 0.2, np.arange(1, n + 400)
    weights = np.r_[1.0, np.cumprod((lags - 1 + order) / lags)]
    x = np.convolve(rng.standard_normal(2 * len(weights)), weights, mode="valid")[:n]
    return x / np.sqrt(weights @ weights)


def two_scales(rng: Rng, n: int) -> np.ndarray:
    """A fast AR(1) of 0.3 and a slow one of 0.8, in a proportion drawn for each run."""
    slow = rng.uniform(0.1, 0.6)
    return np.sqrt(slow) * ar(0.8)(rng, n) + np.sqrt(1 - slow) * ar(0.3)(rng, n)


def switching(rng: Rng, n: int) -> np.ndarray:
    """AR(1) whose level jumps between 1 and 2.5, about every 20 steps."""
    level = np.where((np.cumsum(rng.uniform(size=n) < 0.05) + rng.integers(2)) % 2, 2.5, 1.0)
    return ar()(rng, n) * level / np.sqrt(np.mean(level**2))


def dips(rng: Rng, n: int) -> np.ndarray:
    """AR(1), and one step in thirty is four below."""
    return ar()(rng, n) - 4.0 * (rng.uniform(size=n) < 1 / 30)


# --- shapes --------------------------------------------------------------------------------------


def ramp(width: float) -> Shape:
    """A straight line over `width` steps."""
    return lambda steps, onset: np.clip((steps - onset) / width, 0, 1)


def sigmoid(width: float) -> Shape:
    """Logistic over about `width` steps; it begins to rise where 5% of it is done."""
    rate = width / 5.9
    return lambda steps, onset: 1 / (1 + np.exp(-np.clip((steps - onset) / rate - np.log(19), -50, 50)))


def staircase(width: float) -> Shape:
    """Three equal stairs; the onset is the last step before the first."""
    return lambda steps, onset: sum((steps > onset + k * width / 2) / 3 for k in range(3))


def saturating(width: float) -> Shape:
    """1 - exp: 95% done after `width` steps."""
    return lambda steps, onset: 1 - np.exp(-3 * np.maximum(steps - onset, 0) / width)


def cosine(width: float) -> Shape:
    """Half a wave of a cosine: slow, fast, slow."""
    return lambda steps, onset: 0.5 - 0.5 * np.cos(np.pi * np.clip((steps - onset) / width, 0, 1))


def pausing(width: float) -> Shape:
    """Half of the rise, a rest, the other half, each a third of `width`."""
    third = width / 3
    return lambda steps, onset: sum(np.clip((steps - onset - k * third) / third, 0, 1) / 2 for k in (0, 2))


def overshooting(width: float) -> Shape:
    """A quarter too high after 0.6 of `width`, settled at its end."""
    up, back = 0.6 * width, 0.4 * width
    return lambda steps, onset: (
        1.25 * np.clip((steps - onset) / up, 0, 1) - 0.25 * np.clip((steps - onset - up) / back, 0, 1)
    )


def rooted(width: float) -> Shape:
    """A power of 0.6: fast at first."""
    return lambda steps, onset: np.clip((steps - onset) / width, 0, 1) ** 0.6


def creeping(width: float) -> Shape:
    """Four fifths over `width` steps, and then on, a fifth every hundred steps."""
    return lambda steps, onset: (
        0.8 * np.clip((steps - onset) / width, 0, 1) + 0.002 * np.maximum(steps - onset - width, 0)
    )


SHAPES = {
    "ramp": ramp,
    "sigmoid": sigmoid,
    "staircase": staircase,
    "saturating": saturating,
    "cosine": cosine,
    "pausing": pausing,
    "overshooting": overshooting,
    "rooted": rooted,
    "creeping": creeping,
}
