"""Reward, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diagnostics.report.figures import panel
from diagnostics.report.figures.view import View, X
from rltrain.records import RunFiles
from rltrain.types import Panel

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRICS = (
    "reward/mean",
    "reward/mean_all",
    "reward/outcome",
    "reward/outcome_all",
    "continuous/pass",
    "continuous/edit_nearest",
    "continuous/token_accuracy",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Reward", METRICS, "line", ""), runs, x)


VIEW = View(
    name="reward",
    title="Reward",
    how_to_read="The outcome is the figure to judge a run by; a total that rises above it is shaping.",
    draw=draw,
    lies=(
        "On admitted samples only, a stricter curriculum looks like learning: read it beside the curve "
        "over all samples."
    ),
    metrics=METRICS,
)
