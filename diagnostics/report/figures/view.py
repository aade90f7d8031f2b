"""What a picture of a run is: a name, words for its reader, and a function from run files to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from diagnostics.report.text import shown
from rltrain.metrics import METRICS, stem
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go

X = Literal["step", "tokens"]
"""What the runs are aligned by: optimizer steps, or completion tokens trained so far."""

Draw = Callable[[Sequence[RunFiles], X], "list[go.Figure]"]


class View(NamedTuple):
    """One picture of a run, or several that are read together.

    Every trace has `meta = {"run": name}`, and `customdata` with its steps where x is not the step, so that a point
    leads back to a step of a run.
    """

    name: str  # also the anchor in the page
    title: str
    how_to_read: str
    draw: Draw  # nothing where the runs have nothing for it
    lies: str  # when the picture says what is not so
    metrics: tuple[str, ...]  # stems it shows
    lacks: Callable[[RunFiles], Iterable[str]] = lambda run: ()  # what other files of the run do not hold, in words


def missing(view: View, runs: Sequence[RunFiles]) -> list[str]:
    """What a picture could show and these runs do not have, in words."""
    told = []
    for run in runs:
        lead = f"{shown(run.name)}: " if len(runs) > 1 else ""
        there = {stem(name) for name in run.metrics.columns if run.metrics[name].notna().any()}
        absent: dict[str, list[str]] = {}
        for name in view.metrics:
            if name not in there and name in METRICS:
                absent.setdefault(METRICS[name].source, []).append(name)
        told += [f"{lead}no {', '.join(names)} (measured by: {source})" for source, names in absent.items()]
        told += [f"{lead}{words}" for words in view.lacks(run)]
    return told
