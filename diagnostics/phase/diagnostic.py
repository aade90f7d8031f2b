"""The phase detector in a run: reads what the diagnostics before it measured, judges after every step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnostics.phase.detector import DIVERSITY, ENTROPY, LASTING, NAMES, PERPLEXITY, retrospective
from diagnostics.phase.rise import FEWEST
from diagnostics.phase.verdict import STATES, State, Verdict
from rltrain.types import Event, Panel, StepRecord

ADVICE: Mapping[State, str] = {
    "undecided": "the evidence for the earlier phase is gone; take no action on it, and look at the phase panels",
    "consolidating": "nothing to do: procedures are becoming routine; planning comes after this, if at all",
    "planning": "planning-focused credit (hicra) makes sense from here on; look at the phrases that are new",
    "stalled": "neither execution nor planning moves: look at reward/zero_variance, the mix of difficulties, and "
    "whether the model has plans to choose from (plan/variety)",
}


class PhaseDiagnostic:
    """Computes `phase/*` from `ppl/execution_rel`, `entropy/execution` and `plan/variety` of the record.

    Belongs behind the diagnostics that measure those. Nothing is said of a step that has none of them. The verdict
    of a step rests on that step and those before it, and equals `retrospective` over the same steps.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Phase of learning",
            ("phase/state",),
            "line",
            "0 undecided, 1 consolidating, 2 planning, 3 stalled, judged from the steps so far. Undecided is the "
            "right answer while the noise is as large as the move; a state that flickers is not to be acted on.",
        ),
        Panel(
            "How sure the phase is",
            ("phase/confidence", "phase/values"),
            "line",
            "Probability that the state is right; where it is undecided, that of the likeliest state. How far it can "
            "be taken at its word is measured in docs/phases.md.",
        ),
        Panel(
            "Onset of planning",
            ("phase/onset", "phase/onset_low", "phase/onset_high"),
            "line",
            "The step at which plan diversity began to rise, as judged at each step, with its 90% interval. It "
            "settles as steps come in; an onset that keeps moving along with the run is a slow drift and no onset.",
        ),
    )

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._series: dict[str, list[float]] = {name: [] for name in NAMES}
        self._named: State | None = None  # the last state an event spoke of
        self._standing = 0  # steps in a row that were called stalled
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The verdict after this step; empty where the step has none of the three metrics."""
        found = {name: float(record.metrics.get(name, math.nan)) for name in NAMES}
        if not any(map(math.isfinite, found.values())):
            return {}
        self._steps.append(record.step)
        for name, value in found.items():
            self._series[name].append(value)
        verdict = retrospective(self._steps, self._series)
        self._announce(record.step, verdict)
        metrics = {"phase/state": float(STATES.index(verdict.state)), "phase/confidence": verdict.confidence}
        metrics["phase/values"] = float(np.isfinite(self._series[DIVERSITY]).sum())
        if verdict.onset_step is not None and verdict.interval is not None:
            low, high = verdict.interval
            metrics |= {"phase/onset": float(verdict.onset_step)}
            metrics |= {"phase/onset_low": float(low), "phase/onset_high": float(high)}
        return metrics

    def events(self) -> list[Event]:
        """`phase_changed`: another state was named, stalled for some steps, or planning is not certain any more."""
        events, self._events = self._events, []
        return events

    def notes(self) -> list[str]:
        """What the phase could not be judged by."""
        known = {name: int(np.isfinite(self._series[name]).sum()) for name in NAMES}
        execution, plans = max(known[PERPLEXITY], known[ENTROPY]), known[DIVERSITY]
        lacking = [
            f"{what} is known in {count} steps ({needs})"
            for what, count, needs in (
                ("execution", execution, "entropies or log-probs of the trainer, of tokens that do not plan"),
                ("variety of plans", plans, "planning tokens, see min_planning_tokens"),
            )
            if count < FEWEST
        ]
        return [f"phase: undecided, {' and '.join(lacking)}; at least {FEWEST} are needed"] if lacking else []

    def diagnosis(self) -> dict[str, Any]:
        """The entry `phase` of diagnosis.json: the verdict on everything seen so far."""
        return {"phase": retrospective(self._steps, self._series).as_json()}

    def state_dict(self) -> dict[str, Any]:
        """What was seen, and what was said last."""
        return {
            "steps": list(self._steps),
            "series": {name: list(values) for name, values in self._series.items()},
            "named": self._named,
            "standing": self._standing,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        self._steps = list(state["steps"])
        unknown = [math.nan] * len(self._steps)  # a checkpoint of before a series was read
        self._series = {name: list(state["series"].get(name, unknown)) for name in NAMES}
        self._named, self._standing = state["named"], state.get("standing", 0)
        self._events = []

    def _announce(self, step: int, verdict: Verdict) -> None:
        before, now = self._named, verdict.state
        self._standing = self._standing + 1 if now == "stalled" else 0
        if now == before or (now == "undecided" and before != "planning"):
            return  # to be undecided is no news, unless planning had been announced
        if 0 < self._standing < LASTING:
            return  # where a fall ends is not known to the step: a stretch that is long enough may turn out not to be
        self._named = now
        evidence = {"from": before or "undecided", "to": now, "confidence": verdict.confidence, "why": verdict.why}
        if verdict.interval is not None:
            evidence |= {"onset_step": verdict.onset_step, "interval": list(verdict.interval)}
        severity = "warning" if now in ("stalled", "undecided") else "info"
        self._events.append(Event(step, "phase_changed", severity, evidence | dict(verdict.evidence), ADVICE[now]))
