"""Format river: in which forms the answers are written over time, how many are left, and which of them are right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.report.figures import style
from diagnostics.report.figures.marks import side
from diagnostics.report.figures.palette import BLUE, GREEN, RED, colours, faint
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import curve, curves, extremes
from diagnostics.report.text import shown
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

METRICS = (
    "format/share", "format/effective", "format/effective_in_group", "format/structures",
    "format/accuracy", "format/judged", "format/completions", "eval/format_share",
)  # fmt: skip
BELOW_TICKS = 18  # pixels: a name under a column does not touch the axis' numbers
BASE_STEPS = 5  # the first steps stand for the base model where it was not evaluated, as for the format diagnostic
SHARE, HELD_OUT, ACCURACY = "format/share@", "eval/format_share@", "format/accuracy@"
FEWEST = 10  # completions of a form below which its accuracy at a step is not drawn


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """A river for each run, how many forms are left, and the accuracy of each form."""
    rivers = [_river(run, runs, x) for run in runs]
    drawn = (*rivers, _variety(runs, x), *(_accuracy(run, runs, x) for run in runs))
    return [figure for figure in drawn if figure is not None]


def shares(run: RunFiles) -> pd.DataFrame:
    """Rows of steps with shares (absent is 0), a column a form, largest form first; indexed by step."""
    frame = run.metrics
    names = [name for name in frame.columns if name.startswith(SHARE) and frame[name].notna().any()]
    known = frame[frame[names].notna().any(axis=1)] if names else frame.iloc[:0]
    found = known.set_index("step")[names].fillna(0.0).rename(columns=lambda name: name.removeprefix(SHARE))
    return found[found.mean().sort_values(ascending=False).index]


def base_shares(found: pd.DataFrame, run: RunFiles) -> tuple[Mapping[str, float], str]:
    """Shares of the base model and what they rest on: its held-out completions of step 0, else the first steps'."""
    if held_out := _held_out(run):
        return held_out, "on the held-out prompts"
    first = found.iloc[:BASE_STEPS]
    counts = run.metrics.set_index("step").get("format/completions")
    weights = np.ones(len(first)) if counts is None else counts.loc[first.index].fillna(0).to_numpy()
    weights = weights if weights.sum() > 0 else np.ones(len(first))
    shares = {name: float(np.average(first[name], weights=weights)) for name in first}
    return shares, f"as far as the first {len(first)} steps tell"


def _held_out(run: RunFiles) -> Mapping[str, float]:
    zero = run.metrics[run.metrics["step"] == 0]
    names = [name for name in zero.columns if name.startswith(HELD_OUT) and zero[name].notna().any()]
    return {name.removeprefix(HELD_OUT): float(zero[name].iloc[-1]) for name in names}


