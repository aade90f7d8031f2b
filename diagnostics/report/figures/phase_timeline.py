"""Phase of learning, as a picture."""

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
    "entropy/planning",
    "entropy/execution",
    "entropy/gap",
    "entropy/gap_low",
    "entropy/gap_high",
    "ppl/planning_rel",
    "ppl/execution_rel",
    "plan/semantic_entropy",
    "phase/state",
    "phase/confidence",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Phase of learning", METRICS, "line", ""), runs, x)


VIEW = View(
    name="phase_timeline",
    title="Phase of learning",
    how_to_read=(
        "Bands: the phase, with the interval of its onset. Planning entropy that stays up while "
        "execution entropy falls is the picture of plans being explored; trust a move only where the "
        "interval leaves the old level."
    ),
    draw=draw,
    lies=(
        "With few planning tokens the gap is mostly noise, and a change of the task mix moves both "
        "curves without any learning."
    ),
    metrics=METRICS,
)
