"""Tasks in stages, structured before creative: a stage ends when it stops rising, earlier ones are replayed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from curricula.journal import Journal
from curricula.parts import Parts
from curricula.plateau import Trend, trend
from curricula.settings import expect
from rltrain.types import Curriculum, Event, Group, Panel, Task, TaskTable

KINDS = ("structured", "creative")
PANELS = (
    Panel(
        "Stages",
        ("curriculum/stage",),
        "line",
        "Which stage is open, from 1. A stage ends when its outcome stops rising, or at its maximum; the events "
        "`stage_ended` say which.",
    ),
)


class Staged:
    """Opens one stage after another; `stages` is a list of kinds or sources, or of lists of them.

    `order`: `fixed` opens them as given, `interleave` has all open from the start, in turn. A stage lasts at
    least `min_groups` and at most `max_groups` groups of its own; between, it ends at the first `window` of
    groups whose outcome does not rise (one-sided test, `z` standard errors). Earlier stages share `replay` of
    the draws. The last stage stays open.
    """

    panels = PANELS

    def __init__(
        self,
        tasks: TaskTable,
        *,
        seed: int,
        inner: Callable[..., Curriculum] | None = None,
        stages: Sequence[str | Sequence[str]] | None = None,
        order: Literal["fixed", "interleave"] = "fixed",
        min_groups: int = 100,
        max_groups: int = 1000,
        window: int = 100,
        z: float = 1.28,
        replay: float = 0.2,
    ):
        if not len(tasks):
            raise ValueError("staged: there are no tasks")
        if order not in ("fixed", "interleave"):
            raise ValueError(f"staged: order: expected 'fixed' or 'interleave', got {order!r}")
        expect("staged", {"replay": replay}, 0, 0.9)
        expect("staged", {"window": window}, 3)
        expect("staged", {"z": z, "min_groups": min_groups}, 0)
        expect("staged", {"max_groups": max_groups}, max(1, min_groups))
        self._order, self._window, self._z, self._replay = order, window, z, replay
        self._least, self._most = min_groups, max_groups
        self._names, self._of = assigned(tasks, stages)  # names in order; source -> name of its stage
        part = np.asarray([self._of[source] for source in tasks.sources.tolist()])
        self._parts = Parts(tasks, part, inner, seed=seed)
        self._stage = 0
        self._drawn = dict.fromkeys(self._names, 0)  # since the stage began
        self._groups = 0  # of the open stage that came back
        self._outcomes: list[float] = []  # of the last of them, since the last test
        self._journal = Journal()

    def sample(self, n: int) -> list[Task]:
        """The next n tasks."""
        names = [self._next() for _ in range(n)]
        tasks = self._parts.draw(names)
        for task, name in zip(tasks, names, strict=True):
            why = f"stage {name!r} is open" if name in self._open() else f"replay of stage {name!r}"
            self._journal.decide("stage", task.key, task.source, why)
        return tasks

    def observe(self, groups: Sequence[Group]) -> None:
        """Shown to the inner curriculum of their stage; the open stage ends when it is time."""
        self._parts.observe(groups, lambda task: self._of[task.source])
        for group in groups:
            if self._of[group.task.source] == self._names[self._stage] and self._order == "fixed":
                self._count(group.outcomes)

    def admit(self, group: Group) -> str | None:
        """As the inner curriculum of its stage says."""
        return self._parts.admit(group, self._of[group.task.source])

    def decisions(self) -> list[dict[str, Any]]:
        """The stage of each draw, and what the inner ones decided."""
        return self._journal.decisions() + self._parts.decisions()

    def events(self) -> list[Event]:
        """Stages that ended, and what the inner ones have to tell."""
        return self._journal.events() + self._parts.events()

    def metrics(self) -> dict[str, float]:
        """The open stage, from 1, and the inner metrics by stage."""
        return {"curriculum/stage": float(self._stage + 1)} | self._parts.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Where the stages stand, and the inner states."""
        return {
            "names": list(self._names),
            "stage": self._stage,
            "drawn": dict(self._drawn),
            "groups": self._groups,
            "outcomes": list(self._outcomes),
            "parts": self._parts.state_dict(),
            "journal": self._journal.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; ValueError where it is that of other stages."""
        if state["names"] != list(self._names):
            raise ValueError(f"staged: the state is that of stages {state['names']}, expected {list(self._names)}")
        self._stage, self._drawn, self._groups = state["stage"], dict(state["drawn"]), state["groups"]
        self._outcomes = list(state["outcomes"])
        self._parts.load_state_dict(state["parts"])
        self._journal.load_state_dict(state["journal"])

    def _open(self) -> Sequence[str]:
        return self._names if self._order == "interleave" else self._names[self._stage : self._stage + 1]

    def _next(self) -> str:
        """The stage of the next draw, the one that is furthest behind its share; counted."""
        names, before = self._open(), () if self._order == "interleave" else self._names[: self._stage]
        share = dict.fromkeys(names, (1 - self._replay * bool(before)) / len(names))
        share |= dict.fromkeys(before, self._replay / max(1, len(before)))
        total = sum(self._drawn.values()) + 1
        name = max(share, key=lambda stage: share[stage] * total - self._drawn[stage])
        self._drawn[name] += 1
        return name

    def _count(self, outcomes: Sequence[float]) -> None:
        """A group of the open stage came back."""
        self._groups += 1
        if outcomes:
            self._outcomes.append(sum(outcomes) / len(outcomes))
        if self._groups >= self._most:
            self._end("maximum", trend(self._outcomes) if len(self._outcomes) > 2 else None)
        elif len(self._outcomes) >= self._window:
            found = trend(self._outcomes)
            self._outcomes = []
            if self._groups >= self._least and not found.rises(self._z):
                self._end("plateau", found)

    def _end(self, why: str, found: Trend | None) -> None:
        """Open the next stage, if there is one; the last stays open."""
        evidence: dict[str, Any] = {"stage": self._names[self._stage], "why": why, "groups": self._groups}
        if found is not None:
            evidence |= {"outcome": found.mean, "gain": found.gain, "gain_error": found.error}
        self._groups, self._outcomes = 0, []
        if self._stage + 1 < len(self._names):
            self._stage += 1
            self._drawn = dict.fromkeys(self._names, 0)
            evidence["next"] = self._names[self._stage]
            self._journal.tell("stage_ended", "info", evidence, "nothing to do; at its maximum, a longer stage may pay")


def assigned(
    tasks: TaskTable, stages: Sequence[str | Sequence[str]] | None
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Names of the stages in order, and the stage of each source.

    A stage names kinds and sources; a source named itself is not taken by its kind. ValueError for a name that
    no task has, one named twice, and a source in no stage.
    """
    first = {str(source): int(i) for source, i in zip(*np.unique(tasks.sources, return_index=True), strict=True)}
    kinds = {source: str(tasks.kinds[i]) for source, i in first.items()}
    there = set(kinds.values())
    listed = [[s] if isinstance(s, str) else list(s) for s in (stages or [kind for kind in KINDS if kind in there])]
    given = [name for stage in listed for name in stage]
    known = [*kinds, *sorted(there)]
    for name in given:
        if name not in known and name not in KINDS:
            near = difflib.get_close_matches(str(name), known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"staged: stages name {name!r}, no kind or source{advice} There are: {', '.join(known)}")
        if given.count(name) > 1:
            raise ValueError(f"staged: {name!r} is in two stages; leave it in one")
    of = {}
    for stage in listed:
        label = "+".join(stage)
        of |= {s: label for s, kind in kinds.items() if s in stage or (kind in stage and s not in given)}
    if left := [source for source in kinds if source not in of]:
        raise ValueError(f"staged: no stage has source {left[0]!r}; name it or its kind {kinds[left[0]]!r} in `stages`")
    return tuple(label for stage in listed if (label := "+".join(stage)) in of.values()), of
