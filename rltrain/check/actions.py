"""The actions: whether what they wait for can come."""

from __future__ import annotations

from collections.abc import Iterator

from rltrain import plugins
from rltrain.check.verdicts import Section
from rltrain.config import Action, Config, CurriculumSpec
from rltrain.events import EVENTS, EVIDENCE, VALUES

OURS = ("curricula", "diagnostics")


def check_actions(config: Config) -> Section:
    """What can never come is an error: an event that nobody writes, or one of ours with evidence that it never has.

    An event of a plugin that is not on, or perhaps of a stranger, is a warning.
    """
    section = Section("actions")
    uses = dict(_uses(config))
    own = [use for use, group in uses.items() if not _is_ours(use, group)]
    for action in config.actions:
        name = action.event
        if name is None:
            section.ok(f"{action.do} at step {action.at}")
        elif name in EVENTS:
            if never := list(_never(action)):
                section.error(f"actions: {action.do} on {name} {'; '.join(never)}")
            elif not EVENTS[name] or uses.keys() & EVENTS[name] or own:
                section.ok(f"{action.do} on {name}")
            else:
                writers = " or ".join(EVENTS[name])
                section.warn(f"actions: {action.do} waits for {name}, which {writers} writes, and that is not on")
        else:
            told = f"actions: {action.do} waits for {name!r}, no event of ours"
            told += plugins.suggest(name, EVENTS, "there are")
            section.warn(f"{told}. Perhaps {', '.join(own)} writes it") if own else section.error(told)
    return section


def _never(action: Action) -> Iterator[str]:
    """What an action asks of the evidence that the event never has, in words."""
    for key, value in action.when.items():
        keys, values = EVIDENCE.get(action.event, [key]), VALUES.get((action.event, key), [value])
        if key not in keys:
            yield f"asks for {key!r}, which its evidence does not have{plugins.suggest(key, keys, 'it can ask for')}"
        elif value not in values:
            told = plugins.suggest(str(value), values, f"`{key}` is one of")
            yield f"asks for {key}: {value}, which never comes{told}"


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
