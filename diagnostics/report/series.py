"""Curves out of metric files: which a run has, where they have gaps, and thinned to what a screen can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rltrain.metrics import stem

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 1500  # points of a curve; more are averaged over neighbours


class Curve(NamedTuple):
    """One metric of one run."""

    name: str  # the metric's full name
    label: str  # what follows the `@`, or nothing
    steps: list[float]
    values: list[float | None]  # None where the run has a gap
    pooled: int  # steps averaged into one point


def stems_of(frame: pd.DataFrame) -> list[str]:
    """The stems a run has values for, in the order of the file."""
    return list(dict.fromkeys(stem(name) for name in frame.columns if name != "step" and frame[name].notna().any()))


def curves(frame: pd.DataFrame, metric: str) -> list[Curve]:
    """The curves of a stem: the total first, then one a source or class."""
    names = [name for name in frame.columns if stem(name) == metric and frame[name].notna().any()]
    return [_curve(frame, name) for name in sorted(names)]


def _curve(frame: pd.DataFrame, name: str) -> Curve:
    known = frame[name].notna()
    inside = known.cummax() & known[::-1].cummax()[::-1]
    # Seldom measured (an evaluation): joined points. Mostly measured: a missing step is a gap to be seen.
    rows = frame[inside if known.sum() * 2 >= inside.sum() else known]
    steps, values = rows["step"].tolist(), rows[name].tolist()
    pool = math.ceil(len(steps) / LIMIT)
    if pool > 1:
        steps = [_mean(steps[i : i + pool]) for i in range(0, len(steps), pool)]
        values = [_mean(values[i : i + pool]) for i in range(0, len(values), pool)]
    return Curve(name, name.partition("@")[2], steps, [_short(value) for value in values], pool)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _short(value: float) -> float | None:
    """Six digits are more than a picture shows and half of the file."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
