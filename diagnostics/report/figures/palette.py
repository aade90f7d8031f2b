"""The colours of every figure; a form of answers has the same one in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Okabe and Ito's palette without black and yellow: told apart by most eyes, on white and on dark.
BLUE, RED, GREEN, PINK, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
VIOLET, GREY, TEAL, WINE = "#8C6BB1", "#7A7A7A", "#44AA99", "#882255"
COLOURS = (BLUE, RED, GREEN, PINK, SKY, ORANGE, VIOLET, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SCALE = "Cividis"  # of heat and of points by step: even to every eye
FORMS = {  # neighbours in this order differ for every eye
    "prose": BLUE, "boxed_latex": ORANGE, "answer_only": RED, "numbered_steps": SKY, "bullets": GREEN, "code": PINK,
    "json": VIOLET, "table": TEAL, "tags": WINE, "other": GREY,
}  # fmt: skip


def colours(labels: Sequence[str]) -> Mapping[str, str]:
    """The colour of each form or class: a known form its own; the others, by name, what those of here leave."""
    known = {label: FORMS[label] for label in labels if label in FORMS}
    spare = [colour for colour in (*COLOURS, TEAL, WINE) if colour not in known.values()] or [GREY]
    others = sorted(label for label in labels if label not in FORMS)
    return known | {label: spare[i % len(spare)] for i, label in enumerate(others)}


def faint(colour: str, opacity: float = 0.18) -> str:
    """A colour `#rrggbb` to fill an area with."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
