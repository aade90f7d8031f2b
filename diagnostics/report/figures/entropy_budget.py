"""Entropy budget: reward against entropy, the law between them, and what it predicts once all entropy is spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.law import MIN_STEPS, Fit, fit
from diagnostics.report.figures import style
from diagnostics.report.figures.palette import BLUE, DASHES, GREY, RED, SCALE, VIOLET
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import extremes
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRICS = (
    "entropy/mean", "reward/outcome_all", "entropy/ceiling", "entropy/ceiling_low", "entropy/ceiling_high",
    "entropy/spent",
)  # fmt: skip
CEILING = ("entropy/ceiling", "predicted ceiling", RED, "solid")
OUTCOME = ("reward/outcome_all", "outcome, all samples", BLUE, "dot")
SPENT = ("entropy/spent", "entropy spent", VIOLET, "solid")
ENTROPY = ("entropy/mean", "entropy", GREY, "solid")
MECHANISM = ("mechanism", "diagnostics.mechanism:EntropyMechanism")  # specs of the diagnostic that measures it


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Outcome against entropy with the fit; how ceiling and entropy spent came about."""
    return [figure for figure in (_law(runs), _course(runs, x)) if figure is not None]


def points(run: RunFiles) -> np.ndarray:
    """Step, entropy of the trained tokens and outcome of all samples, of each step that has both, (3, N)."""
    names = ["step", "entropy/mean", "reward/outcome_all"]
    if not set(names) <= set(run.metrics.columns):
        return np.empty((3, 0))
    return run.metrics[names].dropna().to_numpy(float).T


def law(run: RunFiles) -> Fit | None:
    """R = b - a exp(H) over the run's steps; None where there is too little to tell."""
    _, entropy, outcome = points(run)
    return fit(entropy, outcome, min_steps(run))


def min_steps(run: RunFiles) -> int:
    """Steps a fit rests on at least: as the run's own diagnostic is told."""
    listed = run.config.get("diagnostics")
    for spec in listed if isinstance(listed, list) else []:
        if isinstance(spec, dict) and spec.get("use") in MECHANISM and isinstance(spec.get("args"), dict):
            told = spec["args"].get("min_steps")
            return told if isinstance(told, int) else MIN_STEPS
    return MIN_STEPS


def _law(runs: Sequence[RunFiles]) -> go.Figure | None:
    made = []
    for number, run in enumerate(runs):
        step, entropy, outcome = points(run)
        if not len(step):
            continue
        made += _points(run, runs, step, entropy, outcome)
        if found := law(run):
            made += _fitted(run, runs, found, float(entropy.max()), DASHES[number % len(DASHES)])
    if not made:
        return None
    dark = "A point is a step" + (", dark at the start and bright at the end" if len(runs) == 1 else "")
    read = f"{dark}: entropy is spent from right to left. "
    if any(trace.mode == "lines" for trace in made):
        read += (
            "The curve is the law b\u00a0\u2212\u00a0a\u00a0exp(H), fitted to all steps; where it meets 0, the diamond "
            "with its 95% interval is the predicted ceiling."
        )
    else:
        read += "No law is drawn: too few steps, or the outcome does not rise as entropy falls."
    rows = [Row("outcome, share", made, 300)]
    figure = style.figure("Reward bought with entropy", read, rows, []).update_layout(hovermode="closest")
    most = max(float(np.max(trace.x)) for trace in made)
    return figure.update_xaxes(title_text="token entropy, nats", range=[-0.03 * most, 1.03 * most])


