"""Tasks in stages, structured before creative: a stage ends when it stops rising, earlier ones are replayed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from curricula import proposal
from curricula.parts import Outer, Parts
from curricula.plateau import Trend, trend
from curricula.settings import expect, one_of
from rltrain.types import Curriculum, Group, Panel, Task, TaskTable

KINDS = ("structured", "creative")
Order = Literal["fixed", "bwt", "interleave"]
PANELS = (
    Panel(
        "Stages",
        ("curriculum/stage",),
        "line",
        "Which stage is open, from 1. A stage ends when its outcome stops rising, or at its maximum; the events "
        "`stage_ended` say which.",
    ),
    Panel(
        "Forecast of the order",
        ("curriculum/forecast", "eval/outcome"),
        "line",
        "What the measured backward transfer says each source ends with (level lines), and what held-out evaluation "
        "finds on the way there; only with order: bwt. The last point counts: a source that ends far from its line "
        "was not described by training on each source alone.",
    ),
)


class Staged(Outer):
    """Opens one stage after another; `stages` is a list of kinds or sources, or of lists of them.

    `order`: `fixed` opens them as given, `interleave` has all open from the start, in turn, and `bwt` makes each
    source a stage, in the order that `matrix_file` proposes (`rltrain bwt`). A stage lasts at least `min_groups`
    and at most `max_groups` groups of its own; between, it ends at the first `window` of groups whose outcome
    does not rise (one-sided test, `z` standard errors). Earlier stages share `replay` of the draws. The last
    stage stays open.
    """

    panels = PANELS

    def __init__(
        self,
        tasks: TaskTable,
        *,
        seed: int,
        inner: Callable[..., Curriculum] | None = None,
        stages: Sequence[str | Sequence[str]] | None = None,
        order: Order = "fixed",
        matrix_file: str | None = None,
        min_groups: int = 100,
        max_groups: int = 1000,
        window: int = 100,
        z: float = 1.28,
        replay: float = 0.2,
    ):
        if not len(tasks):
            raise ValueError("staged: there are no tasks")
        one_of("staged", "order", order, get_args(Order))
        if order == "bwt" and stages is not None:
            raise ValueError("staged: order: bwt makes each source a stage; leave `stages` out, or use order: fixed")
        if order != "bwt" and matrix_file is not None:
            raise ValueError(f"staged: matrix_file has no effect with order: {order}; use order: bwt, or leave it out")
        expect("staged", {"replay": replay}, 0, 0.9)
        expect("staged", {"window": window}, 3)
        expect("staged", {"z": z, "min_groups": min_groups}, 0)
        expect("staged", {"max_groups": max_groups}, max(1, min_groups))
        self._order, self._window, self._z, self._replay = order, window, z, replay
        self._least, self._most = min_groups, max_groups
        self._forecast: Mapping[str, float] = {}
        if order == "bwt":
            stages, self._forecast = proposal.read(matrix_file, tasks)
        self._names, self._of = assigned(tasks, stages)  # names in order; source -> name of its stage
        part = np.asarray([self._of[source] for source in tasks.sources.tolist()])
        super().__init__(Parts(tasks, part, inner, seed=seed), lambda task: self._of.get(task.source, ""), "stage")
        self._stage = 0
        self._drawn = dict.fromkeys(self._names, 0)  # since the stage began
        self._groups = 0  # of the open stage that came back
        self._outcomes: list[float] = []  # of the last of them, since the last test

    def sample(self, n: int) -> list[Task]:
        """The next n tasks."""
        names = [self._next() for _ in range(n)]
        return self._drawn_from([(name, self._why(name)) for name in names])

    def observe(self, groups: Sequence[Group]) -> None:
        """Shown to the inner curriculum of their stage; the open stage ends when it is time."""
        super().observe(groups)
        for group in groups:
            if self._part_of(group.task) == self._names[self._stage] and self._order != "interleave":
                self._count(group.outcomes)

    def metrics(self) -> dict[str, float]:
        """The open stage, from 1, what is forecast, and the inner metrics by stage."""
        forecast = {f"curriculum/forecast@{source}": value for source, value in self._forecast.items()}
        return {"curriculum/stage": float(self._stage + 1)} | forecast | self._parts.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Where the stages stand, and the inner states."""
        return {
            "names": list(self._names),
            "stage": self._stage,
            "drawn": dict(self._drawn),
            "groups": self._groups,
            "outcomes": list(self._outcomes),
        } | self._inner_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; of other stages, the first that had not ended is open, and an event says so."""
        self._load_inner_state(state)
        self._drawn = {name: state["drawn"].get(name, 0) for name in self._names}
        ended = state["names"][: state["stage"]]
        self._stage = next((i for i, name in enumerate(self._names) if name not in ended), len(self._names) - 1)
        if self._names[self._stage] == state["names"][state["stage"]]:
            self._groups, self._outcomes = state["groups"], list(state["outcomes"])
        if state["names"] != list(self._names):
            evidence = {"were": list(state["names"]), "are": list(self._names), "open": self._names[self._stage]}
            self._journal.tell("stages_changed", "warning", evidence, "nothing to do if meant")

    def _why(self, name: str) -> str:
        return f"stage {name!r} is open" if name in self._open() else f"replay of stage {name!r}"

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
    wrong = f"staged: stages: expected a list of kinds and sources, or of lists of them, got {stages!r}"
    if not isinstance(stages, list | tuple | None):
        raise ValueError(wrong)
    given = [kind for kind in KINDS if kind in there] if stages is None else stages
    listed = [[s] if isinstance(s, str) else s for s in given]
    if not listed or not all(_named(stage) for stage in listed):
        raise ValueError(wrong)
    names = [name for stage in listed for name in stage]
    known = [*kinds, *sorted(there)]
    for name in names:
        if name not in known and name not in KINDS:
            near = difflib.get_close_matches(str(name), known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"staged: stages name {name!r}, no kind or source{advice} There are: {', '.join(known)}")
        if names.count(name) > 1:
            raise ValueError(f"staged: {name!r} is in two stages; leave it in one")
    of = {}
    for stage in listed:
        label = "+".join(stage)
        of |= {s: label for s, kind in kinds.items() if s in stage or (kind in stage and s not in names)}
    if left := [source for source in kinds if source not in of]:
        raise ValueError(f"staged: no stage has source {left[0]!r}; name it or its kind {kinds[left[0]]!r} in `stages`")
    return tuple(label for stage in listed if (label := "+".join(stage)) in of.values()), of


def _named(stage: Any) -> bool:
    """Whether this is a list of names, with one in it."""
    return isinstance(stage, list | tuple) and bool(stage) and all(isinstance(name, str) for name in stage)
