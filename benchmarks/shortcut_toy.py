"""The shortcut toy: one logit decides between working and answering at once (minutes, one core).

    python -m benchmarks.shortcut_toy [--seeds 20]

After the reading of "overly hard samples" (arXiv 2605.28388): easy prompts are solved by work in .8 and by the
shortcut in .3 of cases, hard ones in .002 and .04; 16 completions, 32 prompts, 400 steps of GRPO, the shortcut at .10
at the start, so that easy prompts (the control) stand at .75. Hard prompts alone, or 95% of them, make the shortcut
grow. Each completion is rendered as a text, with work or without, and the real diagnostics read real records.

Harm is the first step at which control accuracy, computed from the policy, has lost a tenth (.675). The clean
controls are easy prompts, half hard prompts (which do no harm in this toy) and a shortcut that is no better than
work anywhere; in none of them may a detector fire.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.made import group, record
from benchmarks.tell import bar, keep
from diagnostics.shortcuts import ShortcutDiagnostic
from rltrain.types import Event, StepRecord

EASY, HARD = (0.8, 0.3), (0.002, 0.04)  # chance of success by work, by the shortcut
START, RATE, STEPS, SAMPLES, PROMPTS = 0.10, 0.3, 400, 16, 32
LOSS = 0.1  # of control accuracy


class Setting(NamedTuple):
    """One cell of the toy."""

    name: str
    hard: float  # share of hard prompts
    planted: bool
    by_hard: tuple[float, float] = HARD
    scale: str = "group"


SETTINGS = (
    Setting("hard only", 1.0, True),
    Setting("95% hard", 0.95, True),
    Setting("hard only, mean-only advantages", 1.0, True, scale="none"),
    Setting("clean: easy only", 0.0, False),
    Setting("clean: half hard", 0.5, False),
    Setting("clean: shortcut never better", 0.5, False, (0.04, 0.002)),
)


def text(works: bool, answer: int, number: int) -> str:
    """A completion that works its answer out, or states it at once."""
    a, b = 20 + number, 3 + number % 7
    stated = f"Answer: {answer}"
    if not works:
        return stated
    product = a * b
    work = f"First I multiply {a} by {b}.\nThat is {a} * {b} = {product}.\nThen I add the rest: {product} + 4 = "
    return f"{work}{product + 4}.\n{stated}"


def control(p: float) -> float:
    """Accuracy on easy prompts of a policy that takes the shortcut with chance p."""
    return (1 - p) * EASY[0] + p * EASY[1]


def run(setting: Setting, seed: int) -> Iterator[tuple[float, StepRecord]]:
    """(chance of the shortcut, the step's record) of each step."""
    rng = np.random.default_rng(seed)
    logit = np.log(START / (1 - START))
    for step in range(1, STEPS + 1):
        p = float(1 / (1 + np.exp(-logit)))
        hard = rng.random(PROMPTS) < setting.hard
        short = rng.random((PROMPTS, SAMPLES)) < p
        chance = np.where(hard[:, None, None], setting.by_hard, EASY)
        right = rng.random(short.shape) < np.where(short, chance[..., 1], chance[..., 0])
        gold = rng.integers(10, 30, PROMPTS)
        wrong = gold[:, None] + rng.integers(1, 6, short.shape)
        which = rng.integers(3, size=short.shape)
        groups = [
            group(
                i,
                f"{'hard' if hard[i] else 'easy'}/{rng.integers(1000)}",
                f"How many are {gold[i]} and no more?",
                [
                    text(not short[i, j], int(gold[i] if right[i, j] else wrong[i, j]), int(which[i, j]))
                    for j in range(SAMPLES)
                ],
                right[i].astype(float),
            )
            for i in range(PROMPTS)
        ]
        made = record(step, groups, setting.scale)
        yield p, made
        advantages = np.array([[a.value for a in g.advantages] for g in made.groups])
        logit += RATE * float((advantages * (short - p)).mean())


def judged(setting: Setting, seed: int) -> dict[str, Any]:
    """Step of the harm, if any, what the detectors said and when, and where the policy ended."""
    diagnostic, events, harm, p = ShortcutDiagnostic(), [], None, START
    for p, made in run(setting, seed):
        if harm is None and control(p) < (1 - LOSS) * control(START):
            harm = made.step
        diagnostic.observe(made)
        events += diagnostic.events()
    return {"harm": harm, "fired": first(events), "shortcut": p, "control": control(p)}


def first(events: list[Event]) -> dict[str, int]:
    """The step at which each detector fired."""
    return {event.name.removeprefix("shortcut_"): event.step for event in events}


def summary(setting: Setting, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of a cell: how many runs were harmed, warned, warned in time."""
    harmed = [run for run in runs if run["harm"]]
    first_alarm = [min(run["fired"].values()) for run in runs if run["fired"]]
    skip = [run for run in harmed if run["fired"].get("skipped", STEPS + 1) < run["harm"]]
    names = sorted({name for run in runs for name in run["fired"]})
    return {
        "runs": len(runs),
        "planted": setting.planted,
        "harmed": len(harmed),
        "harm_step": float(np.median([run["harm"] for run in harmed])) if harmed else None,
        "in_time": sum(bool(run["fired"]) and min(run["fired"].values()) < run["harm"] for run in harmed),
        "skipping_in_time": len(skip),
        "with_alarm": len(first_alarm),
        "alarm_step": float(np.median(first_alarm)) if first_alarm else None,
        "by_detector": {n: [sum(n in run["fired"] for run in runs), median(runs, n)] for n in names},
        "shortcut_at_end": float(np.mean([run["shortcut"] for run in runs])),
        "control_at_end": float(np.mean([run["control"] for run in runs])),
    }


def median(runs: list[dict[str, Any]], name: str) -> float:
    """Median step of a detector over the runs in which it fired."""
    return float(np.median([run["fired"][name] for run in runs if name in run["fired"]]))


def table(cells: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a cell."""
    grid = Table("setting", "P(shortcut)", "control", "harmed", "at step", "warned in time", "skipping seen in time",
                 "runs with an alarm", "detectors: runs, median step", title="shortcut toy")  # fmt: skip
    for name, cell in cells.items():
        fired = ", ".join(f"{n} {k}, {step:.0f}" for n, (k, step) in cell["by_detector"].items())
        of = cell["harmed"]
        grid.add_row(name, f"{cell['shortcut_at_end']:.2f}", f"{cell['control_at_end']:.3f}", f"{of} of {cell['runs']}",
                     f"{cell['harm_step'] or 0:.0f}" if of else "", f"{cell['in_time']} of {of}" if of else "",
                     f"{cell['skipping_in_time']} of {of}" if of else "", str(cell["with_alarm"]), fired)  # fmt: skip
    return grid


def main(arguments: list[str] | None = None) -> None:
    """Run all cells and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.shortcut_toy", description="Shortcut detectors on a toy.")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each setting")
    seeds = parser.parse_args(arguments).seeds
    work = [(setting, seed) for setting in SETTINGS for seed in range(seeds)]
    runs: dict[str, list[dict[str, Any]]] = {setting.name: [] for setting in SETTINGS}
    for setting, seed in bar(work, "shortcut toy", len(work)):
        runs[setting.name].append(judged(setting, seed))
    cells = {setting.name: summary(setting, runs[setting.name]) for setting in SETTINGS}
    Console(width=180).print(table(cells))
    keep("shortcut_toy", {"cells": cells, "runs": runs})


if __name__ == "__main__":
    main()
