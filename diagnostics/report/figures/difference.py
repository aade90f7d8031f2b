"""Difference: runs against the first one, at the same step, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diagnostics.report import compare
from diagnostics.report.figures import style
from diagnostics.report.figures.style import GREY, Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import Curve
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Mean outcome of each run minus that of the first; nothing for one run."""
    made: list[Any] = []
    shapes: list[dict] = []
    for run in runs[1:]:
        found = compare.outcomes(runs[0], run)
        if len(found.steps):
            colour = style.colour_of(runs, run)
            value, low, high = (
                Curve("", "", found.steps.tolist(), values.tolist(), 1)
                for values in (found.value, found.low, found.high)
            )
            made += style.band(run, low, high, colour)
            made.append(style.line(run, value, f"{run.name} - {runs[0].name}", colour))
            ends = {"x0": found.steps[0], "x1": found.steps[-1], "y0": 0, "y1": 0, "name": run.name}
            shapes.append({"type": "line", "line": {"color": GREY, "width": 1}} | ends)
    if not made:
        return []
    read = (
        f"Outcome of all samples minus that of {runs[0].name} at the same step, with a 95% bootstrap interval over "
        "prompts. A difference is told from chance where the band leaves the line at 0, and stays off it."
    )
    return [style.figure("Difference in outcome", read, [Row("difference, share", made, 230)], runs, x, shapes=shapes)]


VIEW = View(
    name="difference",
    title="Difference between the runs",
    how_to_read=(
        "Each run minus the first, step by step. Look for stretches in which the band stays on one side of 0; single "
        "steps outside are expected, one in twenty by chance alone."
    ),
    draw=draw,
    lies=(
        "The interval is over prompts and not over seeds: two runs of one config differ as well. Runs with other "
        "tasks, or other curricula, are asked other prompts."
    ),
    metrics=(),
)
