"""A penalty for text that says the same again."""

from __future__ import annotations

import re
from itertools import islice

from rltrain.types import Completion, Task

# a word; a sign; a letter of a script that has no spaces
_PIECE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\u0e00-\u0e7f]|\w+|[^\w\s]")


def repetition(task: Task, completion: Completion, *, n: int = 4, free: float = 0.1) -> dict[str, float]:
    """0.0 to -1.0: minus the share of word n-grams that came before, as far as it exceeds `free`; `role: shaping`.

    Signs count as words, letters do in scripts without spaces. The part `share` is the plain share, in [0, 1]. "so it
    is " twenty times gives -0.94; a text without a repeated run of four words 0.0.
    """
    if n < 1 or not 0 <= free < 1:
        raise ValueError(f"repetition: expected n of at least 1 and 0 <= free < 1, got n {n}, free {free}")
    pieces = _PIECE.findall(completion.text.casefold())
    grams = list(zip(*(islice(pieces, start, None) for start in range(n)), strict=False))
    share = 1.0 - len(set(grams)) / len(grams) if grams else 0.0
    return {"value": -max(0.0, share - free) / (1.0 - free), "share": share}
