"""Curriculum, as a picture."""

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
    "curriculum/unknown",
    "curriculum/learnable",
    "curriculum/too_easy",
    "curriculum/quarantined",
    "curriculum/stage",
    "curriculum/kept",
    "curriculum/rejected",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Curriculum", METRICS, "line", ""), runs, x)


VIEW = View(
    name="curriculum_flow",
    title="Curriculum",
    how_to_read=(
        "Where the prompts stand and how they move; a quarantine that grows means prompts that are too "
        "hard, or a reward that is broken."
    ),
    draw=draw,
    lies="Pools hold what was tried: in a large set most prompts stay unknown for long.",
    metrics=METRICS,
)
