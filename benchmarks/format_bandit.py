"""A policy over three forms, trained by GRPO: the smallest thing that collapses.

Shares .28, .60, .12, accuracies .42, .30, .25, 32 prompts x 16 completions, learning rate 0.3, after Echo Chamber
(arXiv 2504.07912) in the manner of a bandit. The policy's true shares are known at every step, so the true onset is
the first step at which one is at least 0.9.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.made import group, record
from diagnostics.formats import RuleFormats
from rltrain.types import StepRecord

SHARES, ACCURACIES = (0.28, 0.60, 0.12), (0.42, 0.30, 0.25)
NAMES = ("code", "boxed_latex", "prose")
PROMPTS, SAMPLES, STEPS, RATE, LEVEL = 32, 16, 300, 0.3, 0.9
TEXTS = 12  # of each form


class Setting(NamedTuple):
    """One cell of the experiment."""

    name: str
    accuracies: tuple[float, ...] = ACCURACIES
    beta: float = 0.0
    bonus: tuple[float, ...] = (0.0, 0.0, 0.0)  # shaping reward of each form


SETTINGS = (
    Setting("no KL"),
    Setting("KL 0.01", beta=0.01),
    Setting("KL 0.1", beta=0.1),
    Setting("less accurate form rewarded", bonus=(0.0, 0.3, 0.0)),
    Setting("control: equal accuracies", accuracies=(0.32, 0.32, 0.32)),
)


@functools.cache
def written(form: int, number: int) -> str:
    """A completion in one of the three forms."""
    a, b = 3 + number, 40 - number
    return (
        f"def solve():\n    first = {a}\n    return first + {b}",
        f"We add the numbers: ${a} + {b} = {a + b}$, so\n$$\\boxed{{{a + b}}}$$",
        f"She starts with {a} apples and buys {b} more at the market. In the end that makes {a + b} apples.",
    )[form]


def run(setting: Setting, seed: int) -> Iterator[tuple[np.ndarray, StepRecord]]:
    """(true shares before the step's update, the step's record) of each step."""
    rng = np.random.default_rng(seed)
    start = np.log(np.array(SHARES))
    logits, accuracies, bonus = start.copy(), np.array(setting.accuracies), np.array(setting.bonus)
    named = [RuleFormats().format(written(form, 0)) for form in range(3)]
    assert tuple(named) == NAMES, named
    for step in range(1, STEPS + 1):
        p = softmax(logits)
        forms = rng.choice(3, (PROMPTS, SAMPLES), p=p)
        right = rng.random(forms.shape) < accuracies[forms]
        which = rng.integers(TEXTS, size=forms.shape)
        groups = [
            group(
                i,
                f"sums/{rng.integers(500)}",
                "What is the sum?",
                [written(f, n) for f, n in zip(forms[i].tolist(), which[i].tolist(), strict=True)],
                right[i].astype(float),
                [NAMES[f] for f in forms[i]],
                bonus[forms[i]],
            )
            for i in range(PROMPTS)
        ]
        made = record(step, groups)
        yield p, made
        advantages = np.array([[a.value for a in g.advantages] for g in made.groups])
        logits = logits + RATE * gradient(p, forms, advantages, setting.beta, softmax(start))


def gradient(p: np.ndarray, forms: np.ndarray, advantages: np.ndarray, beta: float, start: np.ndarray) -> np.ndarray:
    """(3,) of mean advantage x log p, minus beta times KL(p, start), by the logits."""
    policy = (advantages[..., None] * (np.eye(len(p))[forms] - p)).mean((0, 1))
    log_ratio = np.log(p / start)
    return policy - beta * p * (log_ratio - (p * log_ratio).sum())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    e = np.exp(logits - logits.max())
    return e / e.sum()
