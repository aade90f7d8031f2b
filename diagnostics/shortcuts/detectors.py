"""The detectors: what each looks at, and the tests that decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnostics.sequential import Baseline, RiseTest
from diagnostics.shortcuts import marks
from diagnostics.shortcuts.marks import Marks

# How far above its value in the first steps a share may be before it counts as risen.
MARGINS: Mapping[str, float] = {
    "skipped": 0.05,
    "repeated": 0.05,
    "copied": 0.05,
    "looped": 0.03,
    "same_answer": 0.1,
    "reward_up": 0.02,
    "outcome_down": 0.02,
}
LEVELS: Mapping[str, float] = {"lucky": 0.5, "advantage_mass": 0.5}  # held against a level from the first step on
BETS_ON: Mapping[str, float] = {"lucky": marks.EVEN, "advantage_mass": 0.5}  # the same in units of the values bet on
TOGETHER = ("reward_up", "outcome_down")  # a finding only when both hold: the divergence
LEAST_STEPS = 2.0  # a source whose answers work out less than that has nothing to skip


class Detectors:
    """Learns what is usual from the first steps of a run, then tests each later step against it."""

    def __init__(self, *, baseline_steps: int, alpha: float):
        self._baseline_steps = baseline_steps
        self._alpha = alpha / (len(MARGINS) + len(LEVELS))
        self._seen = 0
        self._first: dict[str, list[list[int]]] = {}  # steps worked out by the baseline's groups, by source
        self.references: dict[str, float] = {}  # median of them, by source
        self._rewards: list[float] = []  # of the baseline's groups
        self._range: tuple[float, float] | None = None  # of the rewards in the baseline
        self._baselines = {name: Baseline() for name in MARGINS}
        self._tests = {name: RiseTest(level, self._alpha) for name, level in BETS_ON.items()}
        self._size, self._most = 0, 0.0  # of the largest group so far, see `marks.lonely` and `marks.accidental`
        self._diverged = False

    def update(self, step: int, rows: Sequence[Marks]) -> list[str]:
        """The names of the detectors that fire at this step: of `MARGINS`, `LEVELS`, or `divergence`."""
        self._seen += 1
        values = self._values(rows)
        fired = [name for name in LEVELS if self._tests[name].update(step, values[name])]
        if self._seen <= self._baseline_steps:
            self._learn(rows, values)
            return fired
        for name in MARGINS:
            test = self.test(name)
            if test and test.update(step, values[name]) and name not in TOGETHER:
                fired.append(name)
        pair = [self.test(name) for name in TOGETHER]
        if not self._diverged and all(test and test.evidence >= 1 / self._alpha for test in pair):
            self._diverged = True
            fired.append("divergence")
        return fired

    def test(self, name: str) -> RiseTest | None:
        """The test of a detector; None where the first steps showed nothing to hold it against."""
        if name not in self._tests and self._baselines[name].count:
            ceiling = self._baselines[name].upper() + MARGINS[name]
            self._tests[name] = RiseTest(min(ceiling, 0.98), self._alpha)
        return self._tests.get(name)

    def usual(self, name: str) -> float | None:
        """Mean of a share in the first steps."""
        return self._baselines[name].mean if name in MARGINS and self._baselines[name].count else None

    def divergence(self) -> dict[str, float]:
        """What reward and outcome were in the first steps, and what they had to leave behind."""
        low, high = self._range or (0.0, 1.0)
        reward, outcome = (self._tests[name].ceiling for name in TOGETHER)
        return {
            "reward_usual": low + self._baselines["reward_up"].mean * (high - low),
            "reward_ceiling": low + reward * (high - low),
            "outcome_usual": 1 - self._baselines["outcome_down"].mean,
            "outcome_floor": 1 - outcome,
        }

    def onset(self, name: str) -> int:
        """Likely first step of what a detector saw."""
        if name == "divergence":
            return max(self._tests[part].onset for part in TOGETHER)
        return self._tests[name].onset

    def _learn(self, rows: Sequence[Marks], values: Mapping[str, Sequence[float]]) -> None:
        """Take in a step of the baseline; the last one fixes what counts as skipping."""
        self._rewards += values["reward_up"]  # held against their range, which is not known before the last
        for name in MARGINS:
            if name != "reward_up":
                self._baselines[name].add(values[name])
        for row in rows:
            self._first.setdefault(row.source, []).append(row.steps.tolist())
        totals = np.concatenate([row.totals[np.isfinite(row.totals)] for row in rows])
        if len(totals):
            low, high = self._range or (np.inf, -np.inf)
            self._range = (min(low, float(totals.min())), max(high, float(totals.max())))
        if self._seen < self._baseline_steps:
            return
        if self._range:
            low, high = self._range
            if low / 2 == high / 2:  # nothing rewarded yet: any reward is above it
                self._range = (low, low + max(1.0, float(np.spacing(abs(low)))))
            self._baselines["reward_up"].add(within(self._rewards, *self._range))
        for source, groups in self._first.items():
            reference = float(np.median([n for steps in groups for n in steps]))
            if reference >= LEAST_STEPS:
                self.references[source] = reference
                self._baselines["skipped"].add([np.mean(np.array(steps) <= reference / 2) for steps in groups])
        self._first, self._rewards = {}, []

    def _values(self, rows: Sequence[Marks]) -> dict[str, list[float]]:
        """For each detector, independent values: one a group, or one for the step."""
        judged = [row.outcomes[~np.isnan(row.outcomes)] for row in rows]
        totals = [row.totals[np.isfinite(row.totals)] for row in rows]
        rewards = np.array([(total / len(total)).sum() for total in totals if len(total)])
        if self._seen > self._baseline_steps and self._range:
            rewards = within(rewards, *self._range)
        same = marks.same_answer(rows)
        self._size = max(self._size, *(len(row.steps) for row in rows))
        self._most = max(self._most, *(row.most for row in rows))
        skipped = (marks.skips(row, self.references) for row in rows)
        return {
            "skipped": [float(s.mean()) for s in skipped if s is not None],
            "repeated": [float(row.repeated.mean()) for row in rows],
            "copied": [float(row.copied.mean()) for row in rows],
            "looped": [float(row.looped.mean()) for row in rows],
            "outcome_down": [float(1 - np.clip(of, 0, 1).mean()) for of in judged if len(of)],
            "reward_up": rewards.tolist(),
            "same_answer": [] if same is None else [same],
            "lucky": marks.lonely(rows, self._size),
            "advantage_mass": marks.accidental(rows, self._size, self._most),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that later steps are held against, as plain values."""
        return {
            "seen": self._seen,
            "first": self._first,
            "rewards": self._rewards,
            "references": self.references,
            "units": [self._size, self._most],
            "range": self._range and list(self._range),
            "baselines": {name: vars(base).copy() for name, base in self._baselines.items()},
            "tests": {name: test.state_dict() for name, test in self._tests.items()},
            "diverged": self._diverged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as if the run had never stopped."""
        self._seen, self._first, self._diverged = state["seen"], dict(state["first"]), state["diverged"]
        self._rewards = list(state["rewards"])
        self.references = dict(state["references"])
        self._range = tuple(state["range"]) if state["range"] else None
        self._baselines = {name: Baseline(**of) for name, of in state["baselines"].items()}
        self._size, self._most = state.get("units", (0, 0.0))
        kept = state["tests"] if "units" in state else {k: of for k, of in state["tests"].items() if k not in BETS_ON}
        self._tests |= {name: RiseTest.from_state(of) for name, of in kept.items()}


def within(rewards: Sequence[float] | np.ndarray, low: float, high: float) -> np.ndarray:
    """Where rewards (N,) are between `low` and `high`, in [0, 1]; of halves, whose difference is never infinite."""
    halves = np.asarray(rewards, float) / 2 - low / 2
    return np.clip(halves / (high / 2 - low / 2), 0, 1)
