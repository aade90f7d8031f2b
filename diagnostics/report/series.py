"""Curves out of metric files: which a run has, where they have gaps, and thinned to what a screen can show.

A long curve keeps the lowest and the highest value of each stretch of steps, at the steps where they were: a spike of
one step in ten thousand is in the picture. Nothing is averaged, and no point is drawn that the run did not have.
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


def curves(frame: pd.DataFrame, metric: str, limit: int = LIMIT) -> list[Curve]:
    """The curves of a stem: the total first, then one a source or class; each of about `limit` points at most."""
    names = [name for name in frame.columns if stem(name) == metric and frame[name].notna().any()]
    return [_curve(frame, name, limit) for name in sorted(names)]


def curve(frame: pd.DataFrame, name: str, limit: int = LIMIT) -> Curve | None:
    """The curve of a full name, where the run has it."""
    return _curve(frame, name, limit) if name in frame and frame[name].notna().any() else None


def _curve(frame: pd.DataFrame, name: str, limit: int) -> Curve:
    values = frame[name].to_numpy(np.float64)
    steps = frame["step"].to_numpy()
    known = ~np.isnan(values)
    first, last = np.flatnonzero(known)[[0, -1]]
    # Seldom measured (an evaluation): joined points. Mostly measured: a missing step is a gap to be seen.
    kept = np.arange(first, last + 1) if known.sum() * 2 >= last - first + 1 else np.flatnonzero(known)
    places, pool = extremes(values[kept], limit)
    kept = kept[places]
    return Curve(name, name.partition("@")[2], steps[kept].tolist(), [_short(v) for v in values[kept].tolist()], pool)


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
