"""Harm and rescue: what hard prompts do to a skill that was there, and what the guard and the curriculum do about it.

    python -m benchmarks.curriculum_harm [--seeds 5]

The toy of benchmarks/shortcut_toy.py, without its texts: one logit decides between working and a shortcut. Easy prompts
are solved by work in .8 and by the shortcut in .3 of cases, hard ones in .002 and .04, so that hard prompts teach the
shortcut and control accuracy on easy ones falls from .75. The guard needs to see a prompt several times: there are 200.

The cold start is another logit: a way of answering that is right in .8 of cases and taken in .025 at first, on prompts
that are all alike; its figure is the step at which half of the completions take it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.learners import Columns, answered, number
from benchmarks.shortcut_toy import EASY, HARD, PROMPTS, RATE, SAMPLES, START, STEPS, control
from benchmarks.tell import bar, keep
from curricula.difficulty import Difficulty
from curricula.uniform import Uniform
from rltrain.advantages import assign, withheld, withhold
from rltrain.config import RareSuccess
from rltrain.rare import PassRates
from rltrain.types import Group

SET = 200  # prompts
COLD, COLD_RATE = 0.025, 1.0
GUARD = RareSuccess()
STRICT = RareSuccess(min_visits=3, min_successes=3)  # judges early, and takes two hits for luck as well


class Setting(NamedTuple):
    """One cell."""

    name: str
    hard: float  # share of hard prompts in the set
    scale: str = "group"
    guard: RareSuccess | None = None
    curriculum: Callable[..., Any] = Uniform


SETTINGS = (
    Setting("hard only", 1.0),
    Setting("hard only, mean-only", 1.0, "none"),
    Setting("hard only, guard", 1.0, guard=GUARD),
    Setting("hard only, strict guard", 1.0, guard=STRICT),
    Setting("95% hard", 0.95),
    Setting("95% hard, guard", 0.95, guard=GUARD),
    Setting("95% hard, difficulty", 0.95, curriculum=Difficulty),
    Setting("95% hard, difficulty and guard", 0.95, guard=GUARD, curriculum=Difficulty),
)
STARTS = tuple(
    Setting(f"cold start, {scale}{name}", 0.0, scale, guard)
    for scale in ("none", "group")
    for name, guard in (("", None), (", guard", GUARD), (", strict guard", STRICT))
)


class Learner:
    """A policy of one logit, trained by GRPO on groups it hands out."""

    def __init__(self, setting: Setting, start: float, rate: float):
        self._setting, self._rate = setting, rate
        self._guard, self._rates = setting.guard, PassRates()
        self.logit = float(np.log(start / (1 - start)))
        self.withheld: list[float] = []

    @property
    def p(self) -> float:
        """Chance of the choice the logit is about."""
        return float(1 / (1 + np.exp(-self.logit)))

    def train(self, groups: list[Group], chosen: np.ndarray) -> None:
        """One step; `chosen` (groups, samples) bool: where the choice was made."""
        groups = assign(groups, {}, scale=self._setting.scale, combine="sum_then_normalize")
        if self._guard is not None:
            self._rates.observe(groups, self._guard.half_life)
            lucky = {group.ticket for group in groups if self._rates.lucky(group, self._guard, self._setting.scale)}
            groups = withhold(groups, lucky, self._guard.cap)
            self.withheld.append(withheld(groups)["advantage/withheld"])
        advantages = np.array([[a.value for a in group.advantages] for group in groups])
        self.logit += self._rate * float((advantages * (chosen - self.p)).mean())


def harmed(setting: Setting, seed: int) -> dict[str, float]:
    """Control accuracy, chance of the shortcut and what was withheld, after all steps."""
    rng, table = np.random.default_rng(seed), Columns(["all"] * SET)
    hard = np.arange(SET) < setting.hard * SET
    curriculum, learner = setting.curriculum(table, seed=seed), Learner(setting, START, RATE)
    for step in range(STEPS):
        tasks = curriculum.sample(PROMPTS)
        short = rng.random((PROMPTS, SAMPLES)) < learner.p
        chance = np.where(hard[[number(task) for task in tasks], None, None], HARD, EASY)
        right = rng.random(short.shape) < np.where(short, chance[..., 1], chance[..., 0])
        groups = [
            answered(task, row.astype(float).tolist(), step, i)
            for i, (task, row) in enumerate(zip(tasks, right, strict=True))
        ]
        curriculum.observe(groups)
        learner.train(groups, short)
    held = float(np.mean(learner.withheld)) if learner.withheld else 0.0
    return {"control": control(learner.p), "shortcut": learner.p, "withheld": held}


def begun(setting: Setting, seed: int) -> dict[str, float]:
    """Steps until half of the completions are right ones, from a pass rate of .02."""
    rng, curriculum = np.random.default_rng(seed), Uniform(Columns(["all"] * SET), seed=seed)
    learner = Learner(setting, COLD, COLD_RATE)
    for step in range(STEPS):
        if learner.p > 0.5:
            return {"steps": float(step)}
        way = rng.random((PROMPTS, SAMPLES)) < learner.p
        right = way & (rng.random(way.shape) < EASY[0])
        tasks = curriculum.sample(PROMPTS)
        learner.train(
            [
                answered(t, row.astype(float).tolist(), step, i)
                for i, (t, row) in enumerate(zip(tasks, right, strict=True))
            ],
            way,
        )
    return {"steps": float(STEPS)}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95% interval of a bootstrap over the seeds."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)


def table(cells: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a cell."""
    grid = Table("setting", "figure", "mean", "95% interval", title="harm and rescue (control: .75 at the start)")
    for name, cell in cells.items():
        for figure, (mean, low, high) in cell.items():
            grid.add_row(name, figure, f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
    return grid


def main(arguments: list[str] | None = None) -> None:
    """Run all cells and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_harm", description="Harm and rescue on a toy.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each setting")
    seeds = parser.parse_args(arguments).seeds
    work = [(s, seed) for s in (*SETTINGS, *STARTS) for seed in range(seeds)]
    runs: dict[str, list[dict[str, float]]] = {}
    for setting, seed in bar(work, "harm and rescue", len(work)):
        found = begun(setting, seed) if setting in STARTS else harmed(setting, seed)
        runs.setdefault(setting.name, []).append(found)
    cells = {name: {f: interval([run[f] for run in rows]) for f in rows[0]} for name, rows in runs.items()}
    Console(width=140).print(table(cells))
    keep("curriculum_harm", {"cells": cells, "runs": runs})


if __name__ == "__main__":
    main()
