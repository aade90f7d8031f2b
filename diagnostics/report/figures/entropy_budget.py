"""Entropy budget, as a picture."""

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
    "entropy/ceiling",
    "entropy/spent",
    "entropy/mean",
    "reward/outcome",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Entropy budget", METRICS, "line", ""), runs, x)


VIEW = View(
    name="entropy_budget",
    title="Entropy budget",
    how_to_read=(
        "Each point is a step: reward against entropy, with the fitted law and the outcome it predicts "
        "once all entropy is spent."
    ),
    draw=draw,
    lies=(
        "The law is a fit over the steps so far; far from them it is a guess, and with a bonus for "
        "entropy it does not hold."
    ),
    metrics=METRICS,
)
