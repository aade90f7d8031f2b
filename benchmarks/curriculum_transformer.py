"""Harm and rescue, cold start and gain of curricula on a transformer of 0.1 million parameters (a quarter of an hour).

    python -m benchmarks.curriculum_transformer [--seeds 5] [--only harm|rates|cold|gain]

Written down after each seed.

The bed is benchmarks/two_skills.py. *Harm*: a policy that works in .9 of cases and is then right in .9, and guesses in
.1, right in .1, is trained on prompts whose right answer is drawn anew each time from what working does not give:
there a guess is right in 1 of 30 cases and work in 1 of 300, so that guessing is what is rewarded. Control are easy
prompts that are never trained on; on hard prompts alone it is trained for 100 steps, on nine in ten for 200.

*Rates*: the same on hard prompts alone, where each completion is right by chance: a guess in .02 to .1 of cases, work
in a twentieth of that, the ratio of the toy (.04 and .002). Before training a tenth guesses.

*Cold start*: work is right in .8 of cases and done in .025, a guess is never right; the figure is the step at which
control reaches .5 (300: it never does). *Gain*: 800 prompts, a tenth easy (worked out in .97 of cases), a fifth
learnable (in .3), the rest near-impossible (right in 1 of 499 cases, whatever is answered); completions until .8 on
held-out learnable prompts, and the same on the learnable ones alone; with Adam, and with plain gradient descent. Both
rates are such that uniform draws pass over the set about four times. At the rate of the other parts they have learned
before every prompt was seen once, and which of them come first cannot matter.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import two_skills as bed
from benchmarks.curriculum_gain import summary as times_fewer
from benchmarks.curriculum_harm import GUARD, STRICT, Setting, interval
from benchmarks.tell import bar, keep
from benchmarks.tiny_policy import Policy
from benchmarks.two_skills import MARKS, Skill, Trainer
from curricula.difficulty import Difficulty
from curricula.uniform import Uniform
from rltrain.config import RareSuccess

ABLE, COLD = Skill(0.9, 0.9, 0.1), Skill(0.025, 0.8, 0.0)
CHANCE = 1 / bed.NUMBERS
EASY, LEARNABLE, IMPOSSIBLE = Skill(0.97, 1.0, 0.0), Skill(0.3, 1.0, 0.0, share=12), Skill(0.3, CHANCE, CHANCE)
CONTROL, STEPS, MOST_STEPS = 64, 200, 300
TARGET, SAMPLES, BATCH, GAIN_STEPS = 0.8, 8, 8, 4000
OPTIMIZERS = {"Adam": partial(torch.optim.Adam, lr=1e-5), "SGD": partial(torch.optim.SGD, lr=3e-4)}
SETS = {f"{name}, {optimizer}": (name, optimizer) for optimizer in OPTIMIZERS for name in ("mixed", "learnable")}
CURRICULA: Mapping[str, Callable[..., Any]] = {"uniform": Uniform, "difficulty": Difficulty}

SETTINGS = (
    Setting("hard only", 1.0),
    Setting("hard only, mean-only", 1.0, "none"),
    Setting("hard only, guard", 1.0, guard=GUARD),
    Setting("hard only, guard from the first visit", 1.0, guard=RareSuccess(min_visits=1)),
    Setting("hard only, strict guard", 1.0, guard=STRICT),
    Setting("hard only, difficulty that stops", 1.0, curriculum=partial(Difficulty, when_empty="stop")),
    Setting("90% hard", 0.9),
    Setting("90% hard, guard", 0.9, guard=GUARD),
    Setting("90% hard, strict guard", 0.9, guard=STRICT),
    Setting("90% hard, difficulty", 0.9, curriculum=Difficulty),
    Setting("90% hard, difficulty and guard", 0.9, guard=GUARD, curriculum=Difficulty),
)
RATES = (0.02, 0.05, 0.1)  # of a guess on hard prompts; that of work is a twentieth
PROTECTED = tuple(s for s in SETTINGS if s.hard == 1 and s.scale == "group" and "first visit" not in s.name)
STARTS = tuple(
    Setting(f"{label}{name}", 0.0, scale, guard)
    for label, scale in (("mean-only", "none"), ("group std", "group"))
    for name, guard in (("", None), (", guard", GUARD), (", strict guard", STRICT))
)


def halves(mark: int, seed: int, held_out: int = CONTROL) -> tuple[bed.Prompts, bed.Prompts]:
    """Prompts of a mark to train on, and those held out."""
    order = np.random.default_rng([seed, mark]).permutation(len(bed.PAIRS))
    return bed.prompts(mark, order[held_out:]), bed.prompts(mark, order[:held_out])


def harmed(setting: Setting, start: Policy, seed: int, luck: bed.Luck | None = None) -> dict[str, float]:
    """Control accuracy and chance of a guess at the end, and at which step that was."""
    given, held_out = halves(MARKS[0], seed)
    count = round(setting.hard * len(given))
    easy = bed.Prompts(given.ids[count:], given.answers[count:])
    mixed = bed.joined(bed.hard(bed.Prompts(given.ids[:count], given.answers[:count])), easy)
    mixed = dataclasses.replace(mixed, luck=luck)
    trainer = Trainer(start, mixed, setting.curriculum, seed=seed, scale=setting.scale, guard=setting.guard)
    while trainer.steps < (STEPS if setting.hard < 1 else STEPS // 2) and not trainer.stopped:
        trainer.step()
    control, guesses = bed.accuracy(trainer.policy, held_out)
    return {"control": control, "guesses": guesses, "steps": float(trainer.steps)}


def begun(setting: Setting, start: Policy, seed: int) -> dict[str, float]:
    """Steps until control reaches one half."""
    given, control = halves(MARKS[0], seed)
    trainer = Trainer(start, given, Uniform, seed=seed, scale=setting.scale, guard=setting.guard)
    for step in range(MOST_STEPS):
        if bed.accuracy(trainer.policy, control)[0] >= 0.5:
            return {"steps": float(step)}
        trainer.step()
    return {"steps": float(MOST_STEPS)}


def mixture(name: str, seed: int) -> tuple[bed.Prompts, bed.Prompts]:
    """A set of `gain` to train on, and held-out learnable prompts."""
    learnable, control = halves(MARKS[0], seed)
    count, rng = 160, np.random.default_rng(seed)
    given = bed.Prompts(learnable.ids[:count], learnable.answers[:count])
    if name == "learnable":
        return given, control
    easy = bed.prompts(MARKS[-1], rng.permutation(len(bed.PAIRS))[: count // 2])
    hard = bed.joined(*(bed.hard(bed.prompts(mark, range(len(bed.PAIRS)))) for mark in MARKS[1:-1]))
    picked = rng.permutation(len(hard))[: 7 * count // 2]
    return bed.joined(easy, given, bed.Prompts(hard.ids[picked], hard.answers[picked]), out_of=500), control


def gained(place: str, curriculum: str, start: Policy, seed: int) -> int:
    """Completions sampled until the target; `place` is one of `SETS`."""
    name, optimizer = SETS[place]
    given, control = mixture(name, seed)
    trainer = Trainer(start, given, CURRICULA[curriculum], seed=seed, samples=SAMPLES, batch=BATCH,
                      optimizer=OPTIMIZERS[optimizer])  # fmt: skip
    while trainer.steps < GAIN_STEPS and bed.accuracy(trainer.policy, control)[0] < TARGET:
        trainer.step()
    return trainer.steps * SAMPLES * BATCH


Row = tuple[str, dict[str, float]]
"""A row of a part's table: its name, and figure -> value."""


