"""Formats, as a picture."""

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
    "format/share",
    "format/effective",
    "format/accuracy",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Formats", METRICS, "line", ""), runs, x)


VIEW = View(
    name="format_river",
    title="Formats",
    how_to_read="The width of a form is its share of the completions; one that fills the river is a collapse.",
    draw=draw,
    lies=("A form that the classifier does not know counts as `other`; few completions a step make the widths jump."),
    metrics=METRICS,
)
