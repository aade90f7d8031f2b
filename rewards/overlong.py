"""DAPO's soft band before the limit on length."""

from __future__ import annotations

from rltrain.types import Completion, Task


def overlong(task: Task, completion: Completion, *, max_length: int, buffer: int) -> dict[str, float]:
    """0.0 up to `max_length - buffer` tokens, falling to -1.0 at `max_length`; meant as `role: shaping`.

    `max_length` is usually sampling.max_tokens; DAPO (arXiv 2503.14476, equation 13) takes a fifth of it for `buffer`.
    A completion that was cut off is at the limit and gets -1.0. The part `over` is 1.0 inside the band. With 100 and
    20: 80 tokens give 0.0, 90 give -0.5, 100 give -1.0.
    """
    if not 0 < buffer <= max_length:
        raise ValueError(f"overlong: expected 0 < buffer <= max_length, got buffer {buffer}, max_length {max_length}")
    over = len(completion.token_ids) - (max_length - buffer)
    return {"value": -min(1.0, max(0.0, over / buffer)), "over": float(over > 0)}
