"""Harm and rescue, cold start and gain of curricula on a transformer of 0.1 million parameters (ten minutes, one core).

    python -m benchmarks.curriculum_transformer [--seeds 5] [--only harm|cold|gain]

The bed is benchmarks/two_skills.py. *Harm*: a policy that works in .9 of cases and is then right in .9, and guesses in
.1, right in .1, is trained on prompts whose right answer is drawn anew each time from what working does not give:
there a guess is right in 1 of 30 cases and work in 1 of 300, so that guessing is what is rewarded. Control are easy
prompts that are never trained on. *Cold start*: work is right in .8 of cases and done in .025, a guess is never right;
the figure is the step at which control reaches .5. *Gain*: a tenth easy (.97), a fifth learnable (.3), the rest
near-impossible (1 of 500), completions until .8 on held-out learnable prompts; then a set of learnable ones alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import two_skills as bed
from benchmarks.curriculum_gain import summary as times_fewer
from benchmarks.curriculum_harm import interval
from benchmarks.tell import bar, keep
from benchmarks.tiny_policy import Policy
from benchmarks.two_skills import MARKS, Skill, Trainer
from curricula.difficulty import Difficulty
from curricula.uniform import Uniform
from rltrain.config import RareSuccess

ABLE, COLD = Skill(0.9, 0.9, 0.1), Skill(0.025, 0.8, 0.0)
EASY, LEARNABLE, IMPOSSIBLE = Skill(1.0, 0.97, 0.0), Skill(1.0, 0.3, 0.0), Skill(1.0, 1 / bed.NUMBERS, 0.0)
CONTROL, STEPS, MOST_STEPS = 64, 300, 600
TARGET, SAMPLES, BATCH, GAIN_STEPS = 0.8, 8, 8, 3000
CURRICULA: Mapping[str, Callable[..., Any]] = {"uniform": Uniform, "difficulty": Difficulty}


class Setting(NamedTuple):
    """One cell of harm and rescue."""

    name: str
    hard: float
    scale: str = "group"
    guarded: bool = False
    curriculum: Callable[..., Any] = Uniform


SETTINGS = (
    Setting("hard only", 1.0),
    Setting("hard only, mean-only", 1.0, "none"),
    Setting("hard only, guard", 1.0, guarded=True),
    Setting("95% hard", 0.95),
    Setting("95% hard, guard", 0.95, guarded=True),
    Setting("95% hard, difficulty", 0.95, curriculum=Difficulty),
    Setting("95% hard, difficulty and guard", 0.95, guarded=True, curriculum=Difficulty),
)
STARTS = tuple((scale, guarded) for scale in ("none", "group") for guarded in (False, True))


def halves(mark: int, seed: int, held_out: int = CONTROL) -> tuple[bed.Prompts, bed.Prompts]:
    """Prompts of a mark to train on, and those held out."""
    order = np.random.default_rng([seed, mark]).permutation(len(bed.PAIRS))
    return bed.prompts(mark, order[held_out:]), bed.prompts(mark, order[:held_out])


def guard(on: bool) -> RareSuccess | None:
    """The guard with its defaults, or none."""
    return RareSuccess() if on else None


def harmed(setting: Setting, start: Policy, seed: int) -> dict[str, float]:
    """Control accuracy and chance of a guess after all steps."""
    given, control = halves(MARKS[0], seed)
    count = round(setting.hard * len(given))
    easy = bed.Prompts(given.ids[count:], given.answers[count:])
    mixed = bed.joined(bed.hard(bed.Prompts(given.ids[:count], given.answers[:count])), easy)
    trainer = Trainer(start, mixed, setting.curriculum, seed=seed, scale=setting.scale, guard=guard(setting.guarded))
    for _ in range(STEPS):
        trainer.step()
    return dict(zip(("control", "guesses"), bed.accuracy(trainer.policy, control), strict=True))


def begun(scale: str, guarded: bool, start: Policy, seed: int) -> dict[str, float]:
    """Steps until control reaches one half."""
    given, control = halves(MARKS[0], seed)
    trainer = Trainer(start, given, Uniform, seed=seed, scale=scale, guard=guard(guarded))
    for step in range(MOST_STEPS):
        if bed.accuracy(trainer.policy, control)[0] >= 0.5:
            return {"steps": float(step)}
        trainer.step()
    return {"steps": float(MOST_STEPS)}


def gained(name: str, curriculum: str, start: Policy, seed: int) -> int:
    """Completions sampled until the target."""
    learnable, control = halves(MARKS[1], seed)
    count = 160
    given = bed.Prompts(learnable.ids[:count], learnable.answers[:count])
    if name == "mixed":
        easy = bed.prompts(MARKS[0], np.random.default_rng(seed).permutation(len(bed.PAIRS))[: count // 2])
        rest = [bed.hard(bed.prompts(mark, range(len(bed.PAIRS)))) for mark in MARKS[2:]]
        impossible = bed.joined(*rest)
        picked = np.random.default_rng(seed).permutation(len(impossible))[: 7 * count // 2]
        given = bed.joined(easy, given, bed.Prompts(impossible.ids[picked], impossible.answers[picked]), out_of=500)
    trainer = Trainer(start, given, CURRICULA[curriculum], seed=seed, samples=SAMPLES, batch=BATCH)
    for step in range(GAIN_STEPS):
        if step % 5 == 0 and bed.accuracy(trainer.policy, control)[0] >= TARGET:
            return step * SAMPLES * BATCH
        trainer.step()
    return GAIN_STEPS * SAMPLES * BATCH


def harm(seeds: int) -> dict[str, Any]:
    """All settings of harm and rescue: mean and interval of each figure."""
    starts = [bed.pretrained({MARKS[0]: ABLE}, seed) for seed in bar(range(seeds), "harm: SFT", seeds)]
    before = [bed.accuracy(start, halves(MARKS[0], seed)[1])[0] for seed, start in enumerate(starts)]
    runs: dict[str, list[dict[str, float]]] = {"before": [{"control": value} for value in before]}
    for setting in bar(SETTINGS, "harm", len(SETTINGS)):
        runs[setting.name] = [harmed(setting, start, seed) for seed, start in enumerate(starts)]
    return {"cells": means(runs), "runs": runs}


def cold(seeds: int) -> dict[str, Any]:
    """Cold starts with and without guard."""
    starts = [bed.pretrained({MARKS[0]: COLD}, seed) for seed in bar(range(seeds), "cold start: SFT", seeds)]
    before = [bed.accuracy(start, halves(MARKS[0], seed)[1])[0] for seed, start in enumerate(starts)]
    runs = {"before": [{"control": value} for value in before]}
    for scale, guarded in bar(STARTS, "cold start", len(STARTS)):
        name = f"cold start, {'mean-only' if scale == 'none' else 'group std'}{', guard' if guarded else ''}"
        runs[name] = [begun(scale, guarded, start, seed) for seed, start in enumerate(starts)]
    return {"cells": means(runs), "runs": runs}


def gain(seeds: int) -> dict[str, Any]:
    """Completions until the target on both sets, uniform against difficulty."""
    shown = {MARKS[0]: EASY, MARKS[1]: LEARNABLE} | dict.fromkeys(MARKS[2:], IMPOSSIBLE)
    starts = [bed.pretrained(shown, seed) for seed in bar(range(seeds), "gain: SFT", seeds)]
    runs: dict[str, dict[str, list[int]]] = {name: {} for name in ("mixed", "learnable")}
    work = [(name, curriculum) for name in runs for curriculum in CURRICULA]
    for name, curriculum in bar(work, "gain", len(work)):
        runs[name][curriculum] = [gained(name, curriculum, start, seed) for seed, start in enumerate(starts)]
    return {"cells": {name: times_fewer(found) for name, found in runs.items()}}


def means(runs: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and 95% interval over seeds of each figure."""
    return {name: {f: interval([run[f] for run in rows]) for f in rows[0]} for name, rows in runs.items()}


