"""What marks an event in a figure: a dotted line, and a triangle with its words on hover."""

from __future__ import annotations

import html
from collections.abc import Sequence

from diagnostics.report.figures.palette import COLOURS, GREY, ORANGE, RED
from diagnostics.report.text import shown
from rltrain.records import RunFiles
from rltrain.types import Event

SEVERITY = {"error": RED, "warning": ORANGE, "info": GREY}  # gravest first
MOST = 40  # events drawn in a figure, the gravest first
TALL = 12  # pixels of a row of triangles; each of several runs has one of its own, in its colour


def event_marks(runs: Sequence[RunFiles]) -> tuple[list[dict], list[dict]]:
    """Lines and triangles, one for each step that has an event. Of one run the colour is the severity."""
    order = tuple(SEVERITY)
    by_step: dict[tuple[int, int], list[Event]] = {}
    for number, run in enumerate(runs):
        for event in run.events:
            by_step.setdefault((number, event.step), []).append(event)
    gravest = {place: min(order.index(event.severity) for event in found) for place, found in by_step.items()}
    shapes, notes = [], []
    for place in sorted(sorted(by_step), key=gravest.__getitem__)[:MOST]:
        (number, step), found = place, by_step[place]
        run, severity = runs[number], order[gravest[place]]
        colour = COLOURS[number % len(COLOURS)] if len(runs) > 1 else SEVERITY[severity]
        shared = {"yref": "paper", "name": run.name}
        thin = {"color": colour, "width": 1, "dash": "dot"}
        shapes.append({"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "line": thin, "opacity": 0.7} | shared)
        mark = {"x": step, "y": 1, "yanchor": "bottom", "showarrow": False} | shared
        mark |= {"yshift": TALL * number - 3, "text": "\u25bd" if severity == "info" else "\u25bc"}
        names = ", ".join(dict.fromkeys(shown(event.name, 60) for event in found[:5]))
        whose = f"{shown(run.name, 40)}, " if len(runs) > 1 else ""
        told = f"{whose}step {step}: {names}" + (f" ({severity})" if severity != "info" else "")
        plain = severity == "info" and len(runs) == 1  # in the page's ink: an outline of grey is not seen in the dark
        font = {"size": 10} | ({} if plain else {"color": colour})
        notes.append(mark | {"font": font, "hovertext": html.escape(told)})
    return shapes, notes


def side(run: RunFiles, step: int) -> str:
    """The end of words beside a step that is at the step: on the side of the picture that has room for them."""
    last = int(run.metrics["step"].max()) if len(run.metrics) else 0
    return "right" if 2 * step > last else "left"
