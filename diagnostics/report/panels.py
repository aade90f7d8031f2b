"""Which pictures a report has: those the run's diagnostics ask for, then every other declared metric by area."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from diagnostics.report.text import shown
from rltrain.metrics import AREAS, METRICS, area
from rltrain.types import Panel

GROUP, CURRICULA = "rltrain.diagnostics", "rltrain.curricula"

Resolve = Callable[[str, str], Any]
"""A spec and its entry-point group -> the object; ValueError or ImportError where it is not found."""


def installed(spec: str, group: str) -> Any:
    """What a name or `module:attr` stands for here. ImportError or AttributeError where it is not installed."""
    named = entry_points(group=group, name=spec)
    if not named and (":" not in spec or ".py:" in spec):
        raise ImportError("not installed here")
    return next(iter(named), EntryPoint(spec, spec, group)).load()


def panels_of(specs: Iterable[str], resolve: Resolve = installed, group: str = GROUP) -> tuple[list[Panel], list[str]]:
    """The panels of diagnostics, or of curricula, given as in the config, and notes on those not found.

    One that is not to be had here costs only its panels: its metrics are then drawn by area. A curriculum need not
    have any.
    """
    kind = "diagnostic" if group == GROUP else "curriculum"
    panels: list[Panel] = []
    notes: list[str] = []
    for spec in dict.fromkeys(specs):
        try:
            plugin = resolve(spec, group)
            own = plugin.panels if group == GROUP else getattr(plugin, "panels", ())
            panels += [panel for panel in own if panel not in panels]
        except (ImportError, AttributeError, ValueError) as error:
            notes.append(f"No panels of the {kind} {shown(spec)} ({shown(error, 300)}); its metrics are drawn by area.")
    return panels, notes


def by_area(stems: Collection[str], drawn: Collection[str]) -> list[Panel]:
    """One panel an area, for the declared stems that no panel has drawn, in the table's order."""
    left = [stem for stem in METRICS if stem in stems and stem not in drawn]
    return [
        Panel(name.capitalize(), metrics, "line", about)
        for name, about in AREAS.items()
        if (metrics := tuple(stem for stem in left if area(stem) == name))
    ]


def present(panels: Sequence[Panel], stems: Collection[str]) -> list[Panel]:
    """The panels that have something to show."""
    return [panel for panel in panels if any(metric in stems for metric in panel.metrics)]
