"""The panels that plugins ask for, as figures of single curves.

A panel becomes one figure for each unit, with the totals of its metrics, and one for each metric that is also
known per source or class. Several runs share every figure, told apart by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diagnostics.report.figures import style
from diagnostics.report.figures.palette import COLOURS, DASHES, GREY, SCALE, colours
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import X
from diagnostics.report.series import Curve, curve, curves, extremes
from diagnostics.report.text import shown
from rltrain.metrics import METRICS
from rltrain.records import RunFiles
from rltrain.types import Panel

if TYPE_CHECKING:
    import plotly.graph_objects as go

Split = Sequence[tuple[RunFiles, list[Curve]]]
"""A metric's curves by source or class, of each run that has any."""


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
            drawn = [trace for one in totals for trace in _band(one, style.limit(runs))]
            title, read = _title(names, totals), _reading(names, totals)
            made.append(_figure(title, read, unit, drawn + [_line(one) for one in totals], runs, x))
    for name in panel.metrics:
        if name not in bounds:
            made += _by_class(panel, name, runs, x)
    return made


def _by_class(panel: Panel, name: str, runs: Sequence[RunFiles], x: X) -> list[go.Figure]:
    """The figures of one metric per source or class: one, or of a heat map one a run."""
    together = panel.kind != "line"
    split = [(run, [c for c in _curves(run, name, style.limit(runs), together) if c.label]) for run in runs]
    split = [(run, found) for run, found in split if found]
    title, read = f"{name} by {_what(name)}", METRICS[name].reading if name in METRICS else ""
    if not split:
        return []
    if panel.kind == "heat":
        drawn = [
            _figure(f"{title}, {shown(run.name, 30)}", read, "", [_heat(run, found)], [run], x) for run, found in split
        ]
        return [figure.update_layout(hovermode="closest") for figure in drawn]
    total = _totals([name], runs) if panel.kind == "line" else []
    return [_figure(title, read, _unit(name), _classes(split, panel, total, runs), runs, x)]


def _curves(run: RunFiles, name: str, limit: int, together: bool) -> list[Curve]:
    """The curves of a stem; `together`: all at the same steps, those at which the largest one has its extremes."""
    if not together:
        return curves(run.metrics, name, limit)
    columns = [column for column in run.metrics.columns if column.partition("@")[0] == name]
    rows = run.metrics.dropna(subset=columns, how="all") if columns else run.metrics
    if not columns or rows.empty:
        return []
    largest = max(columns, key=lambda column: rows[column].fillna(0).mean())
    places, pool = extremes(rows[largest].to_numpy(np.float64), limit)
    return [found._replace(pooled=pool) for found in curves(rows.iloc[places], name, 2 * len(places), gaps=False)]


def _figure(title: str, read: str, unit: str, traces: Sequence[Any], runs: Sequence[RunFiles], x: X) -> go.Figure:
    axis = {"rangemode": "tozero"} if unit == "share" else {}
    return style.figure(title, read, [Row(unit, traces, 220, axis)], runs, x)


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
            if found := curve(run.metrics, name, style.limit(runs)):
                colour = COLOURS[(i if len(runs) > 1 else j) % len(COLOURS)]
                dash = DASHES[(j if len(runs) > 1 else j // len(COLOURS)) % len(DASHES)]
                traces.append(Trace(run, found, style.lead(runs, run) + name, colour, dash))
    return traces


def _shown(names: Sequence[str], traces: Sequence[Trace]) -> list[str]:
    return [name for name in names if any(trace.curve.name == name for trace in traces)]


def _title(names: Sequence[str], traces: Sequence[Trace]) -> str:
    shown = _shown(names, traces)
    return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} and {len(shown) - 1} more"


def _reading(names: Sequence[str], traces: Sequence[Trace]) -> str:
    """How to read the metric, or the first of several."""
    return next((METRICS[name].reading for name in _shown(names, traces) if name in METRICS), "")


def _band(trace: Trace, limit: int) -> list[Any]:
    """The area between a metric's `_low` and `_high`, if the run has them."""
    low, high = (curve(trace.run.metrics, trace.curve.name + end, limit) for end in ("_low", "_high"))
    return style.band(trace.run, low, high, trace.colour) if low and high else []


def _line(trace: Trace, width: float = 2, **more: Any) -> Any:
    return style.line(trace.run, trace.curve, trace.label, trace.colour, trace.dash, width, **more)


def _heat(run: RunFiles, found: Sequence[Curve]) -> Any:
    """A row for each class, a column for each step."""
    import plotly.graph_objects as go

    rows = {of.label: dict(zip(of.steps, of.values, strict=True)) for of in found}
    steps = sorted({step for row in rows.values() for step in row})
    return go.Heatmap(
        x=steps,
        y=[style.text(label) for label in rows],
        z=np.array([[row.get(step) for step in steps] for row in rows.values()], np.float32),
        meta={"run": run.name},
        colorscale=SCALE,
        hoverongaps=False,
        colorbar={"thickness": 12},
    )


def _classes(split: Split, panel: Panel, total: Sequence[Trace], runs: Sequence[RunFiles]) -> list[Any]:
    """The curves per source or class, after the total where there is one."""
    several = len(runs) > 1
    labels = list(dict.fromkeys(of.label for _, found in split for of in found))
    own = colours(labels)
    made = [_line(trace if several else trace._replace(label="all", colour=GREY), 3) for trace in total]
    for run, found in split:
        for of in found:
            j = labels.index(of.label)
            colour = style.colour_of(runs, run) if several else own[of.label]
            dash = DASHES[(j + 1 if several else j // len(COLOURS)) % len(DASHES)]
            stack = {"stackgroup": "classes"} if panel.kind == "area" and not several else {}
            made.append(_line(Trace(run, of, style.lead(runs, run) + shown(of.label), colour, dash), 1.5, **stack))
    return made
