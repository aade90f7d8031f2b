"""Phase timeline: planning against execution, with the phases as bands, their onset and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnostics.report.figures import style
from diagnostics.report.figures.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, VIOLET, faint
from diagnostics.report.figures.style import Row
from diagnostics.report.figures.view import View, X
from diagnostics.report.text import shown
from rltrain.records import RunFiles
from rltrain.records.phases import Phases, Stretch, phases

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRICS = (
    "entropy/planning", "entropy/execution", "entropy/gap", "entropy/gap_low", "entropy/gap_high",
    "ppl/planning_rel", "ppl/execution_rel", "plan/variety",
    "phase/state", "phase/confidence", "phase/onset", "phase/onset_low", "phase/onset_high",
)  # fmt: skip
ENTROPIES = (
    ("entropy/planning", "planning tokens", RED, "solid"),
    ("entropy/execution", "execution tokens", BLUE, "dash"),
)
COUNT, PLANNING = "entropy/planning_tokens", "entropy/planning"
GAP = (("entropy/gap", "gap: planning - execution", VIOLET, "solid"),)
PERPLEXITIES = (
    ("ppl/planning_rel", "perplexity, planning", ORANGE, "solid"),
    ("ppl/execution_rel", "perplexity, execution", PINK, "dash"),
)
PLANS = (("plan/variety", "variety of plans", GREEN, "solid"),)
STATES = {"consolidating": BLUE, "planning": GREEN, "stalled": ORANGE, "undecided": GREY}
INKS = {"consolidating": "#0065A0", "planning": "#00704F", "stalled": "#8F5500", "undecided": "#5E636B"}  # below white
WIDE = 0.05  # share of the run that a band needs to be labelled


def draw(runs: Sequence[RunFiles], x: X = "step") -> list[go.Figure]:
    """One figure of the strip of phases and, below it, what they are judged from."""
    rows = [
        Row("entropy, nats", style.listed(runs, ENTROPIES), 190),
        Row("gap, nats", style.listed(runs, GAP), 120),
        Row("perplexity<br>relative to start", style.listed(runs, PERPLEXITIES), 120),
        Row("variety<br>of plans", style.listed(runs, PLANS), 120),
    ]
    found = {run.name: phases(run) for run in runs}
    strip = [bar for run in runs for bar in _strip(runs, run, found[run.name])]
    if not strip and not any(row.traces for row in rows):
        return []
    strips = Row("", strip, 30 * len(runs), {"showgrid": False, "fixedrange": True, "autorange": "reversed"})
    shapes = [shape for run in runs[: len(runs) == 1] for shape in _bands(run, found[run.name])]
    shapes += [shape for run in runs for shape in _onset(runs, run, found[run.name])]
    read = ["The strip on top is the phase with its probability."] if strip else []
    if any(each.interval is not None for each in found.values()):
        read.append("The dotted frame is the 90% interval of the onset of planning.")
    plans = " (last row)" if rows[-1].traces else ", which these files do not hold,"
    read.append(f"Execution settles first; planning begins where the variety of plans{plans} rises for good.")
    figure = style.figure("Planning against execution", " ".join(read), [strips, *rows], runs, x, shapes=shapes)
    curves = [np.asarray(trace.x, float) for trace in figure.data if trace.type == "scatter"]
    ends = [at for steps in curves for at in steps[np.isfinite(steps)]]
    ends += [at for bar in figure.data if bar.type == "bar" for at in (bar.base[0], bar.base[0] + bar.x[0])]
    if ends:  # by tokens there may be nothing left
        figure.update_xaxes(range=[min(ends), max(ends)])
    return [figure.update_layout(barmode="overlay", bargap=0.1)]


def _strip(runs: Sequence[RunFiles], run: RunFiles, found: Phases) -> list[Any]:
    """A bar for each stretch, labelled where there is room, told on hover everywhere."""
    import plotly.graph_objects as go

    last = max((part.end for part in found.segments), default=1)
    return [
        go.Bar(
            base=[part.start],
            x=[part.end - part.start or 0.5],
            y=[_label(runs, run)],
            orientation="h",
            name=part.state,
            showlegend=False,
            meta={"run": run.name, "state": part.state, "confidence": part.confidence},
            marker={"color": INKS[part.state], "line": {"width": 0}},
            textfont={"color": "#ffffff"},
            text=[", ".join((part.state, *_sure(part))) if part.end - part.start > WIDE * last else ""],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="inside",
            hovertemplate=", ".join((part.state, f"steps {part.start} to {part.end}", *_sure(part)))
            + "<extra></extra>",
        )
        for part in found.segments
    ]


def _sure(part: Stretch) -> tuple[str, ...]:
    """How sure a state is; undecided claims nothing, and nobody would know what it is sure of."""
    return () if part.state == "undecided" or not math.isfinite(part.confidence) else (f"{part.confidence:.0%} sure",)


def _label(runs: Sequence[RunFiles], run: RunFiles) -> str:
    """A run's name, short where the names still differ then: a phone has little room."""
    if len(runs) == 1:
        return "phase"
    short = {shown(each.name, 16) for each in runs}
    return style.text(shown(run.name, 16 if len(short) == len(runs) else 60))


