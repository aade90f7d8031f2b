"""How much of each source: weights, a temperature, floors for rare sources, a cap on the gap between two visits."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from curricula.adaptive import Boosts
from curricula.parts import Outer, Parts
from curricula.settings import expect
from curricula.subset import sources_of
from rltrain.types import Curriculum, Group, Panel, Task, TaskTable

PANELS = (
    Panel(
        "Mixture",
        ("curriculum/share", "curriculum/gap"),
        "line",
        "Share of each source in what was drawn so far, and the longest gap between two of its visits. At equal "
        "frequency long gaps are worse for a rare source (arXiv 2605.29548).",
    ),
    Panel(
        "Rare sources raised",
        ("curriculum/boost",),
        "line",
        "Factor on the weight of each rare source, with max_boost: doubled while its outcome does not rise though its "
        "groups have successes and failures, given back where that brings nothing.",
    ),
)


class Mixture(Outer):
    """Draws from the sources in fixed proportions; which prompt of a source is the inner curriculum's choice.

    A source's share is proportional to weight^(1 / temperature); without `weights` a source weighs as many
    prompts as it has. `floors` ({source: share}, or one share for all) are kept below which no share falls;
    `max_gap` ({source: groups}, or one for all) bounds the groups between two visits of a source. Draws go to
    the source that is furthest behind its share, without chance; a gap about to be exceeded comes first.
    `max_boost` above 1 raises rare sources (less than half of an even share) up to that factor while they push and
    do not rise, judged by every `window` groups of their own (adaptive.py).
    """

    panels = PANELS

    def __init__(
        self,
        tasks: TaskTable,
        *,
        seed: int,
        inner: Callable[..., Curriculum] | None = None,
        weights: Mapping[str, float] | None = None,
        temperature: float = 1.0,
        floors: Mapping[str, float] | float = 0.0,
        max_gap: Mapping[str, int] | int | None = None,
        max_boost: float = 1.0,
        window: int = 32,
    ):
        if not len(tasks):
            raise ValueError("mixture: there are no tasks")
        expect("mixture", {"temperature": temperature}, 1e-3)
        expect("mixture", {"max_boost": max_boost}, 1)
        expect("mixture", {"window": window}, 3)
        if not isinstance(weights, Mapping | None):
            raise ValueError(f"mixture: weights: expected {{source: weight}}, got {weights!r}")
        super().__init__(Parts(tasks, tasks.sources, inner, seed=seed), lambda task: task.source, "source")
        sizes = self._parts.sizes
        known = sources_of(tasks)
        given = {name: 1.0 if weights is not None else float(size) for name, size in sizes.items()}
        given |= _each("weights", weights or {}, known, sizes, 0)
        self._floors = _each("floors", floors, known, sizes, 0, 1)
        self._given = shares(given, temperature, self._floors)
        rare = [name for name, share in self._given.items() if share < 0.5 / len(self._given)]
        self._boosts = Boosts(rare if max_boost > 1 else (), most=max_boost, window=window)
        self._shares = self._boosted()
        gaps = {} if max_gap is None else _each("max_gap", max_gap, known, sizes, 1)
        self._gaps = {name: gap for name, gap in gaps.items() if name in self._shares}
        feasible(self._gaps)
        self._drawn = dict.fromkeys(self._shares, 0)
        self._before = dict.fromkeys(self._shares, 0)  # draws before the shares were last changed
        self._last = dict.fromkeys(self._shares, 0)  # position of the last draw of each source
        self._longest = dict.fromkeys(self._shares, 0)

    def sample(self, n: int) -> list[Task]:
        """The next n tasks."""
        return self._drawn_from([self._next() for _ in range(n)])

    def observe(self, groups: Sequence[Group]) -> None:
        """Shown to the inner curriculum of their source; a rare one may be raised."""
        super().observe(groups)
        if any([self._boosts.note(group.task.source, group.outcomes, self._journal) for group in groups]):
            self._reweigh()

    def metrics(self) -> dict[str, float]:
        """Share and gap of each source, and the inner metrics by source."""
        total = max(1, sum(self._drawn.values()))
        found = {f"curriculum/share@{name}": count / total for name, count in self._drawn.items()}
        found |= {f"curriculum/gap@{name}": float(gap) for name, gap in self._longest.items()}
        found |= {f"curriculum/boost@{name}": factor for name, factor in self._boosts.factors.items()}
        return found | self._parts.metrics()

    def state_dict(self) -> dict[str, Any]:
        """How often and when each source was drawn, and the inner states."""
        names = ("_drawn", "_before", "_last", "_longest")
        counts = {name: dict(getattr(self, name)) for name in names}
        return {"counts": counts, "boosts": self._boosts.state_dict()} | self._inner_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a source that is new starts even with the others, one that is gone is forgotten.

        Positions count from the draws of the sources that are there now: where those of last draws moved, gaps go on.
        """
        was, total = state["counts"], sum(state["counts"]["_drawn"].values())
        self._drawn = {name: was["_drawn"].get(name, round(total * self._given[name])) for name in self._shares}
        moved = sum(self._drawn.values()) - total
        self._last = {name: was["_last"].get(name, total) + moved for name in self._shares}
        self._before, self._longest = ({n: was[key].get(n, 0) for n in self._shares} for key in ("_before", "_longest"))
        self._boosts.load_state_dict(state["boosts"])
        self._shares = self._boosted()
        self._load_inner_state(state)
        were = was["_drawn"].keys()
        if were != self._drawn.keys():
            self._before = dict(self._drawn)
            evidence = {"added": sorted(self._drawn.keys() - were), "gone": sorted(were - self._drawn.keys())}
            self._journal.tell("sources_changed", "warning", evidence, "nothing to do if meant")

    def _boosted(self) -> dict[str, float]:
        """The shares asked for, those of rare sources times their factors."""
        return shares({name: share * self._boosts.of(name) for name, share in self._given.items()}, 1.0, self._floors)

    def _reweigh(self) -> None:
        """New shares count from here: what was drawn before is not made up for."""
        self._shares, self._before = self._boosted(), dict(self._drawn)

    def _next(self) -> tuple[str, str]:
        """The source of the next draw, which is counted, and why."""
        position = sum(self._drawn.values()) + 1
        name, why = self._turn(position)
        self._longest[name] = max(self._longest[name], position - self._last[name])
        self._drawn[name] += 1
        self._last[name] = position
        return name, why

    def _turn(self, position: int) -> tuple[str, str]:
        """Whose turn it is at this position, and why."""
        due = sorted((self._last[name] + gap, name) for name, gap in self._gaps.items())
        if any(date <= position + waiting for waiting, (date, _) in enumerate(due)):  # no draw is left to spare
            date, name = due[0]
            return name, f"due by draw {date:g}, to keep its gap of {self._gaps[name]:g}"
        since = position - sum(self._before.values())
        behind = {n: share * since - (self._drawn[n] - self._before[n]) for n, share in self._shares.items()}
        name = max(behind, key=behind.__getitem__)
        return name, f"behind its share {self._shares[name]:.3f} by {behind[name]:.2f} groups"


