"""How every figure looks: colours, rows over one axis of steps, what marks an event, and what runs are aligned by."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diagnostics.report import samples
from diagnostics.report.figures.marks import TALL, event_marks
from diagnostics.report.figures.palette import COLOURS, GREY, faint
from diagnostics.report.figures.view import X
from diagnostics.report.series import LIMIT, Curve, curve
from diagnostics.report.text import END, ISOLATE, shown, visible
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEAD = 28  # pixels of the title, which a page takes away to show it as a heading
MARGIN = {"l": 62, "r": 18, "t": 34 + HEAD, "b": 44}  # pixels; plotly grows the top for a legend of several lines


class Row(NamedTuple):
    """Traces over one axis of values."""

    label: str  # what the axis is, with its unit
    traces: Sequence[Any]
    height: int = 200  # pixels
    axis: Mapping[str, Any] = MappingProxyType({})  # more of plotly's settings of it


def text(words: str) -> str:
    """Text for a place where plotly reads tags; long names are cut. What is hidden in a name of a run is spelt out."""
    cut = words if len(words) <= 60 else words[:57] + "..."
    return html.escape(visible(cut, keep=ISOLATE + END))


def limit(runs: Sequence[RunFiles]) -> int:
    """Points of a curve when so many runs share a page."""
    return LIMIT // max(1, len(runs))


def colour_of(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """A run's colour among several."""
    return COLOURS[list(runs).index(run) % len(COLOURS)]