def _points(
    run: RunFiles, runs: Sequence[RunFiles], step: np.ndarray, entropy: np.ndarray, outcome: np.ndarray
) -> list:
    import plotly.graph_objects as go

    keep, _ = extremes(outcome, style.limit(runs))
    single = {"color": step[keep], "colorscale": SCALE, "showscale": True}
    single["line"] = {"width": 1, "color": GREY}  # else the first steps are lost on dark, the last ones on white
    single["colorbar"] = {"title": {"text": "step", "side": "right"}, "thickness": 12, "len": 1}
    return [
        go.Scatter(
            x=entropy[keep].astype(np.float32),
            y=outcome[keep].astype(np.float32),
            customdata=step[keep],
            mode="markers",
            name=f"{style.lead(runs, run)}steps",
            meta={"run": run.name},
            marker={"size": 6, "opacity": 0.8} | (single if len(runs) == 1 else {"color": style.colour_of(runs, run)}),
            hovertemplate="step %{customdata}: outcome %{y:.3g} at %{x:.3g} nats<extra></extra>",
        )
    ]


def _fitted(run: RunFiles, runs: Sequence[RunFiles], found: Fit, most: float, dash: str) -> list[Any]:
    """The law as a curve, and the ceiling at zero entropy."""
    import plotly.graph_objects as go

    colour = style.colour_of(runs, run) if len(runs) > 1 else RED
    at = np.linspace(0, most, 60)
    who, meta = style.lead(runs, run), {"run": run.name}
    curve = go.Scatter(
        x=at,
        y=found.b - found.a * np.exp(at),
        mode="lines",
        name=f"{who}b - a exp(H)",
        meta=meta,
        line={"color": colour, "width": 2, "dash": dash},
        hoverinfo="skip",
    )
    ceiling = go.Scatter(
        x=[0],
        y=[found.ceiling],
        mode="markers",
        name=f"{who}ceiling {found.ceiling:.2f} ({found.low:.2f} to {found.high:.2f})",
        meta=meta,
        cliponaxis=False,
        marker={"symbol": "diamond", "size": 11, "color": colour},
        error_y={"array": [found.high - found.ceiling], "arrayminus": [found.ceiling - found.low], "thickness": 2},
        hovertemplate="ceiling %{y:.3g}<extra></extra>",
    )
    return [curve, ceiling]


def _course(runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """The predicted ceiling beside the outcome, the share of entropy spent, and entropy itself: an axis each."""
    ceiling = style.listed(runs, (CEILING,))
    rows = [
        Row("outcome, share", style.listed(runs, (CEILING, OUTCOME)) if ceiling else [], 180),
        Row("entropy<br>spent, share", style.listed(runs, (SPENT,)), 100),
        Row("entropy, nats", style.listed(runs, (ENTROPY,)), 100, {"rangemode": "tozero"}),
    ]
    if not any(row.traces for row in rows):
        return None
    read = []
    if rows[0].traces:
        read.append(
            "The ceiling as predicted at each step from the steps up to it, with its 95% interval, beside the outcome: "
            "a ceiling at today's outcome says that more steps will not help."
        )
    if rows[1].traces:
        read.append("The share of the first entropy that is gone; near 1 there is nothing left to pay with.")
    if rows[2].traces:
        read.append("Entropy is what the policy has left to explore with.")
    title = "Ceiling and entropy spent" if rows[0].traces else "Entropy spent" if rows[1].traces else "Entropy"
    return style.figure(title, " ".join(read), rows, runs, x)


def lacks(run: RunFiles) -> Iterable[str]:
    """The fit, where it is not to be had."""
    count = points(run).shape[1]
    if law(run) is not None:
        return []
    if count < (needed := min_steps(run)):
        return [f"no fit: {count} steps with entropy and outcome, at least {needed} are needed"]
    return ["no fit: the outcome does not rise as entropy falls, or too few steps stand apart to tell"]


VIEW = View(
    name="entropy_budget",
    title="Entropy budget",
    how_to_read=(
        "What the run has paid for its reward in entropy, what is left, and where it would end with all of it spent. "
        "Near the ceiling, more steps buy little: more entropy would."
    ),
    draw=draw,
    lies=(
        "The law is a fit: far from the steps seen it is a guess. A bonus for entropy, a curriculum that turns to "
        "harder prompts, or a reward that changes breaks it, and entropy that wanders for many steps without the "
        "outcome draws the ceiling towards today's outcome; trust it where the interval is narrow and the ceiling "
        "stays put."
    ),
    metrics=METRICS,
    lacks=lacks,
)
