"""The pictures of a run, in the order they are shown; report, dashboard, notebook and wandb draw these."""

from diagnostics.report.figures import (
    advantage,
    curriculum_flow,
    difference,
    entropy_budget,
    format_river,
    health,
    phase_timeline,
    reward,
)
from diagnostics.report.figures.view import View, X, missing

VIEWS: tuple[View, ...] = (
    phase_timeline.VIEW,
    difference.VIEW,
    reward.VIEW,
    format_river.VIEW,
    curriculum_flow.VIEW,
    advantage.VIEW,
    health.VIEW,
    entropy_budget.VIEW,
)

__all__ = ["VIEWS", "View", "X", "missing"]
