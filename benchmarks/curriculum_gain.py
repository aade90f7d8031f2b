"""What the difficulty curriculum saves: completions until a held-out target, against uniform (a minute, one core).

    python -m benchmarks.curriculum_gain [--seeds 5]

A learner made of numbers, after Rasch: skills in logits; a prompt needs one of them and has an offset, and is solved
with the logistic of their difference. Groups of eight are rewarded 0 or 1, advantages are the mean-only ones of the
trainer, and the skills follow their policy gradient. Mixed set: a tenth easy (.97), a fifth learnable (.1 to .5), the
rest near-impossible (.002). Learnable set: all of the middle kind, where a curriculum can only cost. The target is .8
on held-out prompts of the learnable kind. With 1 skill all that is learned helps everywhere, with 16 only on a
sixteenth of the prompts. It says nothing about a language model; it says what choosing prompts is worth where a prompt
teaches in proportion to p(1 - p).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.learners import Columns, number, tried
from benchmarks.tell import bar, keep
from curricula.difficulty import Difficulty
from curricula.uniform import Uniform
from rltrain.advantages import assign

PROMPTS, BATCH, SAMPLES, RATE, STEPS, TARGET = 1000, 8, 8, 0.3, 4000, 0.8
SETS = {"mixed": (0.1, 0.2, 0.7), "learnable": (0.0, 1.0, 0.0)}  # shares of easy, learnable, near-impossible
SKILLS = (1, 4, 16)
HELD_OUT = 320
CURRICULA: Mapping[str, Callable[..., Any]] = {"uniform": Uniform, "difficulty": Difficulty}


def logit(p: np.ndarray | float) -> np.ndarray:
    """Log odds."""
    return np.log(p) - np.log1p(-np.asarray(p))


def offsets(rng: np.random.Generator, shares: tuple[float, float, float], count: int) -> np.ndarray:
    """(count,) how hard each prompt is for a skill of 0."""
    kind = rng.choice(3, count, p=shares)
    rates = np.choose(kind, [0.97, rng.uniform(0.1, 0.5, count), 0.002])
    return -logit(rates)


def sampled(curriculum: Callable[..., Any], shares: tuple[float, float, float], count: int, seed: int) -> int:
    """Completions sampled until a learner with this many skills reaches the held-out target."""
    rng = np.random.default_rng(seed)
    hard, skill_of = offsets(rng, shares, PROMPTS), rng.integers(count, size=PROMPTS)
    held_out = offsets(rng, (0.0, 1.0, 0.0), HELD_OUT), np.arange(HELD_OUT) % count
    chooser, skills = curriculum(Columns(["all"] * PROMPTS), seed=seed), np.zeros(count)
    for step in range(STEPS):
        if (1 / (1 + np.exp(held_out[0] - skills[held_out[1]]))).mean() >= TARGET:
            return step * BATCH * SAMPLES
        rates = 1 / (1 + np.exp(hard - skills[skill_of]))
        groups = tried(chooser.sample(BATCH), rates.__getitem__, rng, step, SAMPLES)
        chooser.observe(groups)
        for group in assign(groups, {}, scale="none", combine="sum_then_normalize"):
            row = number(group.task)
            push = sum(a.value * (s.total - rates[row]) for a, s in zip(group.advantages, group.scores, strict=True))
            skills[skill_of[row]] += RATE * push / SAMPLES * count / BATCH
    return STEPS * BATCH * SAMPLES


def summary(runs: Mapping[str, list[int]]) -> dict[str, Any]:
    """Geometric mean of uniform / difficulty over the seeds, with a bootstrap interval."""
    ratios = np.log(np.array(runs["uniform"]) / np.array(runs["difficulty"]))
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios))).mean(1)
    low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
    return {"ratio": float(np.exp(ratios.mean())), "low": float(low), "high": float(high), "completions": dict(runs)}


def main(arguments: list[str] | None = None) -> None:
    """Run all and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_gain", description="Completions until a target.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    seeds = parser.parse_args(arguments).seeds
    places = {f"{name}, {count} skill(s)": (name, count) for name in SETS for count in SKILLS}
    work = [(place, curriculum, seed) for place in places for curriculum in CURRICULA for seed in range(seeds)]
    runs: dict[str, dict[str, list[int]]] = {place: {} for place in places}
    for place, curriculum, seed in bar(work, "gain", len(work)):
        name, count = places[place]
        found = sampled(CURRICULA[curriculum], SETS[name], count, seed)
        runs[place].setdefault(curriculum, []).append(found)
    cells = {name: summary(found) for name, found in runs.items()}
    grid = Table("set", "uniform", "difficulty", "times fewer", "95% interval", title="completions until .8 held out")
    for name, c in cells.items():
        means = [f"{np.mean(c['completions'][one]):,.0f}" for one in CURRICULA]
        grid.add_row(name, *means, f"{c['ratio']:.2f}", f"{c['low']:.2f} to {c['high']:.2f}")
    Console(width=120).print(grid)
    keep("curriculum_gain", {"target": TARGET, "cells": cells})


if __name__ == "__main__":
    main()
