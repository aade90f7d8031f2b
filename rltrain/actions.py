"""What a run does about an event: the `actions` of its config, each logged with its cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rltrain import steps
from rltrain.config import Action, Config
from rltrain.run import Run
from rltrain.types import Event


def act(run: Run, step: int) -> str:
    """Take the actions due after this step; `stop` when the run is to end here, else `go on`."""
    news = list(run.news)
    run.news.clear()
    taken = due(of(run.config), step, news)
    for action, cause in taken:
        run.event(logged(action, step, cause))
        if action.do == "hicra":
            run.progress.guard = run.progress.guard.started(step + 1)
        elif action.value is not None:
            run.progress.settings[action.do] = action.value
            steps.adjust(run, run.progress.settings)
    run.news.clear()
    done = {action.do for action, _ in taken}
    if done & {"checkpoint", "stop"}:  # last, so that it holds what the others changed
        steps.save(run, step, always=True)
    return "stop" if "stop" in done else "go on"


def of(config: Config) -> list[Action]:
    """The config's actions, and those put shortly: `hicra.start: phase2`, and `when_empty: stop` of a curriculum."""
    hicra = config.advantages.hicra
    start = hicra is not None and hicra.start == "phase2"
    return [
        *config.actions,
        *([Action(event="phase_changed", when={"to": "planning"}, do="hicra")] if start else []),
        Action(event="nothing_learnable", when={"then": "stop"}, do="stop"),
    ]


def due(actions: Sequence[Action], step: int, events: Sequence[Event]) -> list[tuple[Action, Event | None]]:
    """The actions to take after this step, in the config's order, each with the event that caused it.

    An action with `at` has no cause but the config. Of several events that fit, the first counts.
    """
    found: list[tuple[Action, Event | None]] = []
    for action in actions:
        if action.at is not None:
            found += [(action, None)] if action.at == step else []
        else:
            found += [(action, event) for event in events if fits(action, event)][:1]
    return found


def fits(action: Action, event: Event) -> bool:
    """Whether the event has the action's name and the evidence it asks for."""
    return event.name == action.event and all(event.evidence.get(key) == value for key, value in action.when.items())


def logged(action: Action, step: int, cause: Event | None) -> Event:
    """The event that says what was done, why, and how to have it done again in another run."""
    value = {} if action.value is None else {"value": action.value}
    evidence: dict[str, Any] = {"do": action.do, **value, "cause": cause.name if cause else "config"}
    if cause:
        evidence["cause_evidence"] = dict(cause.evidence)
    again = ", ".join(f"{key}: {item}" for key, item in {"at": step, "do": action.do, **value}.items())
    return Event(step, "action", "info", evidence, f"to replay it: actions: [{{{again}}}]")
