"""Curriculum flow: where the prompts stand, how hard they are for the policy, stages, and what was dropped and why."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.report import rollouts
from diagnostics.report.figures import style
from diagnostics.report.figures.palette import (
    BLUE,
    COLOURS,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SCALE,
    SKY,
    VIOLET,
    faint,
)  # fmt: skip
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import curve, curves, extremes
from diagnostics.report.text import shown
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

POOLS = {"learnable": GREEN, "too_easy": SKY, "quarantined": RED, "unknown": GREY, "silent": VIOLET}
FILLS = {name: faint(colour, 0.15 if name == "unknown" else 0.6) for name, colour in POOLS.items()}
"""Of the stack. To whom red and green are one, green is a grey: the unknown is told from the learnable by its light."""
METRICS = (
    *(f"curriculum/{pool}" for pool in POOLS),
    "curriculum/flow", "curriculum/stage", "curriculum/kept", "curriculum/rejected", "prompts/dropped",
)  # fmt: skip
RATES = ("none right", "up to a quarter", "to a half", "to three quarters", "more", "all right")
EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the pass rates between none and all
COLUMNS = 48  # of the histogram over time


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Pools and moves of each run, the difficulty of what was sampled, and what was refused."""
    drawn = []
    for run in runs:
        drawn += [_pools(run, runs, x), _difficulty(run, runs, x)]
    return [figure for figure in (*drawn, _refused(runs, x)) if figure is not None]


