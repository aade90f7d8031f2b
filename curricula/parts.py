"""Inner curricula, one for each part of the tasks: built, asked, shown their own groups, saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from curricula.journal import Journal
from curricula.subset import Subset
from curricula.uniform import Uniform
from rltrain.types import Accountable, Curriculum, Event, Group, Task, TaskTable


class Parts:
    """A curriculum for each named part of a table; `inner(tasks, seed=...)` builds one, by default `uniform`."""

    def __init__(self, tasks: TaskTable, names: np.ndarray, inner: Callable[..., Curriculum] | None, *, seed: int):
        """`names` (N,) str: the part of each task."""
        build = inner or Uniform
        self.sizes = {name: int((names == name).sum()) for name in np.unique(names).tolist()}
        self._inner = {name: build(Subset(tasks, np.flatnonzero(names == name)), seed=seed) for name in self.sizes}

    def draw(self, names: Sequence[str]) -> list[Task]:
        """The next task of each of these parts, in this order; a part is asked once for all of its own."""
        drawn = {name: iter(self._inner[name].sample(count)) for name, count in Counter(names).items()}
        return [next(drawn[name]) for name in names]

    def observe(self, groups: Sequence[Group], part_of: Callable[[Task], str]) -> None:
        """Show each part its own groups, in order."""
        for name, curriculum in self._inner.items():
            if own := [group for group in groups if part_of(group.task) == name]:
                curriculum.observe(own)

    def admit(self, group: Group, name: str) -> str | None:
        """The verdict of the group's own part; a part that is gone has nothing against its last groups."""
        return self._inner[name].admit(group) if name in self._inner else None

    def decisions(self) -> list[dict[str, Any]]:
        """What the parts decided."""
        return [row for part in self._inner.values() if isinstance(part, Accountable) for row in part.decisions()]

    def events(self) -> list[Event]:
        """What the parts have to tell."""
        return [event for part in self._inner.values() if isinstance(part, Accountable) for event in part.events()]

    def metrics(self) -> dict[str, float]:
        """The parts' metrics, each under its name; what has a class already keeps it behind."""
        return {_named(metric, name): v for name, part in self._inner.items() for metric, v in part.metrics().items()}

    def state_dict(self) -> dict[str, Any]:
        """The parts' states by name."""
        return {name: part.state_dict() for name, part in self._inner.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a part that is new begins anew, one that is gone is forgotten."""
        for name, part in self._inner.items():
            if name in state:
                part.load_state_dict(state[name])


class Outer:
    """What curricula have in common that choose a part of the tasks and leave the prompt to an inner curriculum."""

    def __init__(self, parts: Parts, part_of: Callable[[Task], str], action: str):
        """`action`: what a draw is called in the decisions."""
        self._parts, self._part_of, self._action = parts, part_of, action
        self._journal = Journal()

    def observe(self, groups: Sequence[Group]) -> None:
        """Shown to the inner curriculum of their part."""
        self._parts.observe(groups, self._part_of)

    def admit(self, group: Group) -> str | None:
        """As the inner curriculum of its part says."""
        return self._parts.admit(group, self._part_of(group.task))

    def decisions(self) -> list[dict[str, Any]]:
        """The part of each draw and why it was its turn, and what the inner ones decided."""
        return self._journal.decisions() + self._parts.decisions()

    def events(self) -> list[Event]:
        """What there is to tell, here and of the inner ones."""
        return self._journal.events() + self._parts.events()

    def _drawn_from(self, turns: Sequence[tuple[str, str]]) -> list[Task]:
        """The next task of each part, whose name and reason a turn gives; written down."""
        tasks = self._parts.draw([part for part, _ in turns])
        for task, (_, why) in zip(tasks, turns, strict=True):
            self._journal.decide(self._action, task.key, task.source, why)
        return tasks

    def _inner_state(self) -> dict[str, Any]:
        return {"parts": self._parts.state_dict(), "journal": self._journal.state_dict()}

    def _load_inner_state(self, state: Mapping[str, Any]) -> None:
        self._parts.load_state_dict(state["parts"])
        self._journal.load_state_dict(state["journal"])


def _named(metric: str, part: str) -> str:
    stem, at, rest = metric.partition("@")
    return f"{stem}@{part}{at}{rest}"
