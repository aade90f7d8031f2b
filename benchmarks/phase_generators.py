"""Simulated runs with a known onset of planning, for `benchmarks.phase_simulation`.

Two families. `BUILD` is what the detector was built on (other seeds). `UNSEEN` has other shapes and other noise,
and nothing was chosen by it.

The unit of plan diversity is the noise: its standard deviation over a run is 1, and the rise is "rise over noise".
Execution is in nats, as the two metrics that measure it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from diagnostics.grams.entropies import entropy
from diagnostics.phase.detector import DIVERSITY, ENTROPY, PERPLEXITY

RISES = (1.0, 2.0, 3.0, 5.0, 10.0)
Rng = np.random.Generator
Shape = Callable[[np.ndarray, float], np.ndarray]  # steps (N,), onset -> share of the rise (N,)
Noise = Callable[[Rng, int], np.ndarray]  # -> (N,), standard deviation 1 over the run


@dataclass(frozen=True)
class Run:
    """A simulated run and the truth about it."""

    cell: str
    rise: float  # over noise; 0: no phase
    onset: int | None
    steps: np.ndarray  # (N,)
    metrics: dict[str, np.ndarray]  # (N,) each
    shape: Callable[[float], Shape] | None = None  # of its width
    width: float = 0.0
    known: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,) what else moves diversity


@dataclass(frozen=True)
class Cell:
    """A kind of run. Without `shape` there is no phase."""

    name: str
    noise: Noise
    shape: str | None = None
    lengths: tuple[int, int] = (60, 400)
    missing: bool = False
    execution: str = "falls"  # falls, flat, rises
    extra: str | None = None  # what else moves: counts, reward, apart, down, down_first


# --- noise ---------------------------------------------------------------------------------------


def ar(phi: float | None = None, draw: Callable[[Rng, int], np.ndarray] = Rng.standard_normal) -> Noise:
    """AR(1), correlation phi, uniform on 0 to 0.8 if None."""

    def made(rng: Rng, n: int) -> np.ndarray:
        rho = rng.uniform(0, 0.8) if phi is None else phi
        x = draw(rng, n + 100)
        for i in range(1, len(x)):
            x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * x[i]
        return x[100:]

    return made


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


def any_unseen(rng: Rng, n: int) -> np.ndarray:
    """One of the unseen kinds of noise."""
    kinds = (moving_average, ar(None, student(3)), wiggle, bursts, wandering, spikes)
    return kinds[rng.integers(len(kinds))](rng, n)


# --- shapes: onset, and share of the rise as a function of it --------------------------------------


def ramp(width: float) -> Shape:
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


SHAPES = {"ramp": ramp, "sigmoid": sigmoid, "staircase": staircase, "saturating": saturating}


def placed(rng: Rng, cell: Cell, n: int) -> tuple[Callable[[float], Shape], int, int]:
    """A shape, its width and its onset. The rise fits into the run, except where the cell says otherwise."""
    if cell.shape == "from the start":  # a rise that is over before it can be seen is none
        return ramp, int(rng.integers(20, 61)), 0
    if cell.shape == "still rising":
        onset = int(rng.integers(int(0.3 * n), int(0.8 * n)))
        return ramp, n - 1 - onset, onset
    width = int(min(rng.integers(1, 61), n // 2))
    onset = int(rng.integers(int(0.15 * n), n - width - max(5, n // 10)))
    return SHAPES[cell.shape], width, onset


# --- runs ----------------------------------------------------------------------------------------


def execution(rng: Rng, cell: Cell, n: int) -> dict[str, np.ndarray]:
    """Entropy and relative perplexity of execution: an exponential fall that is over early, or none, or a rise."""
    steps = np.arange(n)
    fall = -rng.uniform(5, 20) * (1 - np.exp(-steps / rng.uniform(5, max(6, n / 8))))
    moved = {"falls": fall, "flat": 0 * fall, "rises": 10 * np.clip((steps - n / 4) / (n / 2), 0, 1)}[cell.execution]
    shared, noises = ar()(rng, n), rng.standard_normal((2, n))
    entropies, surprise = (0.03 * (moved + 0.8 * shared + 0.6 * noise) for noise in noises)
    return {ENTROPY: 1.0 + entropies, PERPLEXITY: np.exp(surprise)}


def counted(rng: Rng, n: int) -> np.ndarray:
    """Plan diversity as it is measured: phrases drawn from one distribution, twice as many at the end of the run."""
    shares = 1 / np.arange(1, 61)
    growing = np.linspace(150, 300, n).astype(int)
    draws = (rng.multinomial(k, shares / shares.sum()) for k in growing)
    measured = np.array([entropy(draw[draw > 0]) for draw in draws])
    return (measured - measured.mean()) / measured.std() + 0.7 * ar()(rng, n)


def simulate(rng: Rng, cell: Cell, rise: float = 0.0) -> Run:
    """One run of the cell; `rise` is ignored where it has no phase."""
    n = int(rng.integers(cell.lengths[0], cell.lengths[1] + 1))
    steps, known = np.arange(n), np.zeros(n)
    diversity = counted(rng, n) if cell.extra == "counts" else cell.noise(rng, n)
    metrics = execution(rng, cell, n)
    if cell.extra in ("apart", "down"):
        diversity = diversity + (8 if cell.extra == "apart" else -5) * np.clip((steps - n / 4) / (n / 2), 0, 1)
    shape, width, onset = None, 0, None
    if cell.shape is not None:
        shape, width, onset = placed(rng, cell, n)
        if cell.extra == "down_first":
            known = -0.5 * rise * np.clip(steps / max(1, onset / 2), 0, 1)
        diversity = diversity + rise * shape(width)(steps, onset) + known
    metrics |= {DIVERSITY: diversity, "length/mean": 200 + steps * 200 / n, "reward/mean": steps / n}
    keep = np.ones(n, bool)
    if cell.missing:
        keep = rng.uniform(size=n) >= 0.3
        gap = int(rng.integers(0, n - n // 10))
        keep[gap : gap + n // 10] = False
    seen = {name: values[keep] for name, values in metrics.items()}
    return Run(cell.name, rise if cell.shape else 0.0, onset, steps[keep], seen, shape, width, known[keep])


# --- families ------------------------------------------------------------------------------------

BUILD = (
    *(Cell(f"AR(1) {phi}", ar(phi)) for phi in (0.0, 0.2, 0.4, 0.6, 0.8)),
    Cell("AR(1) 0.8, 60 steps", ar(0.8), lengths=(60, 60)),
    Cell("heavy tails", ar(None, student(4))),
    Cell("changing noise", changing),
    Cell("missing steps", ar(), missing=True),
    Cell("length drifts alone", ar(), extra="counts"),
    Cell("reward drifts alone", ar(), execution="flat"),
    Cell("policy falls apart", ar(), execution="rises", extra="apart"),
    Cell("diversity falls", ar(), extra="down"),
    Cell("ramp", ar(), "ramp"),
    Cell("ramp, heavy tails", ar(None, student(4)), "ramp"),
    Cell("ramp, changing noise", changing, "ramp"),
    Cell("ramp, missing steps", ar(), "ramp", missing=True),
    Cell("from the start", ar(), "from the start", execution="flat"),
    Cell("falls first", ar(), "ramp", extra="down_first"),
)
UNSEEN = (
    Cell("MA(3)", moving_average),
    Cell("Student t 3", ar(None, student(3))),
    Cell("sine wiggle", wiggle),
    Cell("noise bursts", bursts),
    Cell("ARMA(1, 1)", wandering),
    Cell("spikes", spikes),
    Cell("missing, any noise", any_unseen, missing=True),
    Cell("sigmoid", any_unseen, "sigmoid"),
    Cell("staircase", any_unseen, "staircase"),
    Cell("saturating", any_unseen, "saturating"),
    Cell("still rising", any_unseen, "still rising"),
)
