"""Difference: runs against the first one, by step or by tokens, with intervals; of all samples and of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diagnostics.report import compare
from diagnostics.report.figures import style
from diagnostics.report.figures.palette import GREY
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.series import Curve
from diagnostics.report.text import shown
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SOURCES = 8


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """Mean outcome of each run minus that of the first, over all tasks and by task; nothing for one run."""
    pairs = [(run, compare.tables(runs[0], run, by_tokens=x == "tokens")) for run in runs[1:]]
    drawn = (_whole(runs, pairs, x), _sources(runs, pairs, x))
    return [figure for figure in drawn if figure is not None]


Pairs = Sequence[tuple[RunFiles, compare.Tables]]
"""Each run but the first, with the groups of the first and its own where they are compared."""


def _whole(runs: Sequence[RunFiles], pairs: Pairs, x: X) -> go.Figure | None:
    made = [trace for run, tables in pairs for trace in _curve(runs, run, compare.outcomes(*tables))]
    if not made:
        return None
    where = "at the same step" if x == "step" else "after as many trained tokens"
    read = (
        f"Outcome of all samples minus that of {shown(runs[0].name)} {where}, with a 95% bootstrap interval "
        "over prompts. A difference is told from chance where the band leaves the line at 0, and stays off it."
    )
    return style.figure("Difference in outcome", read, [_row("difference, share", made, 230)], runs, x)


def _sources(runs: Sequence[RunFiles], pairs: Pairs, x: X) -> go.Figure | None:
    """A row a task that both runs have."""
    rows = []
    for source in compare.common_sources([tables for _, tables in pairs])[:MOST_SOURCES]:
        made = []
        for run, tables in pairs:
            of = [table[table["source"] == source] for table in tables]
            made += _curve(runs, run, compare.outcomes(*of, least=compare.WINDOW))
        for trace in made if rows else ():  # the legend names each run once
            trace.showlegend = False
        if made:
            rows.append(_row(style.text(shown(source, 24)), made, 110))
    if len(rows) < 2:
        return None
    read = (
        "The same for each task, of as many steps together as hold enough prompts of it. A difference in one task "
        "alone is hidden in the mean over all of them. The axes are differences of shares."
    )
    return style.figure("Difference in outcome by task", read, rows, runs, x)


def _row(label: str, made: Sequence[Any], height: int) -> Row:
    return Row(label, made, height, {"zeroline": True, "zerolinecolor": GREY, "zerolinewidth": 1})


def _curve(runs: Sequence[RunFiles], run: RunFiles, found: compare.Difference) -> list[Any]:
    if not len(found.steps):
        return []
    colour, steps = style.colour_of(runs, run), found.steps.tolist()
    value, low, high = (Curve("", "", steps, values.tolist(), 1) for values in (found.value, found.low, found.high))
    name = f"{shown(run.name, 40)} - {shown(runs[0].name, 40)}"
    return [*style.band(run, low, high, colour), style.line(run, value, name, colour)]


VIEW = View(
    name="difference",
    title="Difference between the runs",
    how_to_read=(
        "Each run minus the first, step by step or by the tokens trained. Look for stretches in which the band stays "
        "on one side of 0; single steps outside are expected, one in twenty by chance alone."
    ),
    draw=draw,
    lies=(
        "The interval is over prompts and not over seeds: two runs of one config differ as well. Runs with other "
        "tasks, or other curricula, are asked other prompts."
    ),
    metrics=(),
)
