"""The actions: whether what they wait for can come."""

from __future__ import annotations

from collections.abc import Iterator

from rltrain import plugins
from rltrain.check.verdicts import Section
from rltrain.config import Config, CurriculumSpec
from rltrain.events import EVENTS

OURS = ("curricula", "diagnostics")


def check_actions(config: Config) -> Section:
    """An event that nobody writes is an error; one of a plugin that is not on, or perhaps of a stranger, a warning."""
    section = Section("actions")
    uses = dict(_uses(config))
    own = [use for use, group in uses.items() if not _is_ours(use, group)]
    for action in config.actions:
        name = action.event
        if name is None:
            section.ok(f"{action.do} at step {action.at}")
        elif name in EVENTS:
            if not EVENTS[name] or uses.keys() & EVENTS[name] or own:
                section.ok(f"{action.do} on {name}")
            else:
                writers = " or ".join(EVENTS[name])
                section.warn(f"actions: {action.do} waits for {name}, which {writers} writes, and that is not on")
        else:
            told = f"actions: {action.do} waits for {name!r}, no event of ours"
            told += plugins.suggest(name, EVENTS, "there are")
            section.warn(f"{told}. Perhaps {', '.join(own)} writes it") if own else section.error(told)
    return section


def _uses(config: Config) -> Iterator[tuple[str, str]]:
    """(spec, entry-point group) of everything that may write events."""

    def nested(spec: CurriculumSpec) -> Iterator[tuple[str, str]]:
        yield spec.use, "rltrain.curricula"
        for part in [*([spec.inner] if spec.inner else []), *spec.gates]:
            yield from nested(part)

    yield from nested(config.curriculum)
    for diagnostic in config.diagnostics:
        yield diagnostic.use, "rltrain.diagnostics"


def _is_ours(use: str, group: str) -> bool:
    try:
        found = plugins.resolve(use, group)
    except ValueError:  # told where it is built
        return False
    return getattr(found, "__module__", "").partition(".")[0] in OURS