def harm(seed: int) -> Iterator[Row]:
    """All settings of harm and rescue."""
    start = bed.pretrained({MARKS[0]: ABLE}, seed)
    yield "before", dict(zip(("control", "guesses"), bed.accuracy(start, halves(MARKS[0], seed)[1]), strict=True))
    for setting in SETTINGS:
        yield setting.name, harmed(setting, start, seed)


def rates(seed: int) -> Iterator[Row]:
    """Hard prompts alone, by how often a guess is right on them."""
    start = bed.pretrained({MARKS[0]: ABLE}, seed)
    yield "before", dict(zip(("control", "guesses"), bed.accuracy(start, halves(MARKS[0], seed)[1]), strict=True))
    for rate in RATES:
        for setting in PROTECTED:
            yield f"{rate:g}: {setting.name}", harmed(setting, start, seed, bed.Luck(rate / 20, rate))


def cold(seed: int) -> Iterator[Row]:
    """Cold starts with and without guard."""
    start = bed.pretrained({MARKS[0]: COLD}, seed)
    yield "before", {"control": bed.accuracy(start, halves(MARKS[0], seed)[1])[0]}
    for setting in STARTS:
        yield setting.name, begun(setting, start, seed)


def gain(seed: int) -> Iterator[Row]:
    """Completions until the target on both sets, uniform against difficulty."""
    shown = {MARKS[0]: LEARNABLE, MARKS[-1]: EASY} | dict.fromkeys(MARKS[1:-1], IMPOSSIBLE)
    start = bed.pretrained(shown, seed)
    yield "before", {"control": bed.accuracy(start, halves(MARKS[0], seed)[1])[0]}
    for name in SETS:
        yield name, {one: float(gained(name, one, start, seed)) for one in CURRICULA}


