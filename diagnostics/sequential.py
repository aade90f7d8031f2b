"""A test that may be looked at after every step of a run, however long, and still errs as rarely as it says.

A bare threshold looked at a thousand times is crossed by chance. Here evidence is wealth: somebody bets, group
by group, that the mean of a bounded quantity has risen above `ceiling`. As long as it has not, no way of betting
is expected to gain, so by Ville's inequality the wealth ever exceeds 1/alpha in at most a share alpha of all runs,
looked at after each step. The bets 1 + lambda (x - ceiling) are those of Waudby-Smith and Ramdas (JRSS B 2024,
arXiv 2010.09686); spreading the stake over unknown beginnings of the rise is the e-detector of Shin, Ramdas and
Rinaldo (arXiv 2203.03532), here with weights that sum to one, so that the guarantee is for the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import exp, sqrt
from typing import Any

import numpy as np

BOLDNESS = (0.05, 0.1, 0.2, 0.4, 0.8)  # shares of the largest stake that cannot ruin


@dataclass
class RiseTest:
    """Whether the mean of values in [0, 1] has risen above `ceiling` since some step of the run.

    One value stands for one independent unit (a group, or a step), never for one of several completions
    of the same prompt.
    """

    ceiling: float  # the null hypothesis: the mean is at most this
    alpha: float = 0.001  # bound on the chance of a false alarm in a whole run
    steps: int = 0
    wealth: list[float] = field(default_factory=lambda: [0.0] * len(BOLDNESS))  # of all beginnings together
    excursion: list[float] = field(default_factory=lambda: [0.0] * len(BOLDNESS))  # log, since its best beginning
    begun: list[int] = field(default_factory=lambda: [0] * len(BOLDNESS))
    fired: int | None = None

    def update(self, step: int, values: Sequence[float] | np.ndarray) -> bool:
        """Bet on the values of a step; whether the alarm is raised by them, once in a run."""
        if not 0 < self.ceiling < 1 or not len(values):
            return False
        self.steps += 1
        stake = 1 / (self.steps * (self.steps + 1))  # of a rise that begins now; they sum to 1 - 1/(steps + 1)
        x = np.asarray(values, float)
        assert x.min() >= 0 and x.max() <= 1, (x.min(), x.max())
        for j, bold in enumerate(BOLDNESS):
            gain = float(np.log1p(bold / self.ceiling * (x - self.ceiling)).sum())
            self.wealth[j] = min((self.wealth[j] + stake) * exp(min(gain, 300.0)), 1e30)
            if self.excursion[j] <= 0:
                self.excursion[j], self.begun[j] = 0.0, step
            self.excursion[j] += gain
        if self.fired is not None or self.evidence < 1 / self.alpha:
            return False
        self.fired = step
        return True

    @property
    def evidence(self) -> float:
        """The wealth, stakes of later beginnings included; the alarm is raised at 1 / alpha."""
        return sum(self.wealth) / len(BOLDNESS) + 1 / (self.steps + 1)

    @property
    def onset(self) -> int:
        """The most likely first step of the rise."""
        return self.begun[int(np.argmax(self.excursion))]

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain numbers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RiseTest:
        """The test that `state_dict` was taken of."""
        return cls(**state)


@dataclass
class Baseline:
    """Mean and spread of a quantity over the first steps of a run: what later steps are held against."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Sequence[float] | np.ndarray) -> None:
        """Take in the values of a step."""
        x = np.asarray(values, float)
        self.count += len(x)
        self.total += float(x.sum())
        self.squares += float((x * x).sum())

    @property
    def mean(self) -> float:
        """Mean of all values; there must be one."""
        assert self.count, "an empty baseline has no mean"
        return self.total / self.count

    def upper(self, z: float = 3.0) -> float:
        """Upper confidence bound of the mean; one value of 1 is added, so that a mean of 0 has one too."""
        mean = (self.total + 1) / (self.count + 1)
        variance = max((self.squares + 1) / (self.count + 1) - mean * mean, 0.0)
        return min(self.mean + z * sqrt(variance / (self.count + 1)), 1.0)


def effective(shares: Sequence[float] | np.ndarray) -> float:
    """exp of the Shannon entropy: how many classes there are, as if all were equally frequent (Hill number)."""
    return exp(entropy(shares))


def entropy(shares: Sequence[float] | np.ndarray) -> float:
    """-sum s log s in nats; the shares need not sum to one."""
    s = np.asarray(shares, float)
    s = s[s > 0] / s.sum() if s.sum() else s
    return float(-(s * np.log(s)).sum()) if len(s) else 0.0
