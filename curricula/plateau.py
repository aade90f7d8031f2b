"""Whether a series still rises: the test a stage ends on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Trend(NamedTuple):
    """A straight line through a series: what it gained from end to end, and the standard error of that."""

    mean: float
    gain: float
    error: float

    def rises(self, z: float) -> bool:
        """Whether the gain is above 0 by z standard errors."""
        return self.gain > z * self.error


def trend(values: Sequence[float]) -> Trend:
    """The least-squares line through at least three values, one a group."""
    y = np.asarray(values, float)
    n = len(y)
    assert n > 2, n
    x = np.arange(n) - (n - 1) / 2
    slope = float(x @ y) / float(x @ x)
    rest = y - y.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / (n - 2) / float(x @ x))
    return Trend(float(y.mean()), slope * (n - 1), error * (n - 1))
