"""How every figure looks: colours, rows over one axis of steps, what marks an event, and what runs are aligned by."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diagnostics.report.figures.view import X
from diagnostics.report.series import LIMIT, Curve, curve
from rltrain.records import RunFiles
from rltrain.types import Event

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's palette without black and yellow: told apart by most eyes, on white and on dark.
BLUE, RED, GREEN, PINK, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
VIOLET, GREY = "#8C6BB1", "#7A7A7A"
COLOURS = (BLUE, RED, GREEN, PINK, SKY, ORANGE, VIOLET, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = {"info": GREY, "warning": ORANGE, "error": RED}
SCALE = "Cividis"  # of heat and of points by step: even to every eye
MOST_MARKS = 40  # events drawn in a figure, the gravest first
HEAD = 28  # pixels of the title, which a page takes away to show it as a heading
MARGIN = {"l": 62, "r": 18, "t": 34 + HEAD, "b": 44}  # pixels; plotly grows the top for a legend of several lines


class Row(NamedTuple):
    """Traces over one axis of values."""

    label: str  # what the axis is, with its unit
    traces: Sequence[Any]
    height: int = 200  # pixels
    axis: Mapping[str, Any] = MappingProxyType({})  # more of plotly's settings of it


def faint(colour: str, opacity: float = 0.18) -> str:
    """A colour `#rrggbb` to fill an area with."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def text(words: str) -> str:
    """Text out of a run, for a place where plotly reads tags; long names are cut."""
    return html.escape(words if len(words) <= 60 else words[:57] + "...")


def limit(runs: Sequence[RunFiles]) -> int:
    """Points of a curve when so many runs share a page."""
    return LIMIT // max(1, len(runs))


