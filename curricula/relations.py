"""Which prompts are related: those of one source and one level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rltrain.types import TaskTable

MOST = 16  # levels a source is told apart by; of more, neighbours share one


class Relations(NamedTuple):
    """Prompts of one source and level are related; R relations, S sources."""

    of: np.ndarray  # (N,) int32, each prompt's relation
    names: tuple[str, ...]  # (R,) "source" or "source, level 3"
    harder: np.ndarray  # (R,) int32, the next level of the same source, or -1
    source: np.ndarray  # (R,) int32, each relation's source
    sources: tuple[str, ...]  # (S,)


def relations(tasks: TaskTable) -> Relations:
    """The relations of a table. Prompts without a level are related by their source alone."""
    of = np.zeros(len(tasks), np.int32)
    names: list[str] = []
    harder: list[int] = []
    home: list[int] = []
    sources = tuple(np.unique(tasks.sources).tolist())
    for number, source in enumerate(sources):
        own = np.flatnonzero(tasks.sources == source)
        levels = np.asarray(tasks.levels, float)[own]
        steps = _steps(levels)
        unknown = np.isnan(levels)
        place = np.searchsorted(steps, levels, side="right") - 1
        first = len(names)
        of[own] = first + np.where(unknown, len(steps), place)
        names += [f"{source}, level {step:g}" for step in steps.tolist()]
        harder += [first + i + 1 if i + 1 < len(steps) else -1 for i in range(len(steps))]
        if unknown.any():
            names.append(source)
            harder.append(-1)
        home += [number] * (len(names) - first)
    return Relations(of, tuple(names), np.asarray(harder, np.int32), np.asarray(home, np.int32), sources)


def _steps(levels: np.ndarray) -> np.ndarray:
    """Lower ends of the levels told apart: each there is, or quantiles of too many."""
    there = np.unique(levels[~np.isnan(levels)])
    if len(there) <= MOST:
        return there
    return np.unique(np.quantile(levels[~np.isnan(levels)], np.arange(MOST) / MOST, method="lower"))
