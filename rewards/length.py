"""How well a completion keeps to a length."""

from __future__ import annotations

from typing import Literal

from rltrain.types import Completion, Task


def length(
    task: Task,
    completion: Completion,
    *,
    low: int = 0,
    high: int | None = None,
    unit: Literal["tokens", "words", "characters"] = "tokens",
) -> float:
    """1.0 inside [low, high], falling to 0.0 at nothing and at twice `high`; meant as `role: shaping`.

    With `low: 10, high: 20, unit: words`, 5 words give 0.5, 15 give 1.0, 30 give 0.5, 40 and more 0.0.
    """
    if low < 0 or (high is not None and not max(low, 1) <= high):
        raise ValueError(f"length: expected 0 <= low <= high and high at least 1, got low {low}, high {high}")
    if unit == "tokens":
        count = len(completion.token_ids)
    elif unit == "words":
        count = len(completion.text.split())
    elif unit == "characters":
        count = len(completion.text)
    else:
        raise ValueError(f"unit: expected tokens, words or characters, got {unit!r}")
    if count < low:
        return count / low
    return 1.0 if high is None or count <= high else max(0.0, 2.0 - count / high)
