"""A rare task beside common ones: which width keeps it, and what gaps, floors and weights do (two minutes, one core).

    python -m benchmarks.curriculum_rare [--seeds 5]

The model of "Why larger models learn more" (arXiv 2605.29548, section 4): tasks are blocks of features of falling
variance, a shared encoder of width N learns the directions of largest frequency x variance by stochastic gradient
(Oja's rule), and a task is kept as far as its first feature lies in them. By the paper a task survives from the width
at which fewer than N utilities of the common tasks exceed its own. Eight tasks of frequency k^-1.5 and variances j^-2,
drawn by the mixture curriculum; the rarest is up-weighted 1, 2 and 4 times.

Gaps: the same count of a rare task, one example in each batch of 128 against 100 examples in every hundredth batch,
then the mixture with a floor of four examples a batch; below, at and above the width of the formula. What is kept is
the mean over the second half of the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.learners import Columns
from benchmarks.tell import bar, keep
from curricula.mixture import Mixture

TASKS, FEATURES, BATCH, RATE = 8, 3, 128, 0.3
STEPS = 6000  # batches
GAP, WIDTHS = 100, (12, 19, 20)
LEVELS = np.arange(1, FEATURES + 1) ** -2.0  # variances of a task's features
FREQUENCY = {f"task {k}": k**-1.5 for k in range(1, TASKS + 1)}
RARE = f"task {TASKS}"


def formula(factor: float) -> int:
    """Smallest width at which the rarest task survives, up-weighted by a factor (Proposition 6)."""
    common = np.outer([f for name, f in FREQUENCY.items() if name != RARE], LEVELS).ravel()
    return int((common > factor * FREQUENCY[RARE] * LEVELS[0] * (1 + 1e-9)).sum()) + 1


def drawn(mixture: Mixture, batches: int) -> Iterator[np.ndarray]:
    """(BATCH,) task numbers of each batch, in a period that repeats."""
    period = [np.array([int(t.source.split()[1]) - 1 for t in mixture.sample(BATCH)]) for _ in range(64)]
    for i in range(batches):
        yield period[i % len(period)]


def bunched(even: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same draws, the rare ones of a hundred batches together in the last of them."""
    rare = TASKS - 1
    for i, batch in enumerate(even):
        batch = np.where(batch == rare, 0, batch)
        if (i + 1) % GAP == 0:
            batch[:GAP] = rare
        yield batch


def learned(batches: Iterator[np.ndarray], width: int, seed: int) -> float:
    """Share of the rare task's first feature inside the encoder, mean over the second half."""
    rng, kept = np.random.default_rng(seed), []
    encoder = np.linalg.qr(rng.normal(size=(TASKS * FEATURES, width)))[0]
    for batch in batches:
        x = np.zeros((len(batch), TASKS, FEATURES))
        x[np.arange(len(batch)), batch] = rng.normal(size=(len(batch), FEATURES)) * np.sqrt(LEVELS)
        x = x.reshape(len(batch), -1)
        y = x @ encoder
        encoder = np.linalg.qr(encoder + RATE * (x.T @ y) / len(batch))[0]
        kept.append(float((encoder[(TASKS - 1) * FEATURES] ** 2).sum()))
    return float(np.mean(kept[len(kept) // 2 :]))


def mixture(**arguments: Any) -> Mixture:
    """The mixture over all tasks."""
    return Mixture(Columns(list(FREQUENCY)), seed=0, **arguments)


def survival(factor: float, seed: int) -> int:
    """Smallest width, of those about the formula's, at which more than half of the rare task is kept."""
    weights = FREQUENCY | {RARE: factor * FREQUENCY[RARE]}
    widths = range(max(1, formula(factor) - 3), formula(factor) + 6)
    kept = (width for width in widths if learned(drawn(mixture(weights=weights), STEPS), width, seed) > 0.5)
    return next(kept, widths.stop)


def gaps(width: int, seed: int) -> dict[str, float]:
    """What is kept of a task of one example a batch, by how its examples come."""
    weights = FREQUENCY | {RARE: sum(f for name, f in FREQUENCY.items() if name != RARE) / (BATCH - 1)}
    ways = {
        "gap 100": bunched(drawn(mixture(weights=weights), STEPS)),
        "gap 1": drawn(mixture(weights=weights, max_gap={RARE: BATCH}), STEPS),
        "gap 1, floor 4": drawn(mixture(weights=weights, max_gap={RARE: BATCH}, floors={RARE: 4 / BATCH}), STEPS),
    }
    return {name: learned(batches, width, seed) for name, batches in ways.items()}


def main(arguments: list[str] | None = None) -> None:
    """Run all and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_rare", description="A rare task beside common ones.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    seeds = range(parser.parse_args(arguments).seeds)
    factors = (1.0, 2.0, 4.0)
    widths = {f: [survival(f, s) for s in seeds] for f in bar(factors, "survival", len(factors))}
    kept = {w: [gaps(w, s) for s in seeds] for w in bar(WIDTHS, "gaps", len(WIDTHS))}
    first = Table("up-weighted", "width by the formula", "width measured, by seed", title="a rare task survives from")
    for factor, found in widths.items():
        first.add_row(f"{factor:g} times", str(formula(factor)), ", ".join(map(str, found)))
    second = Table("width", *kept[WIDTHS[0]][0], title="share of the rare task kept: mean, lowest to highest seed")
    for width, runs in kept.items():
        second.add_row(str(width), *(told([run[way] for run in runs]) for way in runs[0]))
    console = Console(width=120)
    console.print(first)
    console.print(second)
    keep("curriculum_rare", figures(widths, kept))


def told(values: list[float]) -> str:
    """A mean and a range."""
    return f"{np.mean(values):.2f}, {min(values):.2f} to {max(values):.2f}"


def figures(widths: Mapping[float, list[int]], kept: Mapping[int, list[dict[str, float]]]) -> dict[str, Any]:
    """What goes into the JSON file."""
    thresholds = {f"{f:g}": {"formula": formula(f), "measured": found} for f, found in widths.items()}
    return {"survival": thresholds, "kept": {str(width): runs for width, runs in kept.items()}}


if __name__ == "__main__":
    main()
