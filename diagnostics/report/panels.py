"""Which pictures a report has: those the run's diagnostics ask for, then every other declared metric by area."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from rltrain.metrics import AREAS, METRICS, area
from rltrain.types import Panel

GROUP = "rltrain.diagnostics"


def panels_of(specs: Iterable[str]) -> tuple[list[Panel], list[str]]:
    """The panels of diagnostics given as in the config (`diagnostics: [{use: ...}]`), and notes on those not found.

    A diagnostic that is not installed here costs only its panels: its metrics are then drawn by area.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    panels: list[Panel] = []
    notes: list[str] = []
    for spec in dict.fromkeys(specs):
        point = installed.get(spec) or (EntryPoint(spec, spec, GROUP) if ":" in spec and ".py:" not in spec else None)
        try:
            if point is None:
                raise ImportError("not installed here")
            panels += [panel for panel in point.load().panels if panel not in panels]
        except (ImportError, AttributeError) as error:
            notes.append(f"No panels of the diagnostic {spec} ({error}); its metrics are drawn by area.")
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