def lead(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """What stands before a name where there are several runs."""
    return f"{shown(run.name, 40)} · " if len(runs) > 1 else ""


def of(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """What stands behind a title where each of several runs has a figure of its own."""
    return f", {shown(run.name, 30)}" if len(runs) > 1 else ""


def has(run: RunFiles, metric: str) -> bool:
    """Whether a run has values of a metric."""
    return metric in run.metrics and bool(run.metrics[metric].notna().any())


def line(run: RunFiles, found: Curve, name: str, colour: str, dash: str = "solid", width: float = 2, **more) -> Any:
    """A curve as a trace; `name` is text of any origin."""
    import plotly.graph_objects as go

    few = len(found.steps) <= 30
    alone = any(len(piece) == 1 for piece in _pieces(found))  # between gaps, where it has no line to be seen by
    thinned = f" (lowest and highest of {found.pooled} steps)" if found.pooled > 1 else ""
    size, sample = samples.on_hover(run.metrics, found)
    return go.Scatter(
        x=found.steps,
        y=np.array(found.values, np.float32),  # None becomes NaN, a gap
        name=text(name),
        meta={"run": run.name},
        mode="lines+markers" if few or alone else "lines",
        line={"color": colour, "dash": dash, "width": width},
        marker={"size": 5 if few else 3},
        text=size,
        hovertemplate=f"%{{y:.4g}}{sample}{thinned}",
        **more,
    )


def band(run: RunFiles, low: Curve, high: Curve, colour: str) -> list[Any]:
    """The area between two curves, without a name of its own. It has the gaps of the curves."""
    import plotly.graph_objects as go

    x: list[float] = []
    y: list[float] = []
    for lows, highs in _pairs(_pieces(low), _pieces(high)):
        there_and_back = [*highs, *reversed(lows), (np.nan, np.nan)]
        x += [step for step, _ in there_and_back]
        y += [value for _, value in there_and_back]
    if not x:
        return []
    edge = {"width": 1, "color": faint(colour, 0.12)}  # a single step between two gaps is a line, and to be seen
    look = {"mode": "lines", "fill": "toself", "fillcolor": faint(colour), "line": edge}
    hidden = {"hoverinfo": "skip", "showlegend": False, "meta": {"run": run.name}}
    return [go.Scatter(x=np.array(x[:-1], float), y=np.array(y[:-1], np.float32), **look, **hidden)]


Piece = list[tuple[float, float]]
"""Step and value of neighbours without a gap between them."""


def _pieces(found: Curve) -> list[Piece]:
    pairs = zip(found.steps, found.values, strict=True)
    parts = itertools.groupby(pairs, key=lambda pair: pair[1] is None)
    return [list(part) for gap, part in parts if not gap]


def _pairs(lows: list[Piece], highs: list[Piece]) -> list[tuple[Piece, Piece]]:
    """The pieces of both ends that belong together; of ends that have other gaps, the steps that both have."""
    if len(lows) == len(highs):
        return list(zip(lows, highs, strict=True))
    high = {step: value for piece in highs for step, value in piece}
    common = [[pair for pair in piece if pair[0] in high] for piece in lows]
    return [(piece, [(step, high[step]) for step, _ in piece]) for piece in common if piece]


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
    """The metrics of all runs with their intervals.

    Of several runs the colour is the run's and the dash the metric's: the legend names each once, not every pair.
    """
    chosen, several = tuple(metrics), len(runs) > 1
    traces = [
        trace
        for run in runs
        for metric, name, colour, dash in chosen
        for trace in measured(
            runs, run, metric, lead(runs, run) + name, colour_of(runs, run) if several else colour, dash
        )
    ]
    if not several or not traces:
        return traces
    for trace in traces:
        trace.update(showlegend=False, legendgroup=trace.meta["run"])
    there = {trace.meta["run"] for trace in traces}
    shown_runs = [run for run in runs if run.name in there]
    keys = [_key(run, shown(run.name, 40), colour_of(runs, run), "solid", run.name) for run in shown_runs]
    drawn = [item for item in chosen if any(trace.name and trace.name.endswith(text(item[1])) for trace in traces)]
    if len(drawn) > 1:  # of one metric the axis says what it is
        keys += [_key(runs[0], name, GREY, dash, f"metric {name}") for _, name, _, dash in drawn]
    return traces + keys


def _key(run: RunFiles, name: str, colour: str, dash: str, group: str) -> Any:
    """An entry of the legend without a curve; a click on a run's hides its curves."""
    import plotly.graph_objects as go

    look = {"mode": "lines", "line": {"color": colour, "dash": dash, "width": 2}, "hoverinfo": "skip"}
    own = {"name": text(name), "legendgroup": group, "meta": {"run": run.name, "key": group}}
    return go.Scatter(x=[None], y=[None], **own, **look)


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

    made, drawn = [], [row for row in rows if row.traces]
    gap, inside = 16, sum(row.height for row in drawn) + 16 * (len(drawn) - 1)
    axes, top, keys = {}, inside, set()
    for number, row in enumerate(drawn, 1):
        ref = "" if number == 1 else str(number)
        domain = [max(0.0, (top - row.height) / inside), top / inside]
        axes[f"yaxis{ref}"] = {"title": {"text": row.label, "standoff": 6}, "domain": domain, "zeroline": False}
        axes[f"yaxis{ref}"] |= {"automargin": True, "nticks": 5 if row.height < 150 else 7} | dict(row.axis)
        for trace in row.traces:
            if (key := (trace.meta or {}).get("key")) is None or key not in keys:
                made.append(trace.update(yaxis=f"y{ref}"))
                keys.add(key)
        top -= row.height + gap
    marks, words = event_marks(runs)
    last = "" if len(drawn) == 1 else str(len(drawn))
    layout = {
        **frame(title, read, inside, len(runs)),
        **axes,
        "xaxis": {"title": {"text": "step", "standoff": 4}, "zeroline": False, "anchor": f"y{last}"}
        | {"unifiedhovertitle": {"text": "step %{x}"}, "automargin": True},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "showlegend": len({trace.name for trace in made if trace.showlegend is not False}) > 1,
        "shapes": [*shapes, *marks],
        "annotations": [*notes, *words],
    }
    return align(go.Figure(made, layout), runs, x)  # at once: checking a layout that is there already takes longer


def frame(title: str, read: str, inside: int, runs: int = 1) -> dict[str, Any]:
    """What all figures have in common, for one whose axes take `inside` pixels of height, below marks of some runs."""
    import plotly.graph_objects as go

    above = TALL * (max(1, runs) - 1)
    return {
        "template": go.layout.Template(),
        "title": {"text": text(title), "font": {"size": 14}, "x": 0, "xref": "paper", "y": 0.99, "yanchor": "top"},
        "meta": {"read": read, "head": HEAD, "inside": inside, "above": above},
        "height": inside + MARGIN["t"] + above + MARGIN["b"],
        "margin": MARGIN | {"t": MARGIN["t"] + above},
        "legend": {"orientation": "h", "traceorder": "normal", "x": 0, "yanchor": "bottom"}
        | {"y": 1 + (16 + above) / inside},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


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
