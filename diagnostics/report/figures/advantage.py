"""Advantage and shortcuts, as a picture."""

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
    "shortcut/advantage_mass",
    "shortcut/lucky",
    "shortcut/repeated",
    "shortcut/skipped",
    "shortcut/same_answer",
    "advantage/withheld",
    "plan/credit",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Advantage and shortcuts", METRICS, "line", ""), runs, x)


VIEW = View(
    name="advantage",
    title="Advantage and shortcuts",
    how_to_read=(
        "Where the learning signal comes from. Mass from groups with one success is luck being rewarded; "
        "repetition and skipping that rise with the reward are shortcuts."
    ),
    draw=draw,
    lies="Small groups make every success a lonely one; the shares rest on few completions a step.",
    metrics=METRICS,
)
