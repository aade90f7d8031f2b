"""Drift and health, as a picture."""

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
    "drift/kl_sampler_trainer",
    "drift/kl_trainer_sampler",
    "drift/ratio_mean",
    "drift/ratio_max",
    "drift/ess",
    "pool/restarts",
    "time/step_s",
    "time/rollout_s",
    "time/train_s",
)


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """The curves of `METRICS`."""
    return panel.figures(Panel("Drift and health", METRICS, "line", ""), runs, x)


VIEW = View(
    name="health",
    title="Drift and health",
    how_to_read=(
        "Sampler and trainer should agree: divergence near 0, ratio near 1, effective share near 1. An "
        "engine that idles or restarts costs time and nothing else."
    ),
    draw=draw,
    lies="Means hide single tokens: the largest ratio shows them.",
    metrics=METRICS,
)
