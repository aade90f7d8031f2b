"""Simulated runs with a known onset of planning, for `benchmarks.phase_simulation`.

Two families. `BUILD` is what the detector was built on (other seeds). `UNSEEN` has other shapes and other noise, was
written before the detector's present form, and nothing was chosen by it.

The unit of plan diversity is the noise: its standard deviation over a run is 1, and the rise is "rise over noise".
Execution is in nats, as the two metrics that measure it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import phase_courses as courses
from benchmarks.phase_courses import SHAPES, Noise, Rng, Shape, any_of, ar, ramp, student
from diagnostics.grams.entropies import entropy
from diagnostics.phase.detector import DIVERSITY, ENTROPY, PERPLEXITY

RISES = (1.0, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class Run:
    """A simulated run and the truth about it."""

    cell: str
    rise: float  # over noise; 0: no phase
    onset: int | None
    steps: np.ndarray  # (N,)
    metrics: dict[str, np.ndarray]  # (N,) each
    noise: np.ndarray  # of plan diversity alone, (steps of the run,), missing ones too
    known: np.ndarray  # (N,) what else moves diversity
    shape: Callable[[float], Shape] | None = None  # of its width
    width: float = 0.0


@dataclass(frozen=True)
class Cell:
    """A kind of run. Without `shape` there is no phase."""

    name: str
    noise: Noise
    shape: str | None = None
    lengths: tuple[int, int] = (60, 400)
    missing: str | None = None  # gaps: a third of the steps and a tenth in one piece; sparse: all but every third
    execution: str = "falls"  # falls, flat, rises, turns
    extra: str | None = None  # what else moves: counts, apart, down, down_first


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


def execution(rng: Rng, cell: Cell, n: int) -> dict[str, np.ndarray]:
    """Entropy and relative perplexity of execution: an exponential fall that is over early, or none, or a rise."""
    steps = np.arange(n)
    fall = -rng.uniform(5, 20) * (1 - np.exp(-steps / rng.uniform(5, max(6, n / 8))))
    rise = 10 * np.clip((steps - n / 4) / (n / 2), 0, 1)
    moved = {"falls": fall, "flat": 0 * fall, "rises": rise, "turns": fall + rise}[cell.execution]
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


def kept(rng: Rng, missing: str | None, n: int) -> np.ndarray:
    """Which steps have values, (N,)."""
    if missing == "sparse":
        return np.arange(n) % 3 == 0
    keep = np.ones(n, bool)
    if missing == "gaps":
        keep = rng.uniform(size=n) >= 0.3
        gap = int(rng.integers(0, n - n // 10))
        keep[gap : gap + n // 10] = False
    return keep


def simulate(rng: Rng, cell: Cell, rise: float = 0.0) -> Run:
    """One run of the cell; `rise` is ignored where it has no phase."""
    n = int(rng.integers(cell.lengths[0], cell.lengths[1] + 1))
    steps, known = np.arange(n), np.zeros(n)
    noise = counted(rng, n) if cell.extra == "counts" else cell.noise(rng, n)
    diversity, metrics = noise, execution(rng, cell, n)
    if cell.extra in ("apart", "down"):
        diversity = diversity + (8 if cell.extra == "apart" else -5) * np.clip((steps - n / 4) / (n / 2), 0, 1)
    shape, width, onset = None, 0, None
    if cell.shape is not None:
        shape, width, onset = placed(rng, cell, n)
        if cell.extra == "down_first":
            known = -0.5 * rise * np.clip(steps / max(1, onset / 2), 0, 1)
        diversity = diversity + rise * shape(width)(steps, onset) + known
    metrics |= {DIVERSITY: diversity, "length/mean": 200 + steps * 200 / n, "reward/mean": steps / n}
    keep = kept(rng, cell.missing, n)
    seen = {name: values[keep] for name, values in metrics.items()}
    return Run(cell.name, rise if cell.shape else 0.0, onset, steps[keep], seen, noise, known[keep], shape, width)


# --- families ------------------------------------------------------------------------------------

_HARD = any_of(
    courses.moving_average,
    ar(None, student(3)),
    courses.wiggle,
    courses.bursts,
    courses.wandering,
    courses.spikes,
)
_NEW = any_of(
    ar(None, courses.laplace),
    courses.cycling,
    courses.long_memory,
    courses.two_scales,
    courses.switching,
    courses.dips,
)
BUILD = (
    *(Cell(f"AR(1) {phi}", ar(phi)) for phi in (0.0, 0.4, 0.8)),
    Cell("AR(1) 0.8, 60 steps", ar(0.8), lengths=(60, 60)),
    Cell("heavy tails", ar(None, student(4))),
    Cell("changing noise", courses.changing),
    Cell("missing steps", ar(), missing="gaps"),
    Cell("length drifts alone", ar(), extra="counts"),
    Cell("reward drifts alone", ar(), execution="flat"),
    Cell("policy falls apart", ar(), execution="rises", extra="apart"),
    Cell("diversity falls", ar(), extra="down"),
    Cell("MA(3)", courses.moving_average),
    Cell("Student t 3", ar(None, student(3))),
    Cell("sine wiggle", courses.wiggle),
    Cell("noise bursts", courses.bursts),
    Cell("ARMA(1, 1)", courses.wandering),
    Cell("spikes", courses.spikes),
    Cell("ramp", ar(), "ramp"),
    Cell("ramp, heavy tails", ar(None, student(4)), "ramp"),
    Cell("ramp, changing noise", courses.changing, "ramp"),
    Cell("ramp, missing steps", ar(), "ramp", missing="gaps"),
    Cell("from the start", ar(), "from the start", execution="flat"),
    Cell("falls first", ar(), "ramp", extra="down_first"),
    Cell("sigmoid", _HARD, "sigmoid"),
    Cell("staircase", _HARD, "staircase"),
    Cell("saturating", _HARD, "saturating"),
    Cell("still rising", _HARD, "still rising"),
)
UNSEEN = (
    Cell("Laplace", ar(None, courses.laplace)),
    Cell("AR(2), cycling", courses.cycling),
    Cell("long memory", courses.long_memory),
    Cell("two time scales", courses.two_scales),
    Cell("switching level", courses.switching),
    Cell("dips", courses.dips),
    Cell("every third step", _NEW, missing="sparse"),
    Cell("falls apart after a fall", _NEW, execution="turns", extra="apart"),
    Cell("cosine", _NEW, "cosine"),
    Cell("pausing", _NEW, "pausing"),
    Cell("overshooting", _NEW, "overshooting"),
    Cell("rooted", _NEW, "rooted"),
    Cell("creeping", _NEW, "creeping"),
)
