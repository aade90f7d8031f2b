"""Panels as plotly figures.

A panel becomes one figure for each unit, with the totals of its metrics, and one for each metric that is also
known per source or class. Several runs share every figure, told apart by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from diagnostics.report.figures.style import COLOURS, DASHES, faint, figure, text
from diagnostics.report.figures.view import X
from diagnostics.report.series import Curve, curves
from rltrain.metrics import METRICS
from rltrain.records import RunFiles
from rltrain.types import Panel

if TYPE_CHECKING:
    import plotly.graph_objects as go


class Trace(NamedTuple):
    """A curve with its place in a figure."""

    run: RunFiles
    curve: Curve
    label: str
    colour: str
    dash: str


def figures(panel: Panel, runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The figures of a panel, totals first; a metric that no run has is left out."""
    made = []
    bounds = {name for name in panel.metrics if _base(name) in panel.metrics}
    by_unit: dict[str, list[str]] = {}
    for name in panel.metrics:
        if name not in bounds:
            by_unit.setdefault(_unit(name), []).append(name)
    for unit, names in by_unit.items():
        totals = _totals(names, runs)
        if totals:
            bands = [band for trace in totals for band in _band(trace)]
            made.append(figure(_title(names, totals), unit, bands + [_line(trace) for trace in totals], runs, x))
    for name in panel.metrics:
        split = [(run, [c for c in curves(run.metrics, name) if c.label]) for run in runs]
        split = [(run, found) for run, found in split if found]
        if name in bounds or not split:
            continue
        title = f"{name} by {_what(name)}"
        if panel.kind == "heat":
            made += [figure(f"{title}, {run.name}", "", [_heat(run, found)], [run], x) for run, found in split]
        else:
            total = _totals([name], runs) if panel.kind == "line" else []
            made.append(figure(title, _unit(name), _classes(split, panel, total, runs), runs, x))
    return made


def _base(name: str) -> str:
    """The metric that a bound belongs to: `entropy/gap_low` -> `entropy/gap`; nothing for any other."""
    return next((name.removesuffix(end) for end in ("_low", "_high") if name.endswith(end)), "")


def _unit(name: str) -> str:
    return METRICS[name].unit if name in METRICS else ""


def _what(name: str) -> str:
    """What the classes of a metric are; its meaning names them after an `@`."""
    meaning = METRICS[name].meaning if name in METRICS else ""
    return meaning.partition("(@ ")[2].partition(")")[0] or "source"


def _totals(names: Sequence[str], runs: Sequence[RunFiles]) -> list[Trace]:
    """The curves without a class: a colour for each run when there are several, else for each metric."""
    traces = []
    for i, run in enumerate(runs):
        for j, name in enumerate(names):
            for curve in curves(run.metrics, name)[:1]:
                if not curve.label:
                    label = " · ".join(part for part in (run.name if len(runs) > 1 else "", name) if part)
                    colour = COLOURS[(i if len(runs) > 1 else j) % len(COLOURS)]
                    dash = DASHES[(j if len(runs) > 1 else j // len(COLOURS)) % len(DASHES)]
                    traces.append(Trace(run, curve, label, colour, dash))
    return traces


def _title(names: Sequence[str], traces: Sequence[Trace]) -> str:
    shown = [name for name in names if any(trace.curve.name == name for trace in traces)]
    return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} and {len(shown) - 1} more"


def _band(trace: Trace) -> list[Any]:
    """The area between a metric's `_low` and `_high`, if the run has them."""
    import plotly.graph_objects as go

    ends = [curves(trace.run.metrics, trace.curve.name + end) for end in ("_low", "_high")]
    if not all(ends):
        return []
    shared = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    shared["meta"] = {"run": trace.run.name}
    low, high = (found[0] for found in ends)
    return [
        go.Scatter(x=low.steps, y=low.values, **shared),
        go.Scatter(x=high.steps, y=high.values, fill="tonexty", fillcolor=faint(trace.colour), **shared),
    ]


def _line(trace: Trace, width: float = 2, **more: Any) -> Any:
    import plotly.graph_objects as go

    pooled = f" (mean of {trace.curve.pooled} steps)" if trace.curve.pooled > 1 else ""
    return go.Scatter(
        x=trace.curve.steps,
        y=trace.curve.values,
        name=text(trace.label),
        meta={"run": trace.run.name},
        mode="lines+markers" if len(trace.curve.steps) <= 30 else "lines",
        line={"color": trace.colour, "dash": trace.dash, "width": width},
        marker={"size": 5},
        hovertemplate=f"%{{y:.4g}}{pooled}",
        **more,
    )


def _heat(run: RunFiles, found: Sequence[Curve]) -> Any:
    """A row for each class, a column for each step."""
    import plotly.graph_objects as go

    rows = {curve.label: dict(zip(curve.steps, curve.values, strict=True)) for curve in found}
    steps = sorted({step for row in rows.values() for step in row})
    grid = [[row.get(step) for step in steps] for row in rows.values()]
    return go.Heatmap(
        x=steps,
        y=[text(label) for label in rows],
        z=grid,
        meta={"run": run.name},
        colorscale="Viridis",
        hoverongaps=False,
    )


def _classes(
    split: Sequence[tuple[RunFiles, list[Curve]]], panel: Panel, total: Sequence[Trace], runs: Sequence[RunFiles]
) -> list[Any]:
    """The curves per source or class, after the total where there is one."""
    several = len(runs) > 1
    labels = list(dict.fromkeys(curve.label for _, found in split for curve in found))
    made = [_line(trace if several else trace._replace(label="all", colour="#7A7A7A"), 3) for trace in total]
    for run, found in split:
        for curve in found:
            j = labels.index(curve.label)
            label = f"{run.name} · {curve.label}" if several else curve.label
            colour = COLOURS[(runs.index(run) if several else j) % len(COLOURS)]
            dash = DASHES[(j + 1 if several else j // len(COLOURS)) % len(DASHES)]
            stack = {"stackgroup": "classes"} if panel.kind == "area" and not several else {}
            made.append(_line(Trace(run, curve, label, colour, dash), 1.5, **stack))
    return made
