"""What a curve rests on: how large its sample was, step by step and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diagnostics.report.text import shown
from rltrain.metrics import METRICS, stem
from rltrain.metrics.metric import Metric

if TYPE_CHECKING:
    import pandas as pd

    from diagnostics.report.series import Curve
    from rltrain.records import RunFiles


def sizes(frame: pd.DataFrame, name: str) -> pd.Series | None:
    """Sample sizes of a curve, indexed by step; None where it has none or the run did not count them.

    `name`: the full name. Of a class it is the class's own count where the run has that, else that of the whole.
    """
    metric = METRICS.get(stem(name))
    label = name.removeprefix(stem(name))
    found = [f"{count}{label}" if f"{count}{label}" in frame else count for count in metric.sample] if metric else []
    if not found or any(count not in frame for count in found):
        return None
    known = frame[["step", *found]].dropna().drop_duplicates("step", keep="last").set_index("step").sum(axis=1)
    return known if len(known) else None


def on_hover(frame: pd.DataFrame, curve: Curve) -> tuple[list[str] | None, str]:
    """Sizes of a curve's points, for `text`, and what the pointer says of them; one size for all needs no list."""
    counted = sizes(frame, curve.name)
    if counted is None:
        return None, ""
    at = [f"{size:,.0f}" if size == size else "?" for size in counted.reindex(curve.steps)]
    same, what = set(at) - {"?"}, unit(curve.name)
    return (None, f" ({same.pop()} {what})") if len(same) == 1 else (at, f" (%{{text}} {what})")


def unit(name: str) -> str:
    """What a sample of this metric consists of: completions, tokens, prompts."""
    return METRICS[METRICS[stem(name)].sample[0]].unit


def words(metric: Metric, runs: Sequence[RunFiles]) -> str:
    """`32 (28 to 32) completions a step`, of several runs each; nothing where no run counted."""
    counted = {run.name: found for run in runs if (found := _of_curve(run.metrics, metric.stem)) is not None}
    if not counted:
        return ""
    what = unit(metric.stem)
    if what == "steps":  # so many so far
        told, what = {run: f"{found.iloc[-1]:,.0f}" for run, found in counted.items()}, "steps in the end"
    else:
        told, what = {run: _range(found) for run, found in counted.items()}, f"{what} a step"
    if len(set(told.values())) == 1:
        return f"{next(iter(told.values()))} {what}"
    return f"{what}: " + ", ".join(f"{shown(run)} {size}" for run, size in told.items())


def _of_curve(frame: pd.DataFrame, name: str) -> pd.Series | None:
    """The sizes at the steps at which the metric itself has a value."""
    found = sizes(frame, name)
    if found is None or name not in frame:
        return found
    there = found[found.index.isin(frame.loc[frame[name].notna(), "step"])]
    return there if len(there) else None


def _range(found: pd.Series) -> str:
    low, middle, high = (f"{value:,.0f}" for value in (found.min(), found.median(), found.max()))
    return middle if low == high else f"{middle} ({low} to {high})"
