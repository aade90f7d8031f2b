"""Some of a table's tasks, as a table: what an outer curriculum hands to each of its inner ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrain.types import Task, TaskTable


def sources_of(tasks: TaskTable) -> list[str]:
    """Sources that arguments may name: all of the run's, also where `tasks` is a part without some of them."""
    return tasks.known if isinstance(tasks, Subset) else np.unique(tasks.sources).tolist()


class Subset:
    """The tasks at these places (n,) of a table, in this order."""

    def __init__(self, tasks: TaskTable, places: np.ndarray):
        self._tasks, self._places = tasks, places
        self.sources, self.kinds, self.levels = (
            np.asarray(column)[places] for column in (tasks.sources, tasks.kinds, tasks.levels)
        )

        self.known = sources_of(tasks)

    @property
    def keys(self) -> Sequence[str]:
        """Their keys."""
        every = self._tasks.keys
        return [every[place] for place in self._places.tolist()]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Task:
        return self._tasks[int(self._places[index])]