def shares(weights: Mapping[str, float], temperature: float, floors: Mapping[str, float]) -> dict[str, float]:
    """Weights^(1 / temperature) made to sum to 1, none under its floor; weight 0 without a floor leaves one out.

    ValueError where all are 0 or the floors sum to more than 1.
    """
    if sum(floors.values()) > 1 + 1e-9:
        raise ValueError(f"mixture: floors sum to {sum(floors.values()):g}, more than 1: {dict(floors)}; lower them")
    most = max(weights.values())
    if not most:
        raise ValueError(f"mixture: all weights are 0: {dict(weights)}")
    powers = {n: (w / most) ** (1 / temperature) if w else 0.0 for n, w in weights.items()}  # of most: none overflows
    raised: set[str] = set()
    while True:
        free = {name: power for name, power in powers.items() if name not in raised}
        rest, total = 1 - sum(floors[name] for name in raised), sum(free.values())
        found = {n: floors[n] if n in raised else rest * powers[n] / total if total else 0.0 for n in powers}
        low = {name for name in free if found[name] < floors.get(name, 0.0)}
        if not low:
            return {name: share for name, share in found.items() if share}
        raised |= low


def feasible(gaps: Mapping[str, float]) -> None:
    """ValueError where the gaps might not all be kept: each takes one draw in so many, and two can fall due at once."""
    needed = math.fsum(1 / gap for gap in gaps.values())
    if len(gaps) > 1 and needed > 0.5:
        raise ValueError(
            f"mixture: max_gap {dict(gaps)} takes {needed:.2f} of all draws; expected at most half, so that all can be "
            "kept: raise the gaps, or give them to rare sources only"
        )


def _each(
    what: str,
    given: Mapping[str, float] | float,
    known: Sequence[str],
    there: Collection[str],
    low: float,
    high: float = math.inf,
) -> dict[str, float]:
    """A number for each source named that is there, or the same for all.

    ValueError for a wrong number, and for a source that the run does not have; one in another part is passed over.
    """
    named = dict(given) if isinstance(given, Mapping) else dict.fromkeys(there, given)
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"mixture: {what} name source {name!r}{advice} Sources: {', '.join(known)}")
    expect("mixture", {f"{what} of {name!r}": value for name, value in named.items()}, low, high)
    return {name: value for name, value in named.items() if name in there}
