"""Running figures of a curriculum: moves between pools, surprise, lag, and results that say nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

FADE, SLOW = 0.9, 0.98  # of a running mean, with each group
MUTE = 8  # groups of a relation without any outcome, after which a person is told


class Tally:
    """Counts over what a curriculum observed; R relations."""

    def __init__(self, relations: int):
        self.empty = False  # nothing learnable or unknown is left, and it was told
        self._flow: Counter[str] = Counter()
        self._surprise = np.zeros(2)  # faded sum and weight
        self._lag = np.zeros(2)
        self._mixed = np.zeros(2)  # first tries with successes and failures, and all of them
        self._freed = np.zeros(2)  # tries of set-aside prompts that brought them back, and all of them
        self._mute = np.zeros(relations, np.int64)  # groups without an outcome; -1 once there was one, or it was told

    def answered(self, relation: int, lag: int, outcomes: bool) -> bool:
        """A group's result came `lag` groups after it was asked for; whether now is the time to say it has none."""
        self._lag = FADE * self._lag + (lag, 1.0)
        if self._mute[relation] >= 0:
            self._mute[relation] = -1 if outcomes else self._mute[relation] + 1
        if self._mute[relation] < MUTE:
            return False
        self._mute[relation] = -1
        return True

    def compared(self, surprise: float) -> None:
        """A prompt's pass rate less what was expected of it."""
        self._surprise = FADE * self._surprise + (surprise, 1.0)

    def first(self, mixed: bool) -> None:
        """A prompt was tried for the first time; whether it had successes and failures."""
        self._mixed = SLOW * self._mixed + (mixed, 1.0)

    @property
    def yield_(self) -> float:
        """Share of first tries that were mixed, of late: what an unknown prompt is worth."""
        return float(self._mixed[0] / (self._mixed[1] + 1.0))

    def probed(self, freed: bool) -> None:
        """A set-aside prompt was tried; whether that brought it back."""
        self._freed = FADE * self._freed + (freed, 1.0)

    @property
    def freed(self) -> float:
        """Share of set-aside prompts that came back when they were tried, of late: what a probe is worth."""
        return float(self._freed[0] / (self._freed[1] + 1.0))

    def moved(self, was: str, now: str) -> None:
        """A prompt changed its pool."""
        self._flow[f"{was}_to_{now}"] += 1

    def metrics(self) -> dict[str, float]:
        """Moves since the start; surprise and lag where there is any."""
        found = {f"curriculum/flow@{move}": float(count) for move, count in sorted(self._flow.items())}
        for name, (total, weight) in (("curriculum/surprise", self._surprise), ("curriculum/lag", self._lag)):
            if weight:
                found[name] = float(total / weight)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Copies of all counts."""
        arrays = {name: getattr(self, name).copy() for name in ("_surprise", "_lag", "_mixed", "_freed", "_mute")}
        return {"empty": self.empty, "flow": dict(self._flow), "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any], *, same: bool) -> None:
        """Go on from a state; what is counted by relation begins anew where the prompts are not the `same`."""
        self.empty, self._flow = state["empty"], Counter(state["flow"])
        for name, array in state["arrays"].items():
            if same or name != "_mute":
                setattr(self, name, array.copy())
