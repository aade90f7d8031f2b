"""Simulated runs with a known onset of planning, for `benchmarks.phase_simulation`.

Two families. `BUILD` is what the detector was built on (other seeds). `UNSEEN` has other shapes, noise and courses
(`phase_unseen.py`), was written before the detector's present form, and nothing was chosen by it.

The unit of plan diversity is the noise: its standard deviation over a run is 1, and the rise is "rise over noise".
Execution is in nats, as the two metrics that measure it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import phase_courses as courses
from benchmarks import phase_unseen as unseen
from benchmarks.phase_courses import Noise, Rng, Shape, any_of, ar, ramp, student
from benchmarks.phrases import drawn
from diagnostics.phase.detector import DIVERSITY, ENTROPY, PERPLEXITY

RISES = (1.0, 2.0, 3.0, 5.0, 10.0)
SHAPES = courses.SHAPES | unseen.SHAPES


@dataclass(frozen=True)
class Run:
    """A simulated run and the truth about it."""

    cell: str
    rise: float  # over noise; 0: no phase
    truth: str  # `Cell.truth`
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
    missing: str | None = None  # gaps: a third and a tenth in one piece; sparse: all but every third; blocks
    execution: str = "falls"  # falls, far, slowly, flat, rises, turns, turns late, hands over
    extra: str | None = None  # what else is at work: counts, recounts, apart, down, down_first, shared, swells
    logged: str | None = None  # rounded, averaged

    @property
    def truth(self) -> str:
        """What moves at the end of the run, or has moved; an exponential fall is over by then."""
        if self.shape is not None:
            return "plan diversity has risen"
        if self.extra in ("apart", "down"):
            return "something gets worse, or has"
        return "execution gets surer to the end" if self.execution == "slowly" else "nothing moves any more"


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


def decline(rng: Rng, late: bool, n: int) -> np.ndarray:
    """How far a policy that falls apart has come, (N,), 0 to 1: over the middle half of the run, or to its end.

    Late means faster and faster in the last half, or slowly from a third on. Execution and diversity move along it
    together, execution by more of its noise: more variety for want of sureness is no phase.
    """
    if not late:
        return np.clip((np.arange(n) - n / 4) / (n / 2), 0, 1)
    start, power = ((0.5, 0.7), 2) if rng.integers(2) else ((0.3, 0.4), 1)
    begun = n * rng.uniform(*start)
    return np.clip((np.arange(n) - begun) / (n - begun), 0, 1) ** power


def execution(rng: Rng, cell: Cell, n: int, declined: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """Entropy and relative perplexity of execution: an exponential fall that is over early, or none, or a rise.

    Far: by many times its noise, as where it is a mean of many tokens. Slowly: at one pace, to the end. Shared: the
    noise of plan diversity (N,), with either sign, is the greater part of what both metrics have in common; means are
    not touched.
    """
    steps = np.arange(n)
    size = rng.uniform(5, 20)
    fall = -size * (1 - np.exp(-steps / rng.uniform(5, max(6, n / 8))))
    rise = 10 * declined
    moved = {
        "falls": fall,
        "far": 8 * fall,
        "slowly": -size * steps / n,
        "flat": 0 * fall,
        "hands over": 0 * fall,  # falls once the onset is known
        "rises": rise,
        "turns": fall + rise,
        "turns late": fall + rise,
    }[cell.execution]
    shared, noises = ar()(rng, n), rng.standard_normal((2, n))
    if cell.extra == "shared":
        shared = 0.8 * rng.choice([-1, 1]) * noise + 0.6 * shared
    entropies, surprise = (0.03 * (moved + 0.8 * shared + 0.6 * own) for own in noises)
    return {ENTROPY: 1.0 + entropies, PERPLEXITY: np.exp(surprise)}


def handed_over(rng: Rng, n: int, onset: int) -> np.ndarray:
    """A fall of execution (N,) that is over within fifteen steps of the onset: straight, cosine, logistic, Gaussian."""
    at = np.arange(n) / max(10, onset + rng.integers(-15, 16))
    shapes = (1 - at, 0.5 + 0.5 * np.cos(np.pi * np.minimum(at, 1)), 1 / (1 + np.exp(10 * at - 5)), np.exp(-4 * at**2))
    return rng.uniform(5, 40) * np.clip(shapes[rng.integers(4)], 0, 1)


def counted(rng: Rng, shares: np.ndarray, phrases: np.ndarray) -> np.ndarray:
    """Plan diversity as it is measured: completions with so many phrases each, in the mean of a step (N,), all of
    one distribution (K,)."""
    measured = np.array([drawn(rng, shares, mean).variety for mean in phrases])
    return (measured - measured.mean()) / measured.std()


def drawn_noise(rng: Rng, cell: Cell, n: int) -> np.ndarray:
    """Noise of plan diversity, (N,); where it comes of counts, what the phrases are drawn from is the same all along.

    Counts: twice as many at the end as at the start, of a few dozen phrases, or of so many that most are seen once.
    Recounts: thrice or a third, within a tenth of the run.
    """
    if cell.extra == "counts":
        return counted(rng, 1 / np.arange(1, rng.choice([60, 2000, 20_000])), np.linspace(2.5, 5, n))
    if cell.extra == "recounts":
        changed = np.clip((np.arange(n) / n - rng.uniform(0.2, 0.7)) / 0.1, 0, 1)
        return counted(rng, np.exp(-np.arange(40) / 12), 2.5 * 3 ** (changed if rng.integers(2) else 1 - changed))
    return cell.noise(rng, n)


def kept(rng: Rng, missing: str | None, n: int) -> np.ndarray:
    """Which steps have values, (N,). Blocks: 10 to 40 steps that have, 2 to 20 that have not, in turn."""
    if missing == "sparse":
        return np.arange(n) % 3 == 0
    keep = np.ones(n, bool)
    if missing == "gaps":
        keep = rng.uniform(size=n) >= 0.3
        gap = int(rng.integers(0, n - n // 10))
        keep[gap : gap + n // 10] = False
    if missing == "blocks":
        ends = np.cumsum(rng.integers((10, 2), (41, 21), (n, 2)).ravel())
        keep = np.searchsorted(ends, np.arange(n), side="right") % 2 == 0
    return keep


def written(logged: str | None, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics, (N,) each, as a log has them. Rounded: to two decimals, and diversity to its noise.

    Averaged: execution as trailing means over at most so many steps; noise and shape of diversity are so already.
    """
    if logged == "rounded":
        return {name: np.round(values, 0 if name == DIVERSITY else 2) for name, values in metrics.items()}
    if logged == "averaged":
        over = np.minimum(np.arange(len(metrics[DIVERSITY])) + 1, unseen.WINDOW)
        window = np.ones(unseen.WINDOW)
        means = {name: np.convolve(values, window)[: len(over)] / over for name, values in metrics.items()}
        return means | {DIVERSITY: metrics[DIVERSITY]}
    return metrics


