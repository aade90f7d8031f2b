"""How different a completion is from the others of its group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from rltrain.types import Completion, Task

_WORD = re.compile(r"\w+")


def diversity(task: Task, completions: Sequence[Completion], *, min_words: int = 5) -> list[float | None]:
    """1.0 for a completion that shares no pair of words with the others of its group, 0.0 for one that they all equal.

    1 - the mean Jaccard similarity of the sets of word pairs. A text of fewer than `min_words` gets 0.0, since saying
    nothing is no way to be different. Noise is different, too: use it as `role: shaping`, beside a reward that judges
    the text. None in a group of one.
    """
    if len(completions) < 2:
        return [None] * len(completions)
    texts = [_WORD.findall(completion.text.casefold()) for completion in completions]
    pairs = [set(pairwise(words)) for words in texts]
    values: list[float | None] = []
    for i, own in enumerate(pairs):
        alike = [_jaccard(own, other) for j, other in enumerate(pairs) if j != i]
        values.append(1.0 - sum(alike) / len(alike) if len(texts[i]) >= min_words else 0.0)
    return values


def _jaccard(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0
