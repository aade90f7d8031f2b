"""Single values out of files of any writer: the number that one is, or None where it is none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LAST = 2**53  # no run has more steps; a number beyond it is damage


def finite(value: Any) -> float | None:
    """A finite number; None for anything else, and for a whole number that no float can hold."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def whole(value: Any) -> int | None:
    """A whole number; also a float without a fraction, as tables of other programs have them."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and abs(value) < LAST else None


def step_of(value: Any) -> int | None:
    """A step: a whole number from 0."""
    number = whole(value)
    return number if number is not None and number >= 0 else None


def are_steps(values: np.ndarray) -> np.ndarray:
    """(N,) bool: which of N numbers `step_of` takes for a step."""
    return (values >= 0) & (values < LAST) & (values == np.floor(values))
