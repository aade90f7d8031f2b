"""Which form is right more often, on the same prompts at the same step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from diagnostics.format_diversity.measures import Row


class Comparison(NamedTuple):
    """How much more often one form is right than another, on the same prompts at the same step."""

    difference: float
    error: float  # standard error
    groups: int


class Contest:
    """Accuracy of forms against each other inside groups: neither time nor the prompts' difficulty can pretend.

    The difference of two accuracies inside a group weighs n m / (n + m) (Mantel-Haenszel). Groups that all say the
    same would have a standard error of 0, which no finite number of them earns: so it is taken with two more groups of
    the mean weight, one won and one lost outright (as Agresti and Caffo 2000 do it for two shares).
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], np.ndarray] = {}  # (6,) n, w, w d, w^2, w^2 d, w^2 d^2

    def observe(self, rows: Sequence[Row]) -> None:
        """Take in the groups of a step."""
        for row in rows:
            by: dict[str, list[float]] = defaultdict(list)
            for label, outcome in zip(row.labels, row.outcomes, strict=True):
                if outcome is not None:
                    by[label].append(outcome)
            names = sorted(by)
            for i, one in enumerate(names):
                for two in names[i + 1 :]:
                    self._add(one, two, by[one], by[two])

    def _add(self, one: str, two: str, of_one: list[float], of_two: list[float]) -> None:
        n, m = len(of_one), len(of_two)
        w, d = n * m / (n + m), sum(of_one) / n - sum(of_two) / m
        self._sums.setdefault((one, two), np.zeros(6))
        self._sums[one, two] += (1, w, w * d, w * w, w * w * d, w * w * d * d)

    def compare(self, one: str, two: str) -> Comparison | None:
        """How much more often `one` is right than `two`; None below ten groups that hold both."""
        turned = one > two
        sums = self._sums.get((two, one) if turned else (one, two))
        if sums is None or sums[0] < 10:
            return None
        n, w, wd, ww, wwd, wwdd = sums
        difference = wd / w
        squares = max(wwdd - 2 * difference * wwd + difference**2 * ww, 0.0)
        added = (w / n) ** 2 * ((1 - difference) ** 2 + (1 + difference) ** 2)
        error = sqrt(squares + added) / (w * (1 + 2 / n))
        return Comparison(-difference if turned else difference, float(error), int(n))

    def better(self, winner: str, z: float) -> tuple[str, Comparison] | None:
        """The form that is most clearly right more often than `winner`, beyond `z` standard errors."""
        others = {label for pair in self._sums for label in pair} - {winner}
        found = [(label, c) for label in sorted(others) if (c := self.compare(label, winner))]
        clear = [(label, c) for label, c in found if c.difference > z * c.error]
        return max(clear, key=lambda item: item[1].difference / item[1].error) if clear else None

    def state_dict(self) -> dict[str, Any]:
        """The sums of each pair."""
        return {"sums": [[*pair, of.tolist()] for pair, of in self._sums.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._sums = {(one, two): np.array(of) for one, two, of in state["sums"]}
