"""Steps made of texts and outcomes, for the benchmarks of verdicts: the real diagnostics read real records."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from rltrain.advantages import assign
from rltrain.types import Completion, Group, Score, StepRecord, Task


@functools.cache
def completion(text: str) -> Completion:
    """A completion of one token a word; made once for each text."""
    ends = np.cumsum([len(word) + 1 for word in text.split(" ")], dtype=np.int32) - 1
    ends[-1:] = len(text)
    n = len(ends)
    tokens = np.arange(n, dtype=np.int32)
    return Completion(tokens, np.full(n, -0.5, np.float32), ends, text, "stop", 0, "made", "made")


@functools.cache
def score(outcome: float, bonus: float) -> Score:
    """A score of an outcome and a shaping reward."""
    return Score(values={"exact": outcome, "bonus": bonus}, outcome=outcome, total=outcome + bonus)


def group(
    ticket: int,
    key: str,
    question: str,
    texts: Sequence[str],
    outcomes: Sequence[float],
    formats: Sequence[str] = (),
    bonus: Sequence[float] | None = None,
) -> Group:
    """A group of the source before the key's slash, its reward the outcome and a bonus."""
    extra = bonus if bonus is not None else [0.0] * len(outcomes)
    return Group(
        ticket=ticket,
        task=Task(key, key.partition("/")[0], "structured", ({"role": "user", "content": question},)),
        prompt_ids=np.arange(3, dtype=np.int32),
        completions=tuple(map(completion, texts)),
        scores=tuple(map(score, map(float, outcomes), map(float, extra))),
        formats=tuple(formats),
    )


def record(step: int, groups: Sequence[Group], scale: str = "group") -> StepRecord:
    """A step of the groups, with their advantages."""
    return StepRecord(step, tuple(assign(groups, {}, scale=scale, combine="sum_then_normalize")), {}, {})
