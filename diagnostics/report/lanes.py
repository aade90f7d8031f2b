"""What each rollout engine did over time, out of a run's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diagnostics.report import rollouts
from diagnostics.report.series import extremes
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd

STATES = ("generating", "loading", "starting", "idle")


class Lane(NamedTuple):
    """One engine over steps."""

    engine: str
    steps: np.ndarray  # (S,)
    shares: dict[str, np.ndarray]  # by state: its part of the engine's time in each step (S,)
    restarts: list[int]  # steps at which it was replaced


def lanes(run: RunFiles, limit: int) -> list[Lane]:
    """By engine, each of at most about `limit` real steps: the least and the most idle one of each stretch."""
    engines = dict.fromkeys(
        name.partition("@")[2]
        for state in STATES
        for name in run.metrics.columns
        if name.startswith(f"engine/{state}_s@") and run.metrics[name].notna().any()
    )
    return [_lane(run.metrics, engine, restarts(run).get(engine, []), limit) for engine in sorted(engines)]


def restarts(run: RunFiles) -> dict[str, list[int]]:
    """Steps at which engines were replaced, by engine."""
    found: dict[str, list[int]] = {}
    for event in run.events:
        if event.name == "engine_restarted":
            found.setdefault(str(event.evidence.get("engine", "")), []).append(event.step)
    return found


def _lane(frame: pd.DataFrame, engine: str, at: list[int], limit: int) -> Lane:
    columns = {state: f"engine/{state}_s@{engine}" for state in STATES if f"engine/{state}_s@{engine}" in frame}
    rows = frame.dropna(subset=list(columns.values()), how="all")
    seconds = {state: rows[column].fillna(0).to_numpy(float) for state, column in columns.items()}
    total = np.maximum(sum(seconds.values()), 1e-9)
    shares = {state: values / total for state, values in seconds.items()}
    busy = shares.get("generating", total)
    kept, _ = extremes(busy, limit)
    return Lane(engine, rows["step"].to_numpy()[kept], {s: v[kept] for s, v in shares.items()}, at)


def served(run: RunFiles) -> list[Lane]:
    """For a run without such times: the share of a step's completions that each engine made, as `generating`."""
    rows = run.rollouts(rollouts.sampled(run.rollout_steps()), ("step", "engine")).dropna()
    if rows.empty:
        return []
    counts = rows.groupby(["step", "engine"]).size().unstack(fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)
    again = restarts(run)
    return [
        Lane(str(name), shares.index.to_numpy(), {"generating": shares[name].to_numpy()}, again.get(str(name), []))
        for name in shares
    ]