def colour_of(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """A run's colour among several."""
    return COLOURS[list(runs).index(run) % len(COLOURS)]


def lead(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """What stands before a name where there are several runs."""
    return f"{run.name} · " if len(runs) > 1 else ""


def line(run: RunFiles, found: Curve, name: str, colour: str, dash: str = "solid", width: float = 2, **more) -> Any:
    """A curve as a trace; `name` is text of any origin."""
    import plotly.graph_objects as go

    few = len(found.steps) <= 30
    thinned = f" (lowest and highest of {found.pooled} steps)" if found.pooled > 1 else ""
    return go.Scatter(
        x=found.steps,
        y=np.array(found.values, np.float32),  # None becomes NaN, a gap
        name=text(name),
        meta={"run": run.name},
        mode="lines+markers" if few else "lines",
        line={"color": colour, "dash": dash, "width": width},
        marker={"size": 5},
        hovertemplate=f"%{{y:.4g}}{thinned}",
        **more,
    )


def band(run: RunFiles, low: Curve, high: Curve, colour: str) -> list[Any]:
    """The area between two curves, without a name of its own."""
    import plotly.graph_objects as go

    shared = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    shared["meta"] = {"run": run.name}
    ends = ((low, {}), (high, {"fill": "tonexty", "fillcolor": faint(colour)}))
    return [go.Scatter(x=end.steps, y=np.array(end.values, np.float32), **shared, **fill) for end, fill in ends]


def measured(runs: Sequence[RunFiles], run: RunFiles, metric: str, name: str, colour: str, dash="solid") -> list[Any]:
    """A metric of a run with its interval (`_low`, `_high`), as far as the run has them."""
    most = limit(runs)
    found, low, high = (curve(run.metrics, metric + end, most) for end in ("", "_low", "_high"))
    if found is None:
        return []
    shade = band(run, low, high, colour) if low and high else []
    return [*shade, line(run, found, name, colour, dash)]


Listed = tuple[str, str, str, str]
"""A metric with its name in the legend, its colour and its dash."""


def listed(runs: Sequence[RunFiles], metrics: Iterable[Listed]) -> list[Any]:
    """The metrics of all runs with their intervals; of several runs the colour is the run's."""
    chosen, several = tuple(metrics), len(runs) > 1
    return [
        trace
        for run in runs
        for metric, name, colour, dash in chosen
        for trace in measured(
            runs, run, metric, lead(runs, run) + name, colour_of(runs, run) if several else colour, dash
        )
    ]


def figure(
    title: str,
    read: str,
    rows: Sequence[Row],
    runs: Sequence[RunFiles],
    x: X = "step",
    *,
    shapes: Iterable[dict] = (),
    notes: Iterable[dict] = (),
) -> go.Figure:
    """Rows of traces over one axis of steps, events marked, aligned by `x`. `read`: one line on how to read it.

    Title and line are in the layout's title and meta, for a page to show beside the picture.
    """
    import plotly.graph_objects as go

    made, drawn = go.Figure(), [row for row in rows if row.traces]
    gap, inside = 16, sum(row.height for row in drawn) + 16 * (len(drawn) - 1)
    axes, top = {}, inside
    for number, row in enumerate(drawn, 1):
        ref = "" if number == 1 else str(number)
        domain = [max(0.0, (top - row.height) / inside), top / inside]
        axes[f"yaxis{ref}"] = {"title": {"text": row.label, "standoff": 6}, "domain": domain, "zeroline": False}
        axes[f"yaxis{ref}"] |= {"automargin": True, "nticks": 5 if row.height < 150 else 7} | dict(row.axis)
        for trace in row.traces:
            made.add_trace(trace.update(yaxis=f"y{ref}"))
        top -= row.height + gap
    marks, words = event_marks(runs)
    last = "" if len(drawn) == 1 else str(len(drawn))
    made.update_layout(
        **frame(title, read, inside),
        **axes,
        xaxis={"title": {"text": "step", "standoff": 4}, "zeroline": False, "anchor": f"y{last}"}
        | {"unifiedhovertitle": {"text": "step %{x}"}, "automargin": True},
        hovermode="x unified",
        hoversubplots="axis",
        showlegend=len({trace.name for trace in made.data if trace.showlegend is not False}) > 1,
        shapes=[*shapes, *marks],
        annotations=[*notes, *words],
    )
    return align(made, runs, x)


def frame(title: str, read: str, inside: int) -> dict[str, Any]:
    """What all figures have in common, for one whose axes take `inside` pixels of height."""
    import plotly.graph_objects as go

    return {
        "template": go.layout.Template(),
        "title": {"text": text(title), "font": {"size": 14}, "x": 0, "xref": "paper", "y": 0.99, "yanchor": "top"},
        "meta": {"read": read, "head": HEAD},
        "height": inside + MARGIN["t"] + MARGIN["b"],
        "margin": MARGIN,
        "legend": {"orientation": "h", "traceorder": "normal", "x": 0, "y": 1 + 16 / inside, "yanchor": "bottom"},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


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
        whose = f"{name}, " if len(runs) > 1 else ""
        told = f"{whose}step {step}: {', '.join(dict.fromkeys(event.name for event in by_step[place][:5]))}"
        shared = {"yref": "paper", "name": name}
        thin = {"color": colour, "width": 1, "dash": "dot"}
        shapes.append({"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "line": thin, "opacity": 0.7} | shared)
        mark = {"x": step, "y": 1, "yanchor": "bottom", "yshift": -3, "showarrow": False, "text": "\u25be"} | shared
        notes.append(mark | {"font": {"color": colour, "size": 14}, "hovertext": html.escape(told)})
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

    Steps stay at hand in `customdata`. A run that has not counted its tokens is left out of the picture.
    """
    if x == "step":
        return made
    scales = {run.name: tokens_at(run) for run in runs}
    kept = [trace for trace in made.data if scales.get((trace.meta or {}).get("run")) is not None]
    for trace in kept:
        at = scales[trace.meta["run"]]
        trace.customdata = trace.x
        if trace.type == "bar":  # a stretch of steps
            start = np.asarray(trace.base, float)
            ends = _moved(start, at), _moved(start + np.asarray(trace.x, float), at)
            trace.update(base=ends[0], x=ends[1] - ends[0], customdata=start)
        else:
            trace.x = _moved(np.asarray(trace.x, float), at)
    made.data = kept
    for kind, ends in (("shapes", ("x0", "x1")), ("annotations", ("x",))):
        moved = [part for part in made.layout[kind] if scales.get(part.name) is not None]
        for part in moved:
            for end in ends:
                part[end] = float(_moved(part[end], scales[part.name]))
        made.layout[kind] = moved
    made.update_layout(xaxis={"title": {"text": "completion tokens trained"}, "unifiedhovertitle": {"text": "%{x}"}})
    return made


def _moved(steps: Any, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Tokens at some steps; beyond the first and the last, at the run's mean rate."""
    known, tokens = at
    rate = tokens[-1] / max(1.0, known[-1])
    beyond = np.minimum(np.subtract(steps, known[0]), 0) + np.maximum(np.subtract(steps, known[-1]), 0)
    return np.interp(steps, known, tokens) + rate * beyond
