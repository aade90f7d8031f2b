"""How the tasks of a run help and hinder each other, and what becomes of the rare ones.

A rare task is learned if its own gradient outweighs what all others do along the same direction (arXiv 2605.29548,
sections 3 and 4: larger models learn rarer tasks because there is less of the latter in them). Both are measured here
on chosen layers, from the training's own backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from diagnostics.interference.measures import along, between
from diagnostics.sequential import RiseTest
from rltrain.types import Event, GradientProbe, Panel, StepRecord

By = Literal["source", "kind"]
FIRST_MLP = ("*.layers.0.mlp.*",)
MOST_TASKS = 32  # whose direction is remembered
AGAINST = 0.6  # share of looks at which the others pull against a task, beyond which it is no accident


class InterferenceDiagnostic:
    """Computes `interference/*`; events `task_overruled` and `task_starved`.

    At steps 1, 1 + `every`, ... the gradient of the layers whose names match `layers` (shell patterns; of each layer
    `neurons` outputs, evenly chosen) is taken apart by task: the source, or with `by: kind` the kind. A task's
    direction is the sum of its parts at earlier looks, each look's counting `decay` times the next one's. A task is
    rare while it has less than `rare` of all completions trained. `alpha` bounds the chance that a rare task that
    the others do not hinder is ever called overruled; `max_gap` is how many steps a task may be away.
    """

    panels: Sequence[Panel] = (
        Panel(
            "Tasks with and against each other",
            ("interference/cosine", "interference/reliability"),
            "line",
            "Cosine of two tasks' gradients on the watched layers: above 0 one helps the other, below 0 it undoes it. "
            "Reliability is a task's cosine with itself, prompts split in two: where that is near 0 the gradient is "
            "noise, and so is every cosine with it.",
        ),
        Panel(
            "Whose step it is",
            ("interference/gradient_share",),
            "line",
            "What each task adds to the step along the step's own direction; sums to 1. A task far above its share of "
            "the completions leads the run; one below 0 is trained and outvoted.",
        ),
        Panel(
            "Rare tasks: signal against interference",
            ("interference/signal", "interference/others"),
            "line",
            "How far a task's own part, and all others together, go where the task's earlier parts went. Others "
            "below 0 for long undo the task between its turns; then it needs a larger share, or turns nearer "
            "together. Signal near 0 is a task whose prompts agree on nothing.",
        ),
        Panel(
            "Turns of the tasks",
            ("interference/gap", "interference/frequency", "interference/completions"),
            "line",
            "Steps since each task was trained, and its share of everything trained so far. At equal share, turns "
            "further apart are forgotten more.",
        ),
    )

    def __init__(
        self,
        *,
        layers: Sequence[str] = FIRST_MLP,
        every: int = 10,
        neurons: int | None = 512,
        by: By = "source",
        rare: float = 0.1,
        max_gap: int = 50,
        decay: float = 0.9,
        alpha: float = 0.01,
        gradients: GradientProbe | None = None,
    ) -> None:
        _expect(every >= 1 and (neurons is None or neurons >= 1), f"every {every}, neurons {neurons}", "at least 1")
        _expect(by in get_args(By), f"by {by!r}", " or ".join(get_args(By)))
        _expect(0 < rare < 1 and 0 < alpha < 1, f"rare {rare}, alpha {alpha}", "above 0 and below 1")
        _expect(0 <= decay <= 1 and max_gap >= 1, f"decay {decay}, max_gap {max_gap}", "0 to 1, and at least 1 step")
        self._by, self._rare, self._max_gap, self._decay, self._alpha = by, rare, max_gap, decay, alpha
        self._gradients = gradients
        if gradients is not None:
            gradients.watch([layers] if isinstance(layers, str) else layers, every=every, neurons=neurons)
        self._trained: Counter[str] = Counter()  # completions so far
        self._last: dict[str, int] = {}  # step a task was last trained in
        self._starved: set[str] = set()
        self._memory: dict[str, np.ndarray] = {}
        self._tests: dict[str, RiseTest] = {}
        self._events: list[Event] = []

    def observe(self, record: StepRecord) -> dict[str, float]:
        """The metrics of a step; those of gradients at the steps that are looked at."""
        here = Counter(self._task(group.task) for group, _, _, _ in record.completions())
        self._trained += here
        self._last |= dict.fromkeys(here, record.step)
        metrics = {f"interference/completions@{name}": float(count) for name, count in sorted(here.items())}
        for name, count in sorted(self._trained.items()):
            metrics[f"interference/frequency@{name}"] = count / self._trained.total()
            metrics[f"interference/gap@{name}"] = float(record.step - self._last[name])
        self._watch_gaps(record.step)
        if parts := self._parts(record):
            met = along(parts, self._memory)
            self._watch_others(record.step, met)
            metrics |= between(parts) | met
            self._remember(parts)
        return metrics

    def _task(self, task: Any) -> str:
        return task.source if self._by == "source" else task.kind

    def _parts(self, record: StepRecord) -> dict[str, np.ndarray]:
        """The step's gradient by task, of the sources that add anything finite."""
        found = {} if self._gradients is None else self._gradients.by_source()
        kinds = {group.task.source: self._task(group.task) for group in record.groups}
        parts: dict[str, np.ndarray] = {}
        for source, part in found.items():
            if np.isfinite(part).all():
                parts[kinds[source]] = parts[kinds[source]] + part if kinds[source] in parts else part
        return parts

    def _remember(self, parts: Mapping[str, np.ndarray]) -> None:
        for name, part in parts.items():
            if name in self._memory or len(self._memory) < MOST_TASKS:
                self._memory[name] = self._decay * self._memory.get(name, 0) + part.sum(axis=0)

    def _watch_others(self, step: int, met: Mapping[str, float]) -> None:
        for name in self._memory:
            others = met.get(f"interference/others@{name}")
            if others is None or self._trained[name] >= self._rare * self._trained.total():
                continue
            test = self._tests.setdefault(name, RiseTest(AGAINST, self._alpha))
            if test.update(step, [float(others < 0)]):
                evidence = {"task": name, "onset_step": test.onset, "others": others}
                evidence |= {"signal": met.get(f"interference/signal@{name}"), "looks": test.steps}
                evidence |= {"frequency": self._trained[name] / self._trained.total()}
                known = {key: value for key, value in evidence.items() if value is not None}
                self._events.append(Event(step, "task_overruled", "warning", known, OVERRULED))

    def _watch_gaps(self, step: int) -> None:
        for name, last in self._last.items():
            if step - last < self._max_gap:
                self._starved.discard(name)
            elif name not in self._starved:
                self._starved.add(name)
                evidence = {"task": name, "last_step": last, "gap": step - last}
                self._events.append(Event(step, "task_starved", "warning", evidence, STARVED))

    def events(self) -> list[Event]:
        """What was found since the last call."""
        found, self._events = self._events, []
        return found

    def notes(self) -> list[str]:
        """What could not be measured."""
        absent = "interference: gradients exist only while a run trains; gaps and frequencies alone are given"
        return [absent] if self._gradients is None else []

    def state_dict(self) -> dict[str, Any]:
        """Counts, turns, and the remembered directions (N,) float32: four bytes a watched weight and task."""
        return {
            "trained": dict(self._trained),
            "last": dict(self._last),
            "starved": sorted(self._starved),
            "memory": dict(self._memory),
            "tests": {name: test.state_dict() for name, test in self._tests.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._trained, self._last = Counter(state["trained"]), dict(state["last"])
        self._starved, self._memory = set(state["starved"]), dict(state["memory"])
        self._tests = {name: RiseTest.from_state(of) for name, of in state["tests"].items()}


def _expect(holds: bool, given: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"interference diagnostic: {given}; expected {expected}")


OVERRULED = (
    "The other tasks pull against this rare one between its turns. Give it a larger share of the prompts, turns nearer "
    "together at the same share, or a run of its own; a larger model has less of this."
)
STARVED = (
    "This task has not been trained for long: its groups are refused, or the curriculum leaves it out. Look at "
    "curriculum/rejected and the column `reject_reason`, or give it a floor in the mixture."
)