def _bands(run: RunFiles, found: Phases) -> list[dict]:
    """The stretches behind all rows."""
    return [
        {
            "type": "rect", "layer": "below", "x0": part.start, "x1": part.end, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"width": 0}, "fillcolor": faint(STATES[part.state], 0.10), "name": run.name,
        }
        for part in found.segments
        if part.state != "undecided"
    ]  # fmt: skip


def _onset(runs: Sequence[RunFiles], run: RunFiles, found: Phases) -> list[dict]:
    """The onset of planning as a line, its interval as an area; of several runs in the run's colour."""
    colour = style.colour_of(runs, run) if len(runs) > 1 else GREEN
    shared = {"y0": 0, "y1": 1, "yref": "paper", "name": run.name}
    shapes = []
    if found.interval is not None:
        low, high = found.interval
        fill = {"line": {"width": 1, "color": colour, "dash": "dot"}, "fillcolor": faint(colour, 0.22)}
        shapes.append({"type": "rect", "layer": "below", "x0": low, "x1": high} | fill | shared)
    if found.onset is not None:
        line = {"width": 2, "color": colour}
        shapes.append({"type": "line", "x0": found.onset, "x1": found.onset, "line": line} | shared)
    return shapes


def lacks(run: RunFiles) -> Iterable[str]:
    """Where the verdict comes from, if not from the file that looks back over the whole run."""
    found = phases(run)
    last = int(run.metrics["step"].max()) if len(run.metrics) else 0
    if not run.diagnosis:
        yield "no diagnosis.json: the phases are those each step judged for itself, without looking back"
    elif found.judged is not None and last > found.judged:
        yield f"diagnosis.json looks back up to step {found.judged}; steps {found.judged + 1} to {last} judged alone"
    yield from _few(run)


def _few(run: RunFiles) -> Iterable[str]:
    """Where too few tokens planned for the curves that compare planning with execution."""
    frame = run.metrics
    if COUNT not in frame:
        return
    counted = frame[frame[COUNT].notna()]
    few = counted[counted[PLANNING].isna()] if PLANNING in frame else counted
    if len(few):
        yield (
            f"in {len(few)} of {len(counted)} steps too few tokens plan to compare them with the others, "
            f"{few[COUNT].median():.0f} in the median (min_planning_tokens)"
        )


VIEW = View(
    name="phase_timeline",
    title="Phase of learning",
    how_to_read=(
        "Is the run still making procedures routine (consolidating), or exploring plans (planning)? Look at the strip, "
        "then at whether the rows below it show the move: execution down first, then variety of plans up."
    ),
    draw=draw,
    lies=(
        "With few planning tokens the gap is noise, and a changed mix of tasks moves every row without learning. A "
        "verdict near 50% is a guess; 'undecided' is the right answer while the move is as small as the noise."
    ),
    metrics=METRICS,
    lacks=lacks,
)
