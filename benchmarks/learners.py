"""Tasks and learners made of numbers, for the benchmarks and tests of curricula: no model, no text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rltrain.types import Completion, Group, Score, Task


class Columns:
    """A table of tasks `<source>/<i>` without prompts."""

    def __init__(self, sources: Sequence[str], levels: Sequence[float] | None = None, kinds: Sequence[str] = ()):
        self.sources = np.asarray(sources)
        self.levels = np.full(len(sources), np.nan) if levels is None else np.asarray(levels, float)
        self.kinds = np.asarray(kinds) if len(kinds) else np.full(len(sources), "structured")
        self.keys = [f"{source}/{i}" for i, source in enumerate(sources)]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Task:
        return Task(self.keys[index], str(self.sources[index]), str(self.kinds[index]), ())


def number(task: Task) -> int:
    """The place of a task in its table."""
    return int(task.key.rpartition("/")[2])


def answered(task: Task, outcomes: Sequence[float | None], version: int, ticket: int = 0) -> Group:
    """A group with these outcomes, sampled by this version of the policy."""
    blank = Completion(
        np.zeros(1, np.int32), np.zeros(1, np.float32), np.ones(1, np.int32), "x", "stop", version, "", "made"
    )
    scores = tuple(Score(outcome=o, total=o or 0.0, values={"exact": o}) for o in outcomes)
    return Group(ticket, task, np.zeros(1, np.int32), (blank,) * len(scores), scores)


def tried(
    tasks: Sequence[Task], rate: Callable[[int], float], rng: np.random.Generator, version: int, samples: int = 8
):
    """A group for each task, its pass rate a function of the task's place."""
    return [
        answered(task, (rng.random(samples) < rate(number(task))).astype(float).tolist(), version) for task in tasks
    ]
