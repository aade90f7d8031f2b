"""Shares of three forms that change at a step we choose: the truth to the step, and batches as small as we like.

A policy's completions of one prompt are more alike than those of two: where `taste` is given, each prompt has shares of
its own about those of the step (Dirichlet, of so many completions), which correlates its completions by 1/(taste + 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks import format_bandit
from benchmarks.made import group, record
from rltrain.types import StepRecord

REST = np.array([0.6, 0.4])  # of what the first form leaves at the start; in the end both have half
TASTE = 8.0


class Planted(NamedTuple):
    """The first form has `start` until `begins`, and `level` after a ramp of so many steps."""

    name: str
    ramp: int = 1
    prompts: int = 32
    begins: int = 80
    level: float = 0.96
    start: float = 0.5
    samples: int = 16  # completions of a prompt
    taste: float | None = None  # None: all prompts have the shares of the step
    steps: int = 160


def independent() -> tuple[Planted, ...]:
    """Completions that are independent given the step: takeovers, and shares that stop short of the level."""
    return (
        Planted("planted, at once, 32 x 16 a step"),
        Planted("planted, ramp of 10, 32 x 16 a step", 10),
        Planted("planted, ramp of 40, 32 x 16 a step", 40),
        Planted("planted, at once, 8 x 8 a step", prompts=8, samples=8),
        Planted("planted, ramp of 20, 8 x 8 a step", 20, prompts=8, samples=8),
        Planted("planted, at once, 4 x 16 a step", prompts=4),
        Planted("planted, ramp of 20, 4 x 16 a step", 20, prompts=4),
        *(
            Planted(
                f"planted, {way} to {level:.2f} and no further, {prompts} x {samples} a step",
                ramp, prompts, level=level, samples=samples,
            )
            for prompts, samples in ((32, 16), (8, 8), (4, 16))
            for level in (0.80, 0.85, 0.88)
            for way, ramp in (("at once", 1), ("ramp of 30", 30))
        ),
    )  # fmt: skip


def alike() -> tuple[Planted, ...]:
    """Prompts that differ: completions of one are alike, and a step may have one group."""
    return tuple(
        Planted(
            f"planted, prompts differ, at once{'' if level == 0.96 else f' to {level:.2f} and no further'}, "
            f"{prompts} x {samples} a step",
            prompts=prompts, samples=samples, level=level, taste=TASTE, steps=240,
        )
        for level in (0.96, 0.85, 0.80)
        for prompts, samples in ((1, 8), (1, 16), (4, 16), (8, 8))
    )  # fmt: skip


def early() -> tuple[Planted, ...]:
    """Takeovers among the first five steps, which stand for the base model."""
    return tuple(
        Planted(
            f"planted, from .30 after step {begins - 1}, {prompts} x {samples} a step",
            prompts=prompts, samples=samples, begins=begins, start=0.3,
        )
        for begins in (3, 2)
        for prompts, samples in ((32, 16), (8, 8), (4, 16))
    )  # fmt: skip


PLANTED = (*independent(), *alike(), *early())


def run(setting: Planted, seed: int) -> Iterator[tuple[np.ndarray, StepRecord]]:
    """(true shares (3,), record) of each step."""
    rng = np.random.default_rng([seed, 7])
    base = np.array([setting.start, *(1 - setting.start) * REST])
    end = np.array([setting.level, *(2 * [(1 - setting.level) / 2])])
    for step in range(1, setting.steps + 1):
        done = min(max((step - setting.begins + 1) / setting.ramp, 0.0), 1.0)
        shares = base + done * (end - base)
        forms = drawn(rng, shares, setting)
        right = (rng.random(forms.shape) < 0.3).astype(float)
        groups = [
            group(
                i,
                f"sums/{i}",
                "What is the sum?",
                [format_bandit.written(f, 0) for f in forms[i].tolist()],
                right[i],
                [format_bandit.NAMES[f] for f in forms[i]],
            )
            for i in range(setting.prompts)
        ]
        yield shares, record(step, groups)


def drawn(rng: np.random.Generator, shares: np.ndarray, setting: Planted) -> np.ndarray:
    """(prompts, samples) forms of a step."""
    if setting.taste is None:
        return rng.choice(3, (setting.prompts, setting.samples), p=shares)
    own = rng.dirichlet(setting.taste * shares, setting.prompts)
    return np.array([rng.choice(3, setting.samples, p=p) for p in own])
