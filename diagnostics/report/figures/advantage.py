"""Advantage and shortcuts: where the learning signal comes from, lucky hits, repetition, work left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diagnostics.report import rollouts
from diagnostics.report.figures import style
from diagnostics.report.figures.marks import side
from diagnostics.report.figures.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, VIOLET, faint
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SIGNAL = (
    ("shortcut/advantage_mass", "signal from one success or none", RED, "solid"),
    ("shortcut/lucky", "successes that were alone", ORANGE, "dash"),
    ("shortcut/misdirected", "praise for failures", PINK, "dot"),
    ("advantage/withheld", "withheld from lucky hits", GREEN, "dashdot"),
    ("plan/credit", "credit for planning", BLUE, "longdash"),
)
TEXTS = (
    ("shortcut/skipped", "work left out", RED, "solid"),
    ("shortcut/skipped_correct", "work left out, successes", ORANGE, "dash"),
    ("shortcut/repeated", "answer repeated", BLUE, "dot"),
    ("shortcut/looped", "goes in circles", PINK, "dashdot"),
    ("shortcut/copied", "prompt copied", SKY, "longdash"),
    ("shortcut/same_answer", "one answer for all", VIOLET, "longdashdot"),
)
METRICS = tuple(metric for metric, *_ in (*SIGNAL, *TEXTS))
WINDOW = 24  # groups that a share rests on
KINDS = {"no success": GREY, "one success": RED, "a few": ORANGE, "about half and more": GREEN, "all": SKY}


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Where the signal comes from, how much of it is luck, and what the texts do."""
    drawn = [_source(run, runs, x) for run in runs]
    luck = (
        "Shares of the step's signal. Above a half, the run learns from accidents: whatever the lucky completion did "
        "is praised."
    )
    work = (
        "Shares of the completions. All should stay where they began; one that rises together with the reward, while "
        "held-out results do not, is a shortcut."
    )
    drawn += [_shares("Luck in the learning signal", luck, SIGNAL, runs, x)]
    drawn += [_shares("Work left out, answers repeated", work, TEXTS, runs, x)]
    return [figure for figure in drawn if figure is not None]


def _source(run: RunFiles, runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    """The sum of |advantage| of trained groups by how many of their completions were right."""
    import plotly.graph_objects as go

    table, size = rollouts.windows(rollouts.groups(run, rollouts.MOST_STEPS // len(runs)), WINDOW)
    steps, shares = mass(table)
    if not len(steps):
        return None
    traces = [
        go.Scatter(
            x=steps,
            y=share.astype(np.float32),
            name=name,
            meta={"run": run.name},
            mode="lines",
            stackgroup="mass",
            line={"width": 0.8, "color": colour},
            fillcolor=faint(colour, 0.65),
            hovertemplate="%{y:.0%}",
        )
        for (name, colour), share in zip(KINDS.items(), shares, strict=True)
        if share.any()
    ]
    read = (
        "Share of the step's |advantage| by how many of a group's completions were right. Signal from groups with one "
        "success or none is luck and shaping; the green part is where the policy knows the difference."
    )
    read += f" Each point is {size} steps together." if size > 1 else ""
    title = f"Where the learning signal comes from{style.of(runs, run)}"
    rows = [Row("share of the signal", traces, 190, {"range": [0, 1], "tickformat": ".0%"})]
    return style.figure(title, read, rows, [run], x)


def mass(groups: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Steps (S,), and the share of each of `KINDS` in the |advantage| of their trained groups (5, S).

    Steps without any advantage are left out: there is nothing to share.
    """
    trained = groups[groups["admitted"] & (groups["judged"] > 0)]
    right, of = trained["successes"].to_numpy(), trained["judged"].to_numpy()
    kind = np.select([right == 0, right == of, right == 1, 3 * right < of], [0, 4, 1, 2], 3)
    steps, place = np.unique(trained["step"].to_numpy(), return_inverse=True)
    sums = np.zeros((len(KINDS), len(steps)))
    np.add.at(sums, (kind, place), trained["mass"].to_numpy(float))
    total = sums.sum(axis=0)
    return steps[total > 0], sums[:, total > 0] / total[total > 0]


def _shares(title: str, read: str, listed: Sequence[style.Listed], runs: Sequence[RunFiles], x: X) -> go.Figure | None:
    made = style.listed(runs, listed)
    if not made:
        return None
    names = {metric.partition("/")[2] for metric, *_ in listed}
    shapes, notes = _onsets(runs, names)
    read += " A named vertical line is the onset of what a detector found." if shapes else ""
    rows = [Row("share", made, 200, {"rangemode": "tozero"})]
    return style.figure(title, read, rows, runs, x, shapes=shapes, notes=notes)


def _onsets(runs: Sequence[RunFiles], names: set[str]) -> tuple[list[dict], list[dict]]:
    """Where the detectors say that something began."""
    shapes, notes = [], []
    for run in runs:
        found = run.diagnosis.get("shortcuts")
        for one in found if isinstance(found, list) else []:
            onset, name = (one.get("onset_step"), one.get("name")) if isinstance(one, Mapping) else (None, None)
            if isinstance(onset, int) and name in names:
                shared = {"yref": "paper", "name": run.name}
                line = {"color": RED if len(runs) == 1 else style.colour_of(runs, run), "width": 1.5}
                shapes.append({"type": "line", "x0": onset, "x1": onset, "y0": 0, "y1": 1, "line": line} | shared)
                words = {"x": onset, "y": 1 - 0.09 * (len(notes) % 4), "xanchor": side(run, onset), "yanchor": "top"}
                words |= {"text": style.text(f" {name} "), "font": {"size": 11}, "showarrow": False}
                notes.append(words | shared)
    return shapes, notes


def lacks(run: RunFiles) -> Iterable[str]:
    """The rollouts that the signal is taken from."""
    return rollouts.coverage(run)


VIEW = View(
    name="advantage",
    title="Advantage and shortcuts",
    how_to_read=(
        "What the gradient is made of. Signal from groups with about half of the completions right teaches; signal "
        "from one success or none is luck. Below, whether reward is earned without the work."
    ),
    draw=draw,
    lies=(
        "In small groups a lonely success is common and no luck. Work that is left out while held-out results rise is "
        "skill that needs fewer words. With few successes a step the shares jump."
    ),
    metrics=METRICS,
    lacks=lacks,
)
