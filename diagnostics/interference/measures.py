"""Arithmetic on gradients taken apart by task. A part is (2, N): prompts with even and odd tickets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np


def cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    """Of two vectors (N,); None where one has no direction."""
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 and np.isfinite(lengths) else None


def between(parts: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`interference/cosine@a~b`, `reliability@a` and `gradient_share@a` of a step."""
    whole = {name: part.sum(axis=0) for name, part in sorted(parts.items())}
    found = {f"interference/cosine@{a}~{b}": cosine(whole[a], whole[b]) for a, b in combinations(whole, 2)}
    found |= {f"interference/reliability@{name}": cosine(*parts[name]) for name in whole}
    step = sum(whole.values())
    square = float(step @ step) if whole else 0.0
    if square > 0 and np.isfinite(square):
        found |= {f"interference/gradient_share@{name}": float(part @ step / square) for name, part in whole.items()}
    return {name: value for name, value in found.items() if value is not None}


def along(parts: Mapping[str, np.ndarray], memory: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`interference/signal@a` and `interference/others@a`: the step along each remembered direction (N,).

    With g the step's gradient and g_a the task's part of it: cos(g_a, m_a), and cos(g - g_a, m_a), which exists
    also where the task is not in the step. Source: signal and interference of arXiv 2605.29548, section 4, there on
    a task's own and all other tokens of a pre-training batch.
    """
    whole = {name: part.sum(axis=0) for name, part in parts.items()}
    step = sum(whole.values())
    found: dict[str, float | None] = {}
    for name, direction in sorted(memory.items()):
        if name in whole:
            found[f"interference/signal@{name}"] = cosine(whole[name], direction)
        if whole.keys() - {name}:
            found[f"interference/others@{name}"] = cosine(step - whole.get(name, 0), direction)
    return {name: value for name, value in found.items() if value is not None}
