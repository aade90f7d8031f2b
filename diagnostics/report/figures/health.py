"""Drift and health: sampler against trainer, engines in their lanes, and where the time of a step goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.report.figures import style
from diagnostics.report.figures.palette import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    TEAL,
    VIOLET,
    WINE,
    faint,
)
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.lanes import Lane, lanes, served
from diagnostics.report.series import curve, extremes
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go

DIVERGENCE = (
    ("drift/kl_sampler_trainer", "trainer from sampler", BLUE, "solid"),
    ("drift/kl_trainer_sampler", "sampler from trainer", RED, "dash"),
)
RATIOS = (
    ("drift/ratio_max", "largest ratio", ORANGE, "dot"),
    ("drift/ratio_mean", "mean ratio", GREEN, "solid"),
    ("drift/ratio_min", "smallest ratio", SKY, "dot"),
)
WEIGHTS = (
    ("drift/ess", "effective share, tokens", VIOLET, "solid"),
    ("drift/sequence_ess", "effective share, completions", PINK, "dash"),
    ("drift/truncated_frac", "tokens cut to the cap", GREY, "dot"),
)
PARTS = {  # of a step's time: they add up to it; what else there is lies inside these
    "time/rollout_s": BLUE, "time/score_s": ORANGE, "time/train_s": GREEN, "time/publish_s": PINK,
    "time/eval_s": SKY, "time/parity_s": VIOLET, "time/diagnostics_s": RED, "time/save_s": TEAL,
    "time/scorer_s": WINE, "time/policy_s": "#999933", "time/probe_s": GREY,
}  # fmt: skip
LENT = ("time/scorer_s", "time/policy_s", "time/probe_s")  # of runs that ask for them: no other lacks anything
ENGINE = ("engine/generating_s", "engine/loading_s", "engine/idle_s")
METRICS = (
    *(metric for metric, *_ in (*DIVERGENCE, *RATIOS, *WEIGHTS)),
    *ENGINE,
    "pool/restarts",
    "time/step_s",
    *(part for part in PARTS if part not in LENT),
)
STATES = {"generating": GREEN, "loading": ORANGE, "starting": RED, "idle": GREY}
MOST_LANES = 12


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Drift of all runs in one figure; engines and time budget of each."""
    drawn = [_drift(runs, x)]
    for run in runs:
        drawn += [_engines(run, runs, x), _budget(run, runs, x)]
    return [figure for figure in drawn if figure is not None]


def _drift(runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    rows = [
        Row("KL, nats", style.listed(runs, DIVERGENCE), 130, {"rangemode": "tozero"}),
        Row("ratio", style.listed(runs, RATIOS), 130),
        Row("share", style.listed(runs, WEIGHTS), 130, {"range": [-0.02, 1.05]}),
    ]
    if not any(row.traces for row in rows):
        return None
    read = (
        "The engine that samples and the trainer should compute the same: divergence near 0, ratios near 1, effective "
        "share near 1. A sudden step is a stale or half-loaded engine; a slow rise is too many updates a batch."
    )
    return style.figure("Sampler against trainer", read, rows, runs, x)


def _engines(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """A lane an engine; those that were restarted first where there are too many."""
    found = lanes(run, style.limit(runs) // 2)
    timed = bool(found)
    found = found or served(run)
    if not found:
        return None
    kept = sorted(sorted(found, key=lambda lane: -len(lane.restarts))[:MOST_LANES], key=lambda lane: lane.engine)
    rows = [
        Row("", _lane(run, lane, first=i == 0), 46, {"range": [0, 1], "tickvals": [0.5], "showgrid": False})
        for i, lane in enumerate(kept)
    ]
    read = (
        "A lane an engine, filled by what it did with each step; a cross is a restart. Idle lanes wait for the trainer "
        "or for prompts; time spent loading is the price of fresh weights."
        if timed
        else "A lane an engine, filled by its share of the step's completions; a cross is a restart. How long it "
        "generated, loaded or idled is not in the files of this run."
    )
    if len(found) > len(kept):
        read += f" Shown: {len(kept)} of {len(found)} engines, the restarted ones first."
    title = f"Engines{style.of(runs, run)}"
    made = style.figure(title, read, rows, [run], x)
    for axis, lane in zip(made.select_yaxes(), kept, strict=True):
        axis.ticktext = [style.text(lane.engine)]
    return made.update_layout(showlegend=True)


def _lane(run: RunFiles, lane: Lane, first: bool) -> list[Any]:
    import plotly.graph_objects as go

    traces = [
        go.Scatter(
            x=lane.steps.tolist(),
            y=lane.shares[state].astype(np.float32),
            name=state,
            legendgroup=state,
            showlegend=first,
            meta={"run": run.name, "engine": lane.engine},
            mode="lines",
            stackgroup=lane.engine,
            line={"width": 0, "color": colour},
            fillcolor=faint(colour, 0.75 if state != "idle" else 0.25),
            hovertemplate=f"{style.text(lane.engine)} %{{y:.0%}}",
        )
        for state, colour in STATES.items()
        if state in lane.shares
    ]
    if lane.restarts:
        traces.append(
            go.Scatter(
                x=lane.restarts,
                y=[0.5] * len(lane.restarts),
                name="restarted",
                legendgroup="restarted",
                meta={"run": run.name, "engine": lane.engine},
                mode="markers",
                marker={"symbol": "x", "size": 11, "color": RED, "line": {"width": 1.5, "color": "#ffffff"}},
                hovertemplate=f"{style.text(lane.engine)} at step %{{x}}",
            )
        )
    return traces


def _budget(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """Seconds of a step by what they were spent on."""
    import plotly.graph_objects as go

    names = [name for name in PARTS if curve(run.metrics, name)]
    rows = run.metrics.dropna(subset=names, how="all") if names else run.metrics.iloc[:0]
    if rows.empty:
        return None
    seconds = rows[names].fillna(0)
    places, _ = extremes(seconds.sum(axis=1).to_numpy(float), style.limit(runs) // 2)
    kept = rows["step"].to_numpy()[places].tolist()
    made = [
        go.Scatter(
            x=kept,
            y=seconds[name].to_numpy(np.float32)[places],
            name=name.removeprefix("time/").removesuffix("_s"),
            meta={"run": run.name},
            mode="lines",
            stackgroup="time",
            line={"width": 0.8, "color": PARTS[name]},
            fillcolor=faint(PARTS[name], 0.65),
            hovertemplate="%{y:.3g} s",
        )
        for name in sorted(names, key=lambda name: -seconds[name].sum())
    ]
    read = (
        "Seconds of a step, largest use below. A spike is one bad step (an evaluation, a restart); a slope is growth."
    )
    title = f"Time of a step{style.of(runs, run)}"
    return style.figure(title, read, [Row("seconds", made, 190, {"rangemode": "tozero"})], [run], x)


def lacks(run: RunFiles) -> Iterable[str]:
    """The engines' times."""
    return [] if lanes(run, 2) else ["the engines' times are not in the files; lanes show who made the completions"]


VIEW = View(
    name="health",
    title="Drift and health",
    how_to_read=(
        "Is what was sampled still what is trained, and is the machine at work? Divergence near 0, ratios near 1, "
        "lanes full; a cross is an engine that was replaced."
    ),
    draw=draw,
    lies=(
        "Means hide single tokens: look at the largest ratio. In half precision a small divergence is rounding and no "
        "fault. An idle engine beside a busy trainer is how synchronous training works."
    ),
    metrics=METRICS,
    lacks=lacks,
)
