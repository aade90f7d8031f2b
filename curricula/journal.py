"""What a curriculum decided and what a person should know of it, until the loop writes it down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curricula.pools import Pool
from rltrain.types import Event, Severity

SHOWN = 5  # names in an event


class Journal:
    """Decisions, one row each, and events; both are handed over once. The loop knows the step and fills it in."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._events: list[Event] = []

    def decide(self, action: str, prompt: str, source: str, why: str, **details: Any) -> None:
        """One row of `curriculum/step_NNNNN.parquet`."""
        self._rows.append({"action": action, "prompt": prompt, "source": source, "why": why} | details)

    def tell(self, name: str, severity: Severity, evidence: Mapping[str, Any], advice: str) -> None:
        """One event."""
        self._events.append(Event(0, name, severity, dict(evidence), advice))

    def moved(self, moved: Mapping[tuple[Pool, Pool], list[str]]) -> None:
        """Events of prompts, by their keys, that were set aside, came back, or were forgotten."""
        for (was, now), keys in moved.items():
            evidence = {"prompts": len(keys), "first": shown(keys), "from": was.label, "to": now.label}
            if now is Pool.QUARANTINED:
                self.tell("quarantined", "info", evidence, "they are probed again on a schedule")
            elif was is Pool.QUARANTINED:
                self.tell("released", "info", evidence, "nothing to do: they can be learned again")
            elif was is Pool.TOO_EASY:
                advice = "a raised `probe` share watches easy prompts more closely"
                self.tell("forgotten", "warning", evidence, advice)

    def decisions(self) -> list[dict[str, Any]]:
        """The rows since the last call."""
        taken, self._rows = self._rows, []
        return taken

    def events(self) -> list[Event]:
        """The events since the last call."""
        taken, self._events = self._events, []
        return taken

    def state_dict(self) -> dict[str, Any]:
        """What was not handed over yet."""
        return {"rows": list(self._rows), "events": list(self._events)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what was not handed over."""
        self._rows, self._events = list(state["rows"]), list(state["events"])


def shown(names: list[str]) -> list[str]:
    """The first few names; the count stands beside them."""
    return names[:SHOWN]
