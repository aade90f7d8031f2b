"""What the detector says, as values and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["undecided", "consolidating", "planning", "stalled"]
STATES: tuple[State, ...] = ("undecided", "consolidating", "planning", "stalled")  # the index is `phase/state`


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of steps in one state; the next one begins where it ends."""

    state: State
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said after the last step given, and how it came to this."""

    state: State
    onset_step: int | None  # step at which plan diversity begins to rise; None unless planning
    interval: tuple[int, int] | None  # 90% interval of the onset
    confidence: float  # probability that the state is right; if undecided, that of the likeliest one
    segments: tuple[Segment, ...]
    why: str  # in words
    evidence: Mapping[str, float]  # the numbers it rests on

    def as_json(self) -> dict[str, Any]:
        """`phase` of diagnosis.json: {state, onset_step, interval, confidence, why, segments}."""
        return {
            "state": self.state,
            "onset_step": self.onset_step,
            "interval": None if self.interval is None else list(self.interval),
            "confidence": self.confidence,
            "why": self.why,
            "segments": [
                {"state": s.state, "start": s.start, "end": s.end, "confidence": s.confidence} for s in self.segments
            ],
        }
