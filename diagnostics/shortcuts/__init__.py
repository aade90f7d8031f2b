"""Whether reward is earned without the work, and whether the training signal rests on luck.

Each detector is a test that may be looked at after every step (`diagnostics/sequential.py`), not a threshold.
How often they are right is measured by `benchmarks/shortcut_toy.py`; see docs/formats-and-shortcuts.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostics.shortcuts import marks
from diagnostics.shortcuts.advice import ADVICE, PANELS
from diagnostics.shortcuts.detectors import LEVELS, Detectors
from diagnostics.shortcuts.marks import Marks
from rltrain.types import Event, Panel, StepRecord


class ShortcutDiagnostic:
    """Computes `shortcut/*`; an event `shortcut_<name>` when a detector fires, each once in a run.

    The first `baseline_steps` steps are what later ones are held against. `alpha` bounds the chance that a run
    in which nothing rises has an event at all, whatever its length.
    """

    panels: Sequence[Panel] = PANELS

    def __init__(self, *, baseline_steps: int = 10, alpha: float = 0.01) -> None:
        if baseline_steps < 2 or not 0 < alpha < 1:
            raise ValueError(
                f"shortcut diagnostic: baseline_steps {baseline_steps} and alpha {alpha}; expected at least 2 steps "
                "and 0 < alpha < 1"
            )
        self._detectors = Detectors(baseline_steps=baseline_steps, alpha=alpha)
        self._events: list[Event] = []
        self._found: list[dict[str, Any]] = []  # of the whole run

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; empty when nothing was sampled."""
        rows = marks.marks(record)
        if not rows:
            return {}
        fired = self._detectors.update(record.step, rows)
        metrics = marks.metrics(rows, self._detectors.references)
        for name in fired:
            event = self._event(record.step, name, rows, metrics)
            self._events.append(event)
            evidence = dict(event.evidence) | {"step": event.step}
            self._found.append({"name": name, "onset_step": evidence.pop("onset_step"), "evidence": evidence})
        return metrics

    def _event(self, step: int, name: str, rows: Sequence[Marks], metrics: Mapping[str, float]) -> Event:
        test = self._detectors.test(name) if name != "divergence" else None
        evidence: dict[str, Any] = {
            "onset_step": self._detectors.onset(name),
            "value": metrics.get(f"shortcut/{name}"),
            "usual": LEVELS.get(name, self._detectors.usual(name) if test else None),
            "ceiling": LEVELS.get(name, test.ceiling if test else None),
            "completions": metrics["shortcut/completions"],
            "outcome": marks.mean_outcome(rows),
            "misdirected": metrics.get("shortcut/misdirected"),
        }
        if name == "skipped":
            evidence |= marks.worth_of_work(rows, self._detectors.references)
        if name == "divergence":
            evidence |= {"reward": marks.mean_reward(rows)} | self._detectors.divergence()
        known = {key: value for key, value in evidence.items() if value is not None}
        return Event(step, f"shortcut_{name}", "warning", known, ADVICE[name])

    def events(self) -> list[Event]:
        """What was found since the last call."""
        found, self._events = self._events, []
        return found

    def diagnosis(self) -> dict[str, Any]:
        """The entry `shortcuts` of diagnosis.json."""
        return {"shortcuts": list(self._found)}

    def state_dict(self) -> dict[str, Any]:
        """All that later steps are held against, and what was found."""
        return {"detectors": self._detectors.state_dict(), "found": list(self._found)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._detectors.load_state_dict(state["detectors"])
        self._found = list(state["found"])
