"""How every figure looks: colours, layout, what marks an event, and the axis that runs are aligned by."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.report.figures.view import X
from rltrain.records import RunFiles
from rltrain.types import Event

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's palette without black and yellow: told apart by most eyes, on white and on dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C6BB1", "#7A7A7A")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = {"info": "#7A7A7A", "warning": "#E69F00", "error": "#D55E00"}
MOST_MARKS = 40  # events drawn in a figure, the gravest first


def faint(colour: str, opacity: float = 0.18) -> str:
    """A colour of `COLOURS` to fill an area with."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def text(words: str) -> str:
    """Text out of a run, for a place where plotly reads tags."""
    return html.escape(words)


def figure(title: str, unit: str, traces: Sequence[Any], runs: Sequence[RunFiles], x: X = "step") -> go.Figure:
    """Traces over steps as a figure, its events marked, aligned by `x`."""
    import plotly.graph_objects as go

    made = go.Figure(data=list(traces))
    shapes, notes = event_marks(runs)
    made.update_layout(
        template=go.layout.Template(),
        title={"text": text(title), "font": {"size": 13}, "x": 0, "xref": "paper"},
        xaxis={"title": {"text": "step", "standoff": 4}, "zeroline": False, "unifiedhovertitle": {"text": "step %{x}"}},
        yaxis={"title": {"text": unit}, "zeroline": False} | ({"rangemode": "tozero"} if unit == "share" else {}),
        hovermode="x unified",
        showlegend=len(traces) > 1,
        legend={"orientation": "h", "y": -0.26, "yanchor": "top", "x": 0},
        margin={"l": 60, "r": 16, "t": 36, "b": 40},
        shapes=shapes,
        annotations=notes,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return align(made, runs, x)


def event_marks(runs: Sequence[RunFiles]) -> tuple[list[dict], list[dict]]:
    """A dotted line and a mark with its words on hover, for each step that has an event."""
    order = ("error", "warning", "info")
    by_step: dict[tuple[str, int], list[Event]] = {}
    for run in runs:
        for event in run.events:
            by_step.setdefault((run.name, event.step), []).append(event)
    gravest = {place: min(order.index(event.severity) for event in found) for place, found in by_step.items()}
    shapes, notes = [], []
    for place in sorted(sorted(by_step), key=gravest.__getitem__)[:MOST_MARKS]:
        name, step = place
        colour = MARKS[order[gravest[place]]]
        lead = f"{name}, " if len(runs) > 1 else ""
        told = text(f"{lead}step {step}: {', '.join(event.name for event in by_step[place][:5])}")
        line = {"color": colour, "width": 1, "dash": "dot"}
        shared = {"yref": "paper", "name": name}
        shapes.append({"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "line": line} | shared)
        mark = {"x": step, "y": 1, "yanchor": "bottom", "showarrow": False, "text": "\u25be"} | shared
        notes.append(mark | {"font": {"color": colour, "size": 14}, "hovertext": told})
    return shapes, notes


def tokens_at(run: RunFiles) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps and the completion tokens trained up to each, from 0 at step 0; None where the run has not counted."""
    for name, sums in (("tokens/total", False), ("tokens/step", True)):
        known = run.metrics[["step", name]].dropna() if name in run.metrics else ()
        if len(known):
            tokens = known[name].cumsum() if sums else known[name]
            return np.append(0.0, known["step"]), np.append(0.0, tokens)
    return None


def align(made: go.Figure, runs: Sequence[RunFiles], x: X) -> go.Figure:
    """Move what belongs to a run (a trace's `meta`, a mark's `name`) from its steps to its tokens, if so asked.

    A run that has not counted its tokens keeps its steps out of the picture.
    """
    if x == "step":
        return made
    scales = {run.name: tokens_at(run) for run in runs}
    kept = [trace for trace in made.data if scales.get((trace.meta or {}).get("run")) is not None]
    for trace in kept:
        trace.customdata = trace.x
        trace.x = np.interp(np.asarray(trace.x, float), *scales[trace.meta["run"]])
    made.data = kept
    for kind, ends in (("shapes", ("x0", "x1")), ("annotations", ("x",))):
        moved = [part for part in made.layout[kind] if scales.get(part.name) is not None]
        for part in moved:
            for end in ends:
                part[end] = float(np.interp(part[end], *scales[part.name]))
        made.layout[kind] = moved
    made.update_layout(xaxis={"title": {"text": "completion tokens trained"}, "unifiedhovertitle": {"text": "%{x}"}})
    return made
