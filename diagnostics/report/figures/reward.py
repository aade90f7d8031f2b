"""Reward: outcome and shaped total, trained and all samples, per task with intervals, and what moves by degrees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diagnostics.report import rollouts
from diagnostics.report.figures import style
from diagnostics.report.figures.palette import BLUE, COLOURS, DASHES, GREEN, GREY, PINK, RED
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import Curve, curve, curves
from diagnostics.report.text import shown
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

METRICS = (
    "reward/outcome", "reward/outcome_all", "reward/mean", "reward/mean_all",
    "continuous/pass", "continuous/pass_low", "continuous/pass_high",
    "continuous/edit_nearest", "continuous/token_accuracy", "continuous/answer_logprob",
)  # fmt: skip
OUTCOMES = (
    ("reward/outcome_all", "outcome, all samples", BLUE, "solid"),
    ("reward/outcome", "outcome, trained samples", RED, "dash"),
)
TOTALS = (
    ("reward/mean_all", "reward with shaping, all samples", GREEN, "solid"),
    ("reward/mean", "reward with shaping, trained samples", PINK, "dash"),
)
SHARES = (
    ("continuous/pass", "passes", BLUE, "solid"),
    ("continuous/token_accuracy", "answer tokens that are likeliest", PINK, "dot"),
)
Value = Literal["outcome", "reward"]
MOST_SOURCES = 8
WINDOW = 24  # groups that an interval rests on


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Outcome and total; the outcome of each task; continuous measures."""
    tables = {run.name: rollouts.groups(run, rollouts.MOST_STEPS // len(runs)) for run in runs}
    drawn = (_totals(runs, tables, x), _sources(runs, tables, x), _continuous(runs, x))
    return [figure for figure in drawn if figure is not None]


def _totals(runs: Sequence[RunFiles], tables: dict[str, pd.DataFrame], x: X) -> go.Figure | None:
    """Every curve with its interval; of several runs only those of all samples have one, else bands hide bands."""
    outcome, total = style.listed(runs, OUTCOMES), style.listed(runs, TOTALS)
    if not outcome and not total:
        return None
    shades: dict[Value, list[Any]] = {"outcome": [], "reward": []}
    for run in runs:
        table, several = tables[run.name], len(runs) > 1
        for of, (whole, trained) in (("outcome", (BLUE, RED)), ("reward", (GREEN, PINK))):
            shades[of] += shade(run, table, style.colour_of(runs, run) if several else whole, of)
            shades[of] += [] if several else shade(run, table[table["admitted"]], trained, of)
    rows = [
        Row("outcome, share", shades["outcome"] + outcome, 220, {"range": [-0.02, 1.02]}),
        Row("reward", shades["reward"] + total, 180),
    ]
    read = []
    if outcome and total:
        read.append("The upper row is the task's own result, the lower one adds the shaping.")
    if any(shades.values()):
        whose = "A band is" if len(runs) == 1 else "The band of the solid curves (all samples) is"
        read.append(
            f"{whose} the 95% interval over prompts of the mean, of as many steps together as hold {WINDOW} groups."
        )
    if outcome and total:
        read.append("Reward that climbs while the outcome does not is shaping being gamed.")
    return style.figure("Outcome and reward", " ".join(read), rows, runs, x)


def shade(run: RunFiles, of_groups: pd.DataFrame, colour: str, of: Value = "outcome") -> list[Any]:
    """The 95% interval of a mean over prompts, of as many steps together as it takes for `WINDOW` groups."""
    pooled, _ = rollouts.windows(of_groups, WINDOW)
    found = rollouts.interval(pooled, of)
    known = np.isfinite(found.low)
    steps, low, high = found.steps[known], found.low[known], found.high[known]
    if len(steps) == 1:  # a band as wide as its window, else it is a line that nobody sees
        inside = of_groups["step"][pooled["step"] == steps[0]]
        steps, low, high = np.array([inside.min(), inside.max()], float), low.repeat(2), high.repeat(2)
    ends = [Curve("", "", steps.tolist(), values.tolist(), 1) for values in (low, high)]
    return style.band(run, *ends, colour) if known.any() else []


def _sources(runs: Sequence[RunFiles], tables: dict[str, pd.DataFrame], x: X) -> go.Figure | None:
    """A colour a task; of several runs, a dash a run."""
    labels = dict.fromkeys(c.label for run in runs for c in curves(run.metrics, "reward/outcome_all") if c.label)
    if len(labels) < 2:
        return None
    made, shades = [], []
    for number, run in enumerate(runs):
        table = tables[run.name]
        for place, label in enumerate(labels):
            found = curve(run.metrics, f"reward/outcome_all@{label}", style.limit(runs))
            if found is None:
                continue
            colour = COLOURS[place] if place < MOST_SOURCES else GREY
            if place < MOST_SOURCES and len(runs) == 1:
                shades += shade(run, table[table["source"] == label], colour)
            name = style.lead(runs, run) + shown(label)
            made.append(style.line(run, found, name, colour, DASHES[number % len(DASHES)], 1.5))
    bands = "; the band is the 95% interval over prompts of the mean, of several steps together" if shades else ""
    read = (
        f"All samples of each task{bands}. A mean that rises because one task rises is not a policy that got better "
        "at all of them."
    )
    rows = [Row("outcome, share", shades + made, 220, {"range": [-0.02, 1.02]})]
    return style.figure("Outcome by task", read, rows, runs, x)


def _continuous(runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    shares = style.listed(runs, SHARES)
    for run in runs:
        if found := curve(run.metrics, "continuous/edit_nearest", style.limit(runs)):
            near = found._replace(values=[None if value is None else 1 - value for value in found.values])
            colour = style.colour_of(runs, run) if len(runs) > 1 else GREEN
            shares.append(style.line(run, near, f"{style.lead(runs, run)}nearness to the answer", colour, "dash"))
    logs = style.listed(runs, (("continuous/answer_logprob", "gold answer", RED, "solid"),))
    if not shares and not logs:
        return None
    read = (
        "Pass/fail beside measures that move by degrees. A jump of the first alone is a change of the parser or the "
        "form; learning shows in the others first."
    )
    rows = [Row("share", shares, 200, {"range": [-0.02, 1.02]}), Row("log p a token, nats", logs, 130)]
    return style.figure("Pass/fail and nearness", read, rows, runs, x)


def lacks(run: RunFiles) -> Iterable[str]:
    """The rollouts that the intervals need."""
    return rollouts.coverage(run)


VIEW = View(
    name="reward",
    title="Reward",
    how_to_read=(
        "Judge a run by its outcome over all samples. Where the curve of trained samples parts from it, the filter "
        "moves the mean and not the policy."
    ),
    draw=draw,
    lies=(
        "A curriculum that changes which prompts are drawn moves every curve here without any learning; only held-out "
        "tasks settle it. The interval covers the choice of prompts at a step, not the choice of the seed."
    ),
    metrics=METRICS,
    lacks=lacks,
)
