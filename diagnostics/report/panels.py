"""Which pictures a report has: those the run's diagnostics ask for, then every other declared metric by area."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from rltrain.metrics import AREAS, METRICS, area
from rltrain.types import Panel

GROUP, CURRICULA = "rltrain.diagnostics", "rltrain.curricula"


def panels_of(specs: Iterable[str], group: str = GROUP) -> tuple[list[Panel], list[str]]:
    """The panels of diagnostics, or of curricula, given as in the config, and notes on those not found.

    One that is not installed here costs only its panels: its metrics are then drawn by area. A curriculum need
    not have any.
    """
    installed = {point.name: point for point in entry_points(group=group)}
    kind = "diagnostic" if group == GROUP else "curriculum"
    panels: list[Panel] = []
    notes: list[str] = []
    for spec in dict.fromkeys(specs):
        point = installed.get(spec) or (EntryPoint(spec, spec, group) if ":" in spec and ".py:" not in spec else None)
        try:
            if point is None:
                raise ImportError("not installed here")
            plugin = point.load()
            own = plugin.panels if group == GROUP else getattr(plugin, "panels", ())
            panels += [panel for panel in own if panel not in panels]
        except (ImportError, AttributeError) as error:
            notes.append(f"No panels of the {kind} {spec} ({error}); its metrics are drawn by area.")
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
