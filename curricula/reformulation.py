"""What is asked in place of prompts that are too hard: a lower level, or an easier form; and how that fares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from curricula import forms
from curricula.choice import draw
from curricula.journal import Journal
from curricula.pools import Pool, Shelf
from curricula.relations import Relations
from curricula.roster import Roster
from rltrain.types import REFORMULATED, Group, Task, TaskTable

SOLVED = 0.5  # pass rate of a form at which its original is worth a try
FADE = 0.9  # of a running mean, with each group
MUTE = 8  # groups of a form without any outcome, after which a source has no more of it


class Reformulation:
    """Chooses among quarantined prompts those least reformulated so far, and what is asked in their place."""

    def __init__(self, tasks: TaskTable, roster: Roster, relations: Relations, journal: Journal, *, solution: str):
        """`solution`: the column of the meta that has a worked solution."""
        self._journal = journal
        self._tasks, self._roster, self._relations, self._solution = tasks, roster, relations, solution
        self._lower = np.full(len(relations.names), -1)
        known = np.flatnonzero(relations.harder >= 0)
        self._lower[relations.harder[known]] = known  # the next lower level of the same source
        self._turns: Counter[str] = Counter()  # key -> times something was asked in its place
        self._asked: Counter[str] = Counter()  # kind of form -> groups asked for
        self._outcomes: dict[str, tuple[float, float]] = {}  # kind of form -> faded sum and weight
        self._mute: Counter[str] = Counter()  # "source, form" -> groups without an outcome; "source" -> prompts without
        # a form; -1 once there was one

    def draw(self, shelf: Shelf, count: int, rng: np.random.Generator) -> list[int | Task]:
        """What stands in for up to `count` quarantined prompts: rows of a lower level, or forms."""
        chosen = draw(shelf.members(Pool.QUARANTINED), count, self._worth, rng).tolist()
        found = [self._easier(row, shelf, rng) for row in chosen]
        for row, easier in zip(chosen, found, strict=True):
            key = self._roster.key(row)
            self._turns[key] += 1
            if isinstance(easier, Task):
                self._asked[easier.meta[REFORMULATED]["how"]] += 1
                self._journal.decide("easier", easier.key, easier.source, f"in place of {key}, quarantined")
            elif easier is not None:
                self._asked["level"] += 1
        return [easier for easier in found if easier is not None]

    def learn(self, group: Group) -> bool:
        """Take in how a form fared; whether well enough for its original to be tried."""
        how, outcomes = group.task.meta[REFORMULATED]["how"], group.outcomes
        name = f"{group.task.source}, {how}"
        if not outcomes:
            self._mute[name] += self._mute[name] >= 0
            return False
        self._mute[name] = -1
        mean = sum(outcomes) / len(outcomes)
        total, weight = self._outcomes.get(how, (0.0, 0.0))
        self._outcomes[how] = FADE * total + mean, FADE * weight + 1
        return mean >= SOLVED

    def metrics(self) -> dict[str, float]:
        """Groups asked for and their outcome, by kind of form."""
        found = {f"curriculum/reformulated@{how}": float(count) for how, count in sorted(self._asked.items())}
        means = {how: total / weight for how, (total, weight) in sorted(self._outcomes.items())}
        return found | {f"curriculum/reformulated_outcome@{how}": mean for how, mean in means.items()}

    def state_dict(self) -> dict[str, Any]:
        """Copies of all counts, by key and by name."""
        counts = {name: dict(getattr(self, name)) for name in ("_turns", "_asked", "_mute")}
        return counts | {"_outcomes": dict(self._outcomes)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name in ("_turns", "_asked", "_mute"):
            setattr(self, name, Counter(state[name]))
        self._outcomes = dict(state["_outcomes"])

    def _worth(self, rows: np.ndarray) -> np.ndarray:
        """(n,) less with every turn that a prompt has had."""
        return np.array([0.1 ** self._turns[self._roster.key(row)] for row in rows.tolist()])

    def _easier(self, row: int, shelf: Shelf, rng: np.random.Generator) -> int | Task | None:
        """A row of the next lower level that is not set aside itself; where there is no lower level, a form."""
        lower = self._lower[self._relations.of[row]]
        if lower >= 0:
            there = np.flatnonzero(self._relations.of == lower)
            open_ = there[np.isin(shelf.pool[there], (Pool.UNKNOWN, Pool.LEARNABLE))]
            return int(rng.choice(open_)) if len(open_) else None
        task = self._tasks[row]
        turn = self._turns[task.key]
        made = [forms.hinted(task, self._solution), forms.backward(task)]
        there = [f for f in made if f is not None and self._mute[f"{f.source}, {f.meta[REFORMULATED]['how']}"] < MUTE]
        if not there:
            self._formless(task.source)
            return None
        self._mute[task.source] = -1
        form = there[turn % len(there)]
        return form if form is made[0] else forms.backward(task, turn // len(there))

    def _formless(self, source: str) -> None:
        """A prompt of this source has no easier form; told once, where none had one."""
        self._mute[source] += self._mute[source] >= 0
        if self._mute[source] == MUTE:
            evidence = {"source": source, "prompts": MUTE, "solution": self._solution}
            advice = "name the column of worked solutions by `solution`, or set reformulate: 0"
            self._journal.tell("no_easier_form", "warning", evidence, advice)