def _pools(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """Pools as a stack, the moves into and out of quarantine, and the open stage."""
    stage = style.measured(runs, run, "curriculum/stage", "stage", BLUE)
    for trace in stage:
        trace.line.shape = "hv"
    rows = [
        Row("prompts", _stack(run, runs), 200, {"rangemode": "tozero"}),
        Row("moved since<br>the start", _moves(run, runs), 120, {"rangemode": "tozero"}),
        Row("stage", stage, 70, {"dtick": 1}),
    ]
    if not any(row.traces for row in rows):
        return None
    read = "Prompts by what they have to teach; learnable should not run empty."
    if any(trace.name == "quarantined" for trace in rows[0].traces):
        read += (
            " The red band is set aside as too hard: one that grows in a step is a wave of quarantine, from prompts "
            "that are too hard or a reward that broke."
        )
    return style.figure(f"Where the prompts stand{style.of(runs, run)}", read, rows, [run], x)


def _stack(run: RunFiles, runs: Sequence[RunFiles]) -> list[Any]:
    import plotly.graph_objects as go

    names = [name for name in POOLS if curve(run.metrics, f"curriculum/{name}")]
    columns = [f"curriculum/{name}" for name in names]
    known = run.metrics.dropna(subset=columns, how="all") if names else run.metrics.iloc[:0]
    if known.empty:
        return []
    lead = "curriculum/quarantined" if "quarantined" in names else columns[0]
    places, _ = extremes(known[lead].to_numpy(float), style.limit(runs) // 2)
    kept = known.iloc[places]
    return [
        go.Scatter(
            x=kept["step"].tolist(),
            y=kept[column].fillna(0).to_numpy(np.float32),
            name=name.replace("_", " "),
            meta={"run": run.name},
            mode="lines",
            stackgroup="pools",
            line={"width": 0.8, "color": POOLS[name]},
            fillcolor=FILLS[name],
            hovertemplate="%{y:,.0f}",
        )
        for name, column in zip(names, columns, strict=True)
        if kept[column].any()
    ]


def _moves(run: RunFiles, runs: Sequence[RunFiles]) -> list[Any]:
    """The largest flows between pools, those of quarantine first."""
    flows = [found for found in curves(run.metrics, "curriculum/flow", style.limit(runs)) if found.label]
    flows = [found for found in flows if any(found.values)]
    flows.sort(key=lambda found: ("quarantined" not in found.label, -max(filter(None, found.values))))
    return [
        style.line(run, found, found.label.replace("_", " "), COLOURS[i], DASHES[i % len(DASHES)], 1.5)
        for i, found in enumerate(flows[:6])
    ]


def _difficulty(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """The pass rates of the sampled groups as a histogram over time."""
    import plotly.graph_objects as go

    table = rollouts.groups(run, rollouts.MOST_STEPS // len(runs))
    table = table[table["judged"] > 0]
    if table.empty:
        return None
    steps, shares = histogram(table)
    heat = go.Heatmap(
        x=steps,
        y=list(RATES),
        z=shares.astype(np.float32),
        meta={"run": run.name},
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={
            "title": {"text": "share of groups", "side": "right"},
            "tickformat": ".0%",
            "thickness": 12,
            "len": 1,
        },
        hovertemplate="%{y}: %{z:.0%} of the groups<extra></extra>",
    )
    read = (
        "How many of a group's completions are right, over time. Mass in the lowest row is prompts too hard, in the "
        "highest too easy; only what lies between teaches."
    )
    title = f"Difficulty of what was sampled{style.of(runs, run)}"
    rows = [Row("completions right", [heat], 170, {"showgrid": False})]
    return style.figure(title, read, rows, [run], x).update_layout(hovermode="closest")


def histogram(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the columns (C,), in steps, and the share of groups in each of `RATES` (6, C), from a row a group."""
    rate = (table["outcome"] / table["judged"]).to_numpy(float)
    place = np.where(rate <= 0, 0, np.where(rate >= 1, len(RATES) - 1, np.digitize(rate, EDGES[1:-1], right=True) + 1))
    steps = np.unique(table["step"])
    columns = np.array_split(steps, min(COLUMNS, len(steps)))
    first = np.array([column[0] for column in columns])
    column = np.searchsorted(first, table["step"], side="right") - 1
    counts = np.zeros((len(RATES), len(columns)))
    np.add.at(counts, (place, column), 1)
    return np.array([(column[0] + column[-1]) / 2 for column in columns]), counts / counts.sum(axis=0)


def _refused(runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """Groups that were sampled and not trained, by reason, beside those that were; prompts that never became tasks."""
    made: list[Any] = []
    for number, run in enumerate(runs):
        who, dash = style.lead(runs, run), DASHES[number % len(DASHES)]
        made += style.measured(runs, run, "curriculum/kept", f"{who}trained", GREEN, dash)
        reasons = [found for found in curves(run.metrics, "curriculum/rejected", style.limit(runs)) if found.label]
        totals = style.measured(runs, run, "curriculum/rejected", f"{who}refused", RED, dash)
        inks = itertools.cycle((RED, ORANGE, PINK, SKY, GREY))
        split = [
            style.line(run, found, f"{who}refused: {shown(found.label)}", ink, dash, 1.5)
            for found, ink in zip(reasons, inks, strict=False)
        ]
        made += split if split and len(runs) == 1 else totals
    read = "Groups that entered the batch, and those refused with the reason: what was sampled in vain."
    if not made:
        return None
    return style.figure(
        "What was dropped, and why", read, [Row("groups a step", made, 170, {"rangemode": "tozero"})], runs, x
    )


def lacks(run: RunFiles) -> Iterable[str]:
    """The rollouts that the difficulty rests on."""
    return rollouts.coverage(run)


VIEW = View(
    name="curriculum_flow",
    title="Curriculum",
    how_to_read=(
        "Where the prompts stand, how hard they are for the policy now, and what was refused. A red band that swells "
        "is a wave of quarantine; a lowest row that stays bright means the policy learns from nothing."
    ),
    draw=draw,
    lies=(
        "Pools hold what was tried: of many prompts most stay unknown for long. The difficulty is that of the prompts "
        "drawn, so a curriculum that turns to hard ones looks like a policy that got worse."
    ),
    metrics=METRICS,
    lacks=lacks,
)