def simulate(rng: Rng, cell: Cell, rise: float = 0.0) -> Run:
    """One run of the cell; `rise` is ignored where it has no phase."""
    n = int(rng.integers(cell.lengths[0], cell.lengths[1] + 1))
    steps, known = np.arange(n), np.zeros(n)
    noise, declined = drawn_noise(rng, cell, n), decline(rng, cell.execution == "turns late", n)
    metrics = execution(rng, cell, n, declined, noise)
    moved = {"apart": 8, "down": -5}.get(cell.extra, 0) * declined
    shape, width, onset = None, 0, None
    if cell.shape is not None:
        shape, width, onset = placed(rng, cell, n)
        course = shape(width)(steps, onset)
        if cell.execution == "hands over":
            left = 0.03 * handed_over(rng, n, onset)
            metrics = {ENTROPY: metrics[ENTROPY] + left, PERPLEXITY: metrics[PERPLEXITY] * np.exp(left)}
        if cell.extra == "swells":  # twice as much noise at the new level, 1 over the run
            noise = noise * (1 + course) / np.sqrt(np.mean((1 + course) ** 2))
        if cell.extra == "down_first":
            known = -0.5 * rise * np.clip(steps / max(1, onset / 2), 0, 1)
        moved = rise * course + known
    metrics |= {DIVERSITY: noise + moved, "length/mean": 200 + steps * 200 / n, "reward/mean": steps / n}
    metrics = written(cell.logged, metrics)
    keep = kept(rng, cell.missing, n)
    seen = {name: values[keep] for name, values in metrics.items()}
    return Run(
        cell.name, rise if cell.shape else 0.0, cell.truth, onset, steps[keep], seen, noise, known[keep], shape, width
    )


