"""Every prompt as often as every other: shuffled passes, without choosing."""

from __future__ import annotations

import difflib
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xxhash import xxh64_intdigest

from curricula.journal import Journal
from curricula.subset import sources_of
from rltrain.types import Event, Group, Task, TaskTable

ALL = "all"  # the pool of all sources, where no weights are given


class Uniform:
    """Shuffled passes over all prompts; admits everything and learns nothing.

    `weights` ({source: weight}) passes over each source by itself instead, and draws from the sources in
    these proportions, each always the one that is furthest behind its share. Sources not named have
    weight 1, and weight 0 leaves one out. The state is a few numbers a source; orders come from the seed.
    """

    def __init__(
        self,
        tasks: TaskTable,
        *,
        seed: int,
        inner: Callable[..., Any] | None = None,
        weights: Mapping[str, float] | None = None,
    ):
        if inner is not None:
            raise ValueError("uniform: takes no inner curriculum, it is the innermost one")
        if not len(tasks):
            raise ValueError("uniform: there are no tasks")
        self._tasks, self._seed = tasks, seed
        self._pools = _pools(tasks, weights)
        self._shares = _shares(self._pools, weights or {})
        self._drawn = dict.fromkeys(self._pools, 0)
        self._begun = dict.fromkeys(self._pools, 0)  # draws of a pool before its prompts changed; passes count from it
        self._journal = Journal()
        self._orders: dict[str, tuple[int, np.ndarray]] = {}  # pool -> (pass, its order); made when needed

    def sample(self, n: int) -> list[Task]:
        """The next n tasks."""
        return [self._tasks[self._next()] for _ in range(n)]

    def observe(self, groups: Sequence[Group]) -> None:
        """Results change nothing here."""

    def admit(self, group: Group) -> str | None:
        """Every group."""
        return None

    def decisions(self) -> list[dict[str, Any]]:
        """None: every prompt has its turn."""
        return []

    def events(self) -> list[Event]:
        """That a loaded state is of other prompts."""
        return self._journal.events()

    def state_dict(self) -> dict[str, Any]:
        """How often each pool was drawn from, and a digest of each source's prompts."""
        counts = {"drawn": dict(self._drawn), "begun": dict(self._begun)}
        return {"seed": self._seed, **counts, "prompts": self._prompts, "journal": self._journal.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken. Of other prompts, new passes begin and an event lists the sources."""
        self._seed, self._orders = state["seed"], {}
        self._journal.load_state_dict(state["journal"])
        names = {*self._prompts, *state["prompts"]}
        changed = {name for name in names if self._prompts.get(name) != state["prompts"].get(name)}
        total = sum(state["drawn"].values())
        even = {name: round(total * self._shares.get(name, 0.0)) for name in self._pools}  # what a new pool begins with
        self._drawn = {name: state["drawn"].get(name, even[name]) for name in self._pools}
        fresh = {
            name for name in self._pools if name in changed or name not in state["drawn"] or (name == ALL and changed)
        }
        self._begun = {name: self._drawn[name] if name in fresh else state["begun"][name] for name in self._pools}
        if changed:
            count = lambda of, name: of.get(name, (0,))[0]  # noqa: E731
            evidence = {
                name: f"{count(state['prompts'], name)} prompts, now {count(self._prompts, name)}"
                for name in sorted(changed)
            }
            self._journal.tell("tasks_changed", "warning", evidence, "new passes begin; nothing to do if meant")

    def metrics(self) -> dict[str, float]:
        """Nothing to report."""
        return {}

    @functools.cached_property
    def _prompts(self) -> dict[str, tuple[int, int]]:
        """Source -> how many prompts it has, and a digest of their keys."""
        every, found = self._tasks.keys, {}
        for source in np.unique(self._tasks.sources).tolist():
            keys = "\0".join(str(every[i]) for i in np.flatnonzero(self._tasks.sources == source).tolist())
            found[source] = keys.count("\0") + 1, xxh64_intdigest(keys.encode("utf-8", "surrogatepass"))
        return found

    def _next(self) -> int:
        """Index of the next task: of the pool that is furthest behind its share, the next in its pass."""
        total = sum(self._drawn.values()) + 1
        name = max(self._shares, key=lambda pool: self._shares[pool] * total - self._drawn[pool])
        indices = self._pools[name]
        turn, position = divmod(self._drawn[name] - self._begun[name], len(indices))
        self._drawn[name] += 1
        if name not in self._orders or self._orders[name][0] != turn:
            rng = np.random.default_rng([self._seed, zlib.crc32(name.encode()), turn])
            self._orders[name] = turn, rng.permutation(len(indices))
        return int(indices[self._orders[name][1][position]])


def _pools(tasks: TaskTable, weights: Mapping[str, float] | None) -> dict[str, np.ndarray]:
    """Indices (n,) of each pool: one of all tasks, or one a source where they are weighted."""
    if weights is None:
        return {ALL: np.arange(len(tasks))}
    known = sources_of(tasks)
    for name in weights:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"uniform: weights name source {name!r}{advice} Sources: {', '.join(known)}")
    return {name: np.flatnonzero(tasks.sources == name) for name in np.unique(tasks.sources).tolist()}


def _shares(pools: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> dict[str, float]:
    """Weights made to sum to 1; pools of weight 0 are left out."""
    for name, weight in weights.items():
        if not (isinstance(weight, int | float) and 0 <= weight < float("inf")):
            raise ValueError(f"uniform: weight of {name!r}: expected a number of at least 0, got {weight!r}")
    given = {name: float(weights.get(name, 1.0)) for name in pools}
    total = sum(given.values())
    if not total:
        raise ValueError(f"uniform: all weights are 0: {dict(weights)}")
    return {name: weight / total for name, weight in given.items() if weight}