PARTS: Mapping[str, tuple[Callable[[int], Iterator[Row]], int]] = {
    "harm": (harm, 1 + len(SETTINGS)),
    "rates": (rates, 1 + len(RATES) * len(PROTECTED)),
    "cold": (cold, 1 + len(STARTS)),
    "gain": (gain, 1 + len(SETS)),
}
"""Part -> how its rows come, and how many they are."""


def cells(name: str, runs: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Mean and 95% interval over seeds of each figure; of the sets of `gain`, how many times fewer completions."""
    found = {row: {f: interval([run[row][f] for run in runs]) for f in figures} for row, figures in runs[0].items()}
    if name == "gain":
        found |= {s: times_fewer({one: [int(run[s][one]) for run in runs] for one in CURRICULA}) for s in SETS}
    return found


def table(name: str, found: Mapping[str, Any]) -> Table:
    """One row a figure."""
    grid = Table("setting", "figure", "mean", "95% interval", title=f"{name}: a transformer of 0.1M parameters")
    for row, cell in found.items():
        if "ratio" in cell:
            grid.add_row(row, "times fewer", f"{cell['ratio']:.2f}", f"{cell['low']:.2f} to {cell['high']:.2f}")
            continue
        for figure, (mean, low, high) in cell.items():
            grid.add_row(row, figure, f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
    return grid


def measure(name: str, seeds: int) -> None:
    """Run a part, written down after each seed."""
    part, rows = PARTS[name]
    runs: list[dict[str, dict[str, float]]] = [{} for _ in range(seeds)]
    work = ((seed, row) for seed in range(seeds) for row in part(seed))
    for seed, (row, figures) in bar(work, name, seeds * rows):
        runs[seed][row] = figures
        if len(runs[seed]) == rows:
            done = runs[: seed + 1]
            keep(f"curriculum_transformer_{name}", {"seeds": len(done), "cells": cells(name, done), "runs": done})
    Console(width=140).print(table(name, cells(name, runs)))


def main(arguments: list[str] | None = None) -> None:
    """Run the parts and write what came out."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.curriculum_transformer", description="Curricula on a transformer."
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each setting")
    parser.add_argument("--only", choices=[*PARTS], help="one part")
    given = parser.parse_args(arguments)
    for name in [given.only] if given.only else PARTS:
        measure(name, given.seeds)


if __name__ == "__main__":
    main()
