"""Learning progress: how fast related prompts change, whichever way, for drawing what is being learned or forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FADE = 0.98  # of a running mean, with each prompt of the relation that comes again: one change is mostly chance
REST = 0.02  # progress anything is taken to make at least, so that nothing is never drawn


class Progress:
    """Absolute learning progress after Portelas et al. (arXiv 1910.07224), by relation instead of by prompt.

    The change of one prompt from visit to visit is mostly chance; over related prompts chance cancels out before
    the sign is dropped.
    """

    def __init__(self, names: Sequence[str]):
        self._names = names
        self._sums = np.zeros((len(names), 2))  # faded changes in pass rate, and their weight

    def note(self, relation: int, change: float) -> None:
        """A prompt came again, and its pass rate had changed by so much."""
        self._sums[relation] = FADE * self._sums[relation] + (change, 1.0)

    def of(self, relations: np.ndarray) -> np.ndarray:
        """(n,) what prompts of these relations are worth: |mean change|, one visit without change added."""
        changes, weights = self._sums[relations].T
        return REST + np.abs(changes) / (weights + 1.0)

    def state_dict(self) -> dict[str, list[float]]:
        """By name of the relation."""
        return dict(zip(self._names, self._sums.tolist(), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on; a relation that is new begins anew."""
        self._sums = np.array([state.get(name, (0.0, 0.0)) for name in self._names], float).reshape(-1, 2)
