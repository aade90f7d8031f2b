"""Arguments of curricula, refused in one message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def expect(curriculum: str, numbers: Mapping[str, Any], low: float, high: float = math.inf) -> None:
    """ValueError where one is no number between the bounds, both included."""
    for name, value in numbers.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or math.isinf(value):
            wanted = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise ValueError(f"{curriculum}: {name}: expected a number {wanted}, got {value!r}")
