"""Arguments of curricula, refused in one message."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def expect(curriculum: str, numbers: Mapping[str, Any], low: float, high: float = math.inf) -> None:
    """ValueError where one is no number between the bounds, both included."""
    for name, value in numbers.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or math.isinf(value):
            wanted = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise ValueError(f"{curriculum}: {name}: expected a number {wanted}, got {value!r}")


def one_of(curriculum: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """ValueError where a setting is none of its choices."""
    if value not in choices:
        listed = ", ".join(map(repr, choices[:-1]))
        raise ValueError(f"{curriculum}: {name}: expected {listed} or {choices[-1]!r}, got {value!r}")
