"""Pass/fail jumps: does anything continuous move with it?

A policy that gets better token by token passes suddenly, since a task of L tokens is passed at about p^L; then the
continuous measures move as well, and are the more sensitive of the two. Where they stand still the jump is one of the
measure: a parser, a reward, a form of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SURE = 5.0  # standard errors of a jump: it is looked for at every step of a run
MOVED = 2.0  # standard errors from which on a continuous measure has moved
FLOOR = {"passed": 0.25, "nearness": 0.01}  # variance that one more group would add: groups may be alike by chance
PART = 0.25  # or this part of the jump, where a measure is in [0, 1] as pass/fail is


class Point(NamedTuple):
    """A group: means over its completions, both in [0, 1]."""

    source: str
    passed: float
    nearness: float  # 1 - edits from the gold answer to the nearest stretch / its length


class Change(NamedTuple):
    """After minus before, and its standard error."""

    difference: float
    error: float


class Jump(NamedTuple):
    """Pass/fail moved, and nothing else did."""

    onset: int  # the likeliest first step
    before: float
    passed: Change
    nearness: Change
    probability: tuple[float, float] | None  # changes of a token's and of the whole answer's probability
    groups: int


class JumpWatch:
    """Compares two windows of `window` steps each that meet; pure state, no metrics."""

    def __init__(self, window: int, least: float) -> None:
        self._window, self._least = window, least
        self._steps: list[tuple[int, list[Point]]] = []
        self._panel: list[tuple[int, dict[str, tuple[float, float]]]] = []

    def panel(self, step: int, logprobs: Mapping[str, tuple[float, float]]) -> None:
        """Log-probability of each prompt's gold answer after a step: a token's mean, and the total."""
        begun = self._steps[0][0] if self._steps else step
        older = [entry for entry in self._panel if entry[0] < begun][-1:]
        self._panel = [*older, *(entry for entry in self._panel if entry[0] >= begun), (step, dict(logprobs))]

    def update(self, step: int, points: Sequence[Point]) -> Jump | None:
        """Take in a step; the jump that it completes, if there is one."""
        self._steps = [*self._steps[1 - 2 * self._window :], (step, list(points))]
        if len(self._steps) < 2 * self._window:
            return None
        sides = self._steps[: self._window], self._steps[self._window :]
        before, after = ([point for _, of_step in side for point in of_step] for side in sides)
        passed, nearness = (compared(before, after, name) for name in ("passed", "nearness"))
        if passed is None or nearness is None or abs(passed.difference) < self._least:
            return None
        if abs(passed.difference) < SURE * passed.error:
            return None
        probability = self._probability(sides[1][0][0])
        moves = [abs(nearness.difference) >= min(PART * abs(passed.difference), MOVED * nearness.error)]
        moves += [abs(change) >= PART * abs(passed.difference) for change in probability or ()]
        if any(moves):
            return None
        level = float(np.mean([point.passed for point in before]))
        jump = Jump(_onset(self._steps), level, passed, nearness, probability, len(before) + len(after))
        self._steps = [entry for entry in self._steps if entry[0] >= jump.onset]  # one jump is told once
        return jump

    def _probability(self, boundary: int) -> tuple[float, float] | None:
        """Changes of the panels' mean from before the later window to within it, over the prompts of all of them."""
        sides = [[of for step, of in self._panel if (step >= boundary) is later] for later in (False, True)]
        keys = sorted(set.intersection(*(set(of) for side in sides for of in side))) if all(sides) else []
        if not keys:
            return None
        then, now = (np.exp([[of[key] for key in keys] for of in side]).mean(axis=(0, 1)) for side in sides)
        token, whole = now - then
        return float(token), float(whole)

    def state_dict(self) -> dict[str, Any]:
        """Both windows and the last panels."""
        return {"steps": list(self._steps), "panel": list(self._panel)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        self._steps, self._panel = list(state["steps"]), list(state["panel"])


def compared(before: Sequence[Point], after: Sequence[Point], name: str) -> Change | None:
    """The change inside the sources that both sides have, weighted as in a stratified mean; None without one.

    A change of the mix of sources is none.
    """
    total = weights = variance = 0.0
    for source in {point.source for point in before} & {point.source for point in after}:
        a, b = (np.array([getattr(p, name) for p in side if p.source == source]) for side in (before, after))
        weight = len(a) * len(b) / (len(a) + len(b))
        spread = sum((of.var() * len(of) + FLOOR[name]) / (len(of) + 1) / len(of) for of in (a, b))
        total, weights = total + weight * float(b.mean() - a.mean()), weights + weight
        variance += weight**2 * spread
    return Change(total / weights, float(np.sqrt(variance)) / weights) if weights else None


def _onset(steps: Sequence[tuple[int, Sequence[Point]]]) -> int:
    """The step at which a split of the windows into two levels fits best."""
    means = np.array([np.mean([point.passed for point in points]) if points else np.nan for _, points in steps])
    known = np.flatnonzero(np.isfinite(means))
    fits = [
        means[known[:i]].sum() ** 2 / i + means[known[i:]].sum() ** 2 / (len(known) - i) for i in range(1, len(known))
    ]
    return steps[known[1 + int(np.argmax(fits))]][0]
