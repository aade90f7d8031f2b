"""Raising a rare source while what it learns is undone by the others.

A rare source is learned if its own push outweighs the others' along the same direction (arXiv 2605.29548), and raising
its frequency is what helps, by a factor of two or four in the paper's formula. A curriculum sees no gradients, and need
not: the push a group gives is p(1 - p), its outcome's variance, and what is left of all pushes is whether the pass rate
rises. A source that pushes and does not rise is drowned, whatever drowns it. Raising is then a trial: where it brings
no rise up to the cap, weight was not what was missing, and it is given back for a while.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from curricula.journal import Journal
from curricula.plateau import trend

Z = 1.28  # standard errors a rise must have; a flat course passes for rising in a tenth of the windows
PUSH = 0.02  # mean p(1 - p) below which there is nothing to drown: all failures, or mastered
REST = 8  # windows after a trial that brought nothing


@dataclass
class _Course:
    """What is known of a rare source."""

    factor: float = 1.0
    rates: list[float] = field(default_factory=list)  # of its groups since the last verdict
    rest: int = 0  # windows to go before another trial
    before: tuple[float, float] = (0.0, 0.0)  # mean pass rate when the trial began, and its standard error


class Boosts:
    """Factors on the weights of rare sources: doubled with each `window` of groups that push and do not rise."""

    def __init__(self, rare: Sequence[str], *, most: float, window: int):
        self._most, self._window = most, window
        self._courses = {name: _Course() for name in rare}

    def of(self, name: str) -> float:
        """The factor of a source."""
        return self._courses[name].factor if name in self._courses else 1.0

    @property
    def factors(self) -> dict[str, float]:
        """Factors of the rare sources."""
        return {name: course.factor for name, course in self._courses.items()}

    def note(self, name: str, outcomes: Sequence[float], journal: Journal) -> bool:
        """A group of a source came back; whether its factor changed, which the journal then tells."""
        course = self._courses.get(name)
        if course is None or not outcomes:
            return False
        course.rates.append(sum(outcomes) / len(outcomes))
        if len(course.rates) < self._window:
            return False
        was, rates, course.rates = course.factor, np.asarray(course.rates), []
        found, push = trend(rates.tolist()), float((rates * (1 - rates)).mean())
        error = float(rates.std(ddof=1)) / math.sqrt(len(rates))
        if course.rest:
            course.rest -= 1
        elif push < PUSH and found.mean < 0.5:
            course.factor = 1.0
        elif push >= PUSH and not found.rises(Z) and not self._brought(course, found.mean, error):
            course.before = (found.mean, error) if was == 1 else course.before
            course.factor = min(2 * was, self._most)
            if was == self._most:
                course.factor, course.rest = 1.0, REST
        if course.factor == was:
            return False
        evidence = {"source": name, "factor": course.factor, "before": was, "outcome": found.mean, "gain": found.gain}
        evidence |= {"gain_error": found.error, "push": push}
        if course.factor > was:
            journal.tell("source_raised", "info", evidence, "nothing to do: it pushed and did not rise, and is rare")
        else:
            advice = (
                "there is nothing to raise" if push < PUSH else "weight brought nothing; look at its tasks and reward"
            )
            journal.tell("source_lowered", "info", evidence, advice)
        return True

    def _brought(self, course: _Course, mean: float, error: float) -> bool:
        """Whether a raised source is above where it was before it was raised."""
        level, spread = course.before
        return course.factor > 1 and mean - level > Z * math.hypot(error, spread)

    def state_dict(self) -> dict[str, Any]:
        """By source."""
        return {name: asdict(course) for name, course in self._courses.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on; a source that is new begins anew."""
        self._courses = {n: _Course(**state[n]) if n in state else course for n, course in self._courses.items()}