def table(found: Mapping[str, Any]) -> Table:
    """One row a figure."""
    grid = Table("setting", "figure", "mean", "95% interval", title="curricula on a transformer of 0.1M parameters")
    for part in ("harm", "cold"):
        for name, cell in found.get(part, {"cells": {}})["cells"].items():
            for figure, (mean, low, high) in cell.items():
                grid.add_row(name, figure, f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
    for name, c in found.get("gain", {"cells": {}})["cells"].items():
        grid.add_row(f"gain, {name}", "times fewer", f"{c['ratio']:.2f}", f"{c['low']:.2f} to {c['high']:.2f}")
    return grid


PARTS: Mapping[str, Callable[[int], dict[str, Any]]] = {"harm": harm, "cold": cold, "gain": gain}


def main(arguments: list[str] | None = None) -> None:
    """Run the parts and write what came out."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.curriculum_transformer", description="Curricula on a transformer."
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each setting")
    parser.add_argument("--only", choices=[*PARTS], help="one part; its file has its name")
    given = parser.parse_args(arguments)
    found = {name: part(given.seeds) for name, part in PARTS.items() if given.only in (None, name)}
    Console(width=140).print(table(found))
    for name, cells in found.items():
        keep(f"curriculum_transformer_{name}", cells)


if __name__ == "__main__":
    main()
