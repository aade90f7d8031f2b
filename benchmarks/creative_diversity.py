"""Does the alarm for lost creative diversity fire when it is lost, and only then? (four minutes on one core)

    python -m benchmarks.creative_diversity [--runs 40]

A policy made of numbers writes sentences of eight words out of forty: for each prompt its own chances of each word at
each place, sharper or flatter as a setting says; prompts differ a lot in how open they are. The alarm reads what it
reads in a run: mean entropy of a group's tokens, and how much the texts of a group differ. It may lose up to 30%.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tell import bar, keep
from diagnostics.creative import DiversityWatch, Values, variety

PLACES, WORDS, SAMPLES, STEPS, BEGINS = 8, 40, 8, 300, 100
SPREAD = 0.4  # of log sharpness among prompts
VOCABULARY = np.array([f"word{i}" for i in range(WORDS)])
Course = Callable[[int, np.random.Generator], float]
"""Step -> sharpness of the policy; 1 at the start. It may keep nothing but what the generator gives."""


class Setting(NamedTuple):
    """How the policy moves, and how many creative groups a step has."""

    name: str
    sharpness: Course
    groups: int
    planted: bool


def steady(step: int, rng: np.random.Generator) -> float:
    """Nothing happens."""
    return 1.0


def opens(step: int, rng: np.random.Generator) -> float:
    """Creative training raises entropy."""
    return 1.0 - 0.4 * step / STEPS


def narrows(step: int, rng: np.random.Generator) -> float:
    """A loss of about a sixth, which is no alarm."""
    return 1.0 + 0.25 * min(1.0, step / BEGINS)


def jitters(step: int, rng: np.random.Generator) -> float:
    """Each step is sharper or flatter than the last, about the same level."""
    return float(np.exp(0.15 * rng.normal()))


def at_once(step: int, rng: np.random.Generator) -> float:
    """Two thirds are lost from one step to the next."""
    return 3.0 if step >= BEGINS else 1.0


def slowly(step: int, rng: np.random.Generator) -> float:
    """The same over eighty steps."""
    return 1.0 + 2.0 * min(max((step - BEGINS) / 80, 0.0), 1.0)


SETTINGS = (
    *(Setting(f"{course.__name__}, {n} groups", course, n, False) for course in (steady, opens, narrows, jitters)
      for n in (2, 8)),
    *(Setting(f"{course.__name__}, {n} groups", course, n, True) for course in (at_once, slowly) for n in (2, 8)),
)  # fmt: skip


def said(setting: Setting, seed: int) -> Iterator[tuple[int, Values]]:
    """What the creative groups of each step say."""
    rng = np.random.default_rng([seed, len(setting.name)])
    for step in range(1, STEPS + 1):
        sharp = setting.sharpness(step, rng) * np.exp(SPREAD * rng.normal(size=(setting.groups, 1, 1)))
        chances = np.exp(1.5 * sharp * rng.normal(size=(setting.groups, PLACES, WORDS)))
        chances /= chances.sum(-1, keepdims=True)
        entropy = -(chances * np.log(chances)).sum(-1).mean(-1)
        noise = rng.gumbel(size=(setting.groups, SAMPLES, PLACES, WORDS))
        words = VOCABULARY[(np.log(chances)[:, None] + noise).argmax(-1)]
        yield step, Values(entropy.tolist(), [variety([" ".join(text) for text in group]) for group in words])


def judged(setting: Setting, seed: int) -> dict[str, Any]:
    """When the alarm fired, and by what."""
    watch, events, first, last = DiversityWatch(), [], [], []
    for step, values in said(setting, seed):
        events += watch.observe(step, values)
        (first if step <= 24 else last).append(np.mean(values.entropy))
    alarm = events[0] if events else None
    return {
        "alarm": alarm and alarm.step,
        "signal": alarm and alarm.evidence["signal"],
        "onset": alarm and alarm.evidence["onset_step"],
        "lost": float(1 - np.mean(last[-50:]) / np.mean(first)),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Share of runs with an alarm, how long after the loss began it came, and how much was lost at the end."""
    alarms = [run["alarm"] for run in runs if run["alarm"]]
    late = np.array(alarms) - BEGINS
    return {
        "runs": len(runs),
        "alarms": len(alarms),
        "before_the_loss": int((late < 0).sum()) if alarms else 0,
        "steps_after": [float(q) for q in np.quantile(late, [0.25, 0.5, 0.75])] if alarms else None,
        "lost": float(np.mean([run["lost"] for run in runs])),
    }


def table(cells: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a setting."""
    grid = Table("policy", "entropy lost", "runs", "alarms", "steps after the loss began: quartiles",
                 title=f"alarm for lost creative diversity, {STEPS} steps")  # fmt: skip
    for name, c in cells.items():
        after = "" if c["steps_after"] is None else ", ".join(f"{q:.0f}" for q in c["steps_after"])
        grid.add_row(name, f"{c['lost']:+.0%}", str(c["runs"]), str(c["alarms"]), after)
    return grid


def main(arguments: list[str] | None = None) -> None:
    """Run all settings and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.creative_diversity", description="An alarm, and when it errs.")
    parser.add_argument("--runs", type=int, default=40, help="runs of each setting")
    runs = parser.parse_args(arguments).runs
    work = [(setting, seed) for setting in SETTINGS for seed in range(runs)]
    found: dict[str, list[dict[str, Any]]] = {}
    for setting, seed in bar(work, "creative diversity", len(work)):
        found.setdefault(setting.name, []).append(judged(setting, seed))
    cells = {name: summary(of) for name, of in found.items()}
    clean = [setting.name for setting in SETTINGS if not setting.planted]
    alarms, clean_runs = (sum(cells[name][what] for name in clean) for what in ("alarms", "runs"))
    Console(width=140).print(table(cells))
    print(f"false alarms: {alarms} in {clean_runs} runs without a loss")
    keep("creative_diversity", {"false_alarms": alarms, "clean_runs": clean_runs, "cells": cells})


if __name__ == "__main__":
    main()
