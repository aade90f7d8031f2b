"""Curves out of metric files: which a run has, where they have gaps, and thinned to what a screen can show.

A long curve keeps the lowest and the highest value of each stretch of steps, at the steps where they were: a spike of
one step in ten thousand is in the picture. Nothing is averaged, and no point is drawn that the run did not have.
Where a curve lacks steps that it has elsewhere, it has a gap.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rltrain.metrics import stem

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 1000  # points of a curve, gaps not counted; of more, each stretch keeps its lowest and its highest


class Curve(NamedTuple):
    """One metric of one run."""

    name: str  # the metric's full name
    label: str  # what follows the `@`, or nothing
    steps: list[int]
    values: list[float | None]  # None where the run has a gap
    pooled: int  # steps of which two points are shown; 1 where every step is


def stems_of(frame: pd.DataFrame) -> list[str]:
    """The stems a run has values for, in the order of the file."""
    return list(dict.fromkeys(stem(name) for name in frame.columns if name != "step" and frame[name].notna().any()))


def curves(frame: pd.DataFrame, metric: str, limit: int = LIMIT, *, gaps: bool = True) -> list[Curve]:
    """The curves of a stem: the total first, then one a source or class; each of about `limit` points at most.

    `gaps`: whether a missing step is one; not in a frame of which steps were left out already.
    """
    names = [name for name in frame.columns if stem(name) == metric and frame[name].notna().any()]
    return [_curve(frame, name, limit, gaps) for name in sorted(names)]


def curve(frame: pd.DataFrame, name: str, limit: int = LIMIT) -> Curve | None:
    """The curve of a full name, where the run has it."""
    return _curve(frame, name, limit) if name in frame and frame[name].notna().any() else None


def _curve(frame: pd.DataFrame, name: str, limit: int, gaps: bool = True) -> Curve:
    known = frame[["step", name]].dropna()
    steps, values = known["step"].to_numpy(), known[name].to_numpy(np.float64)
    if gaps:
        steps, values = with_gaps(steps, values)
    places, pool = extremes(values, limit)
    kept = [_short(value) for value in values[places].tolist()]
    return Curve(name, name.partition("@")[2], steps[places].tolist(), kept, pool)


def with_gaps(steps_N: np.ndarray, values_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values with a NaN wherever neighbours are further apart than is usual for this curve.

    Usual is the most frequent distance, of several the least: an evaluation of every tenth step is joined, a metric
    that a step has or has not is not.
    """
    lengths, counts = np.unique(np.diff(steps_N), return_counts=True)
    if not len(lengths):
        return steps_N, values_N
    usual = lengths[counts.argmax()]
    before = np.flatnonzero(np.diff(steps_N) > usual)
    return np.insert(steps_N, before + 1, steps_N[before] + usual), np.insert(values_N, before + 1, np.nan)


def extremes(values_N: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Places to keep of N values, in order, and how many steps two of them stand for.

    All where N <= limit. Else the first, the last, and of each stretch the place of its lowest and of its highest
    finite value, and of its first gap (a value that is not finite) if it has any.
    """
    count = len(values_N)
    if count <= limit:
        return np.arange(count), 1
    size = math.ceil(count / max(1, limit // 2))
    padded = np.full(math.ceil(count / size) * size, np.nan)
    padded[:count] = values_N
    gap = ~np.isfinite(padded).reshape(-1, size)
    stretches = np.where(gap, 0.0, padded.reshape(-1, size))
    start = np.arange(len(stretches)) * size
    lowest = start + np.where(gap, np.inf, stretches).argmin(axis=1)
    highest = start + np.where(gap, -np.inf, stretches).argmax(axis=1)
    places = np.concatenate([[0, count - 1], lowest, highest, (start + gap.argmax(axis=1))[gap.any(axis=1)]])
    return np.unique(places[places < count]), size


def _short(value: float) -> float | None:
    """Six digits are more than a picture shows and half of the file."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