def _river(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    import plotly.graph_objects as go

    found = shares(run)
    if found.empty:
        return None
    variety = run.metrics.set_index("step").get("format/effective")
    key = found.iloc[:, 0] if variety is None else variety.loc[found.index]
    places, pool = extremes(key.to_numpy(float), style.limit(runs) // 2)
    base, where = base_shares(found, run)
    found = found.reindex(columns=list(dict.fromkeys([*found.columns, *base])), fill_value=0.0)
    kept, palette = found.iloc[places], colours(list(found.columns))
    first, last = int(found.index[0]), int(found.index[-1])
    wide = max(0.4, (last - first) * 0.03)  # the base model's column, left of the first step with a gap between
    traces: list[Any] = []
    for name in found.columns:
        own = {"name": style.text(name), "meta": {"run": run.name}, "legendgroup": name, "mode": "lines"}
        look = {"line": {"width": 0.8, "color": palette[name]}, "fillcolor": faint(palette[name], 0.75)}
        traces.append(
            go.Scatter(
                x=kept.index.tolist(),
                y=kept[name].to_numpy(np.float32),
                stackgroup="steps",
                hovertemplate="%{y:.1%}",
                **own,
                **look,
            )
        )
        traces.append(
            go.Scatter(
                x=[first - 2 * wide, first - wide],
                y=[base.get(name, 0.0)] * 2,
                stackgroup="base",
                showlegend=False,
                hovertemplate=f"%{{y:.1%}} {where}",
                **own,
                **look,
            )
        )
    read = (
        f"Each width is a form's share of the completions; the column at the left edge is the base model {where}. "
        "One form that fills the river is a collapse."
    )
    if pool > 1:
        read += f" Drawn: of every {pool} steps the one of least and the one of most variety."
    shapes, notes = _collapse(run)
    notes.append({"x": first - 1.5 * wide, "y": 0, "yref": "paper", "yanchor": "top", "yshift": -BELOW_TICKS})
    notes[-1] |= {"text": "base", "showarrow": False, "name": run.name, "font": {"size": 11}}
    rows = [Row("share of completions", traces, 240, {"range": [0, 1], "tickformat": ".0%"})]
    title = f"Forms of the answers{style.of(runs, run)}"
    made = style.figure(title, read, rows, [run], "step", shapes=shapes, notes=notes)
    return style.align(made, [run], x)


def _collapse(run: RunFiles) -> tuple[list[dict], list[dict]]:
    """The step at which a form took over, and the one at which it gave way."""
    found = run.diagnosis.get("format")
    told = found if isinstance(found, Mapping) else {}
    onset, until, winner = told.get("onset_step"), told.get("until_step"), told.get("winner", "")
    for event in run.events:  # of a run whose diagnosis is not written yet
        if onset is None and event.name == "format_collapse":
            onset, winner = event.evidence.get("onset_step", event.step), event.evidence.get("winner")
    steps = {step: words for step, words in ((onset, "takes over"), (until, "gives way")) if isinstance(step, int)}
    marks = [_mark(run, step, f" {shown(winner, 30)} {words} ") for step, words in steps.items()]
    return [line for line, _ in marks], [words for _, words in marks]


def _mark(run: RunFiles, step: int, said: str) -> tuple[dict, dict]:
    """A line at a step and the words beside it."""
    line = {"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "yref": "paper", "name": run.name}
    words = {"x": step, "y": 0.97, "yref": "paper", "xanchor": side(run, step), "yanchor": "top"}
    words |= {"showarrow": False, "text": style.text(said), "name": run.name}
    words |= {"font": {"color": "#1c1d20", "size": 12}}
    return line | {"line": {"width": 2, "color": "#1c1d20"}}, words | {"bgcolor": "rgba(255,255,255,0.8)"}


def _variety(runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """Effective numbers; of several runs the colour is the run's."""
    made = style.listed(
        runs,
        (
            ("format/effective", "forms in use", BLUE, "solid"),
            ("format/effective_in_group", "forms one prompt gets", RED, "dash"),
            ("format/structures", "structures in use", GREEN, "dot"),
        ),
    )
    if not made:
        return None
    read = "As if that many were used equally often; 1 is a collapse."
    if any(style.has(run, "format/structures") for run in runs):
        read += " Structures that stay up say: a new form, no loss."
    return style.figure("How many forms are left", read, [Row("effective number", made, 190)], runs, x)


def _accuracy(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """The outcome of the completions in each form, where enough of them were judged."""
    judged = run.metrics.set_index("step")
    listed = list(shares(run).columns)
    palette, made = colours(listed), []
    for name in listed:
        accuracy, count = judged.get(ACCURACY + name), judged.get(f"format/judged@{name}")
        if accuracy is None:
            continue
        enough = accuracy if count is None else accuracy.where(count >= FEWEST)
        found = curve(enough.rename("accuracy").reset_index(), "accuracy", style.limit(runs))
        if found:
            made.append(style.line(run, found, name, palette[name], "solid", 1.5))
    if not made:
        return None
    read = (
        f"Mean outcome of each form's completions, where {FEWEST} or more were judged. The form that wins should be "
        "the one that is most often right."
    )
    title = f"Accuracy by form{style.of(runs, run)}"
    return style.figure(title, read, [Row("outcome, share", made, 190, {"range": [-0.02, 1.02]})], [run], x)


def lacks(run: RunFiles) -> Iterable[str]:
    """The base model's own formats, which a run without an evaluation at step 0 does not write."""
    if curves(run.metrics, "format/share") and not _held_out(run):
        return ["the base model's formats at step 0 are not written; the first steps stand for them at the left edge"]
    return []


VIEW = View(
    name="format_river",
    title="Formats",
    how_to_read=(
        "The width of a form is its share. Compare the left edge with today: what was lost, what took over, and "
        "whether the winner is the form that is most often right."
    ),
    draw=draw,
    lies=(
        "A form the classifier does not know counts as other: look at the structures too. A changed mix of tasks "
        "changes the forms without any collapse, and small steps make the widths jump."
    ),
    metrics=METRICS,
    lacks=lacks,
)