# --- families ------------------------------------------------------------------------------------

_HEAVY = any_of(ar(None, student(4)), ar(None, student(3)), ar(None, courses.laplace))
_SUMS = any_of(courses.moving_average, courses.wandering, courses.two_scales)
_LEVELS = any_of(courses.bursts, courses.switching)
_SINGLE = any_of(courses.spikes, courses.dips)
_HARD = any_of(_HEAVY, _SUMS, _LEVELS, _SINGLE, courses.wiggle, courses.cycling, courses.long_memory)
_OTHER = any_of(unseen.seasonal, unseen.passing, ar(None, unseen.volatile), unseen.zigzag)
BUILD = (
    *(Cell(f"AR(1) {phi}", ar(phi)) for phi in (0.0, 0.4, 0.8)),
    Cell("AR(1) 0.8, 60 steps", ar(0.8), lengths=(60, 60)),
    Cell("heavy tails", _HEAVY),
    Cell("changing noise", courses.changing),
    Cell("missing steps", ar(), missing="gaps"),
    Cell("every third step", _HARD, missing="sparse"),
    Cell("length drifts alone", ar(), extra="counts"),
    Cell("reward drifts alone", ar(), execution="flat"),
    Cell("execution falls far", _HARD, execution="far"),
    Cell("execution falls to the end", _HARD, execution="slowly"),
    Cell("policy falls apart", ar(), execution="rises", extra="apart"),
    Cell("falls apart after a fall", _HARD, execution="turns", extra="apart"),
    Cell("diversity falls", ar(), extra="down"),
    Cell("MA(3), ARMA(1, 1), two scales", _SUMS),
    Cell("sine wiggle", courses.wiggle),
    Cell("AR(2), cycling", courses.cycling),
    Cell("long memory", courses.long_memory),
    Cell("bursts, switching level", _LEVELS),
    Cell("spikes, dips", _SINGLE),
    Cell("ramp", ar(), "ramp"),
    Cell("ramp, heavy tails", ar(None, student(4)), "ramp"),
    Cell("ramp, changing noise", courses.changing, "ramp"),
    Cell("ramp, missing steps", ar(), "ramp", missing="gaps"),
    Cell("from the start", ar(), "from the start", execution="flat"),
    Cell("falls first", ar(), "ramp", extra="down_first"),
    Cell("still rising", _HARD, "still rising"),
    *(Cell(shape, _HARD, shape) for shape in courses.SHAPES if shape != "ramp"),
    Cell("execution hands over", ar(), "ramp", execution="hands over"),
)
UNSEEN = (
    Cell("tasks in rotation", unseen.seasonal),
    Cell("jumps that pass", unseen.passing),
    Cell("volatile, GARCH", ar(None, unseen.volatile)),
    Cell("averaged log", unseen.averaged, logged="averaged"),
    Cell("rounded, missing blocks", _OTHER, missing="blocks", logged="rounded"),
    Cell("noise shared with execution", ar(), extra="shared"),
    Cell("falls apart late", _OTHER, execution="turns late", extra="apart"),
    Cell("length jumps alone", ar(), execution="flat", extra="recounts"),
    Cell("unequal", _OTHER, "unequal"),
    Cell("relapsing", _OTHER, "relapsing"),
    Cell("taking off", _OTHER, "taking off"),
    Cell("gompertz", _OTHER, "gompertz", execution="slowly"),
    Cell("warming up", _OTHER, "warming up", execution="slowly"),
    Cell("averaged ramp", unseen.averaged, "averaged ramp", logged="averaged"),
    Cell("ramp, noise swells", ar(), "ramp", extra="swells"),
    Cell("ramp, rounded, missing blocks", _OTHER, "ramp", missing="blocks", logged="rounded"),
)
