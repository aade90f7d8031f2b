"""What the pictures take from a run's rollouts: a row a group, of some of the steps, and intervals of its means.

Of a long run's steps as many are read as a picture can show, evenly spaced; of a table only the columns needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from diagnostics.student import student_t
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd

MOST_STEPS = 300  # whose completions are read
FEWEST_GROUPS = 3  # below which no interval is given
COLUMNS = ("step", "group", "source", "admitted", "outcome", "reward", "advantage", "error")
NUMBERS = ("step", "outcome", "reward", "advantage")


class Means(NamedTuple):
    """Means of a step with a 95% interval; NaN where there are too few groups for one."""

    steps: np.ndarray  # (S,)
    mean: np.ndarray  # (S,)
    low: np.ndarray  # (S,)
    high: np.ndarray  # (S,)


def sampled(steps: Sequence[int], most: int = MOST_STEPS) -> list[int]:
    """At most so many of the steps, evenly spaced, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    places = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
    return [steps[i] for i in places]


def coverage(run: RunFiles, most: int = MOST_STEPS) -> list[str]:
    """What of the rollouts a picture does not rest on, in words."""
    steps = run.rollout_steps()
    if not steps:
        return ["no rollouts, so nothing that rests on single completions: no intervals, no difficulty, no signal"]
    return [f"completions read of {most} of {len(steps):,} steps, evenly spaced"] if len(steps) > most else []


def groups(run: RunFiles, most: int = MOST_STEPS, steps: Sequence[int] | None = None) -> pd.DataFrame:
    """A row a group of the sampled steps, or of those given: `step`, `source`, `admitted`, `completions`, `judged`,
    `outcome` (the sum), `successes` (outcomes of a half or more), `rewarded`, `reward` (the sum) and `mass` (the sum
    of |advantage|). Empty without rollouts.
    """
    import pandas as pd

    chosen = sampled(run.rollout_steps(), most) if steps is None else steps
    rows = run.rollouts(chosen, COLUMNS)
    numbers = {name: pd.to_numeric(rows[name], errors="coerce").astype(float) for name in NUMBERS}  # as a file may be
    rows = rows.assign(**numbers).dropna(subset=["step", "group"])
    rewards = rows["reward"].where(rows["error"].isna())  # a failed judgement has a 0 there that nobody gave
    made = rows.assign(
        admitted=rows["admitted"].ne(False),
        source=rows["source"].astype("string").fillna(""),
        judged=rows["outcome"].notna(),
        outcome=rows["outcome"].fillna(0.0),
        successes=rows["outcome"] >= 0.5,
        rewarded=rewards.notna(),
        reward=rewards.fillna(0.0),
        mass=rows["advantage"].abs().fillna(0.0),
        completions=1,
    )
    sums = ["completions", "judged", "outcome", "successes", "rewarded", "reward", "mass"]
    kinds = {"source": "first", "admitted": "all"} | dict.fromkeys(sums, "sum")
    return made.groupby(["step", "group"], sort=True).agg(kinds).reset_index()


def windows(of_groups: pd.DataFrame, least: int, most: int = 60) -> tuple[pd.DataFrame, int]:
    """The rows with the middle of a window in place of each step, and how many of the steps a window has.

    A window has `least` groups as a rule, and there are about `most` of them; less than half a window at the end goes
    to the one before.
    """
    steps, counts = np.unique(of_groups["step"].to_numpy(), return_counts=True)
    if not len(steps):
        return of_groups, 1
    size = max(1, math.ceil(least / np.median(counts)), math.ceil(len(steps) / most))
    window = np.minimum(np.arange(len(steps)) // size, max(1, (len(steps) + size // 2) // size) - 1)
    middles = np.bincount(window, steps) / np.bincount(window)
    return of_groups.assign(step=middles[window[np.searchsorted(steps, of_groups["step"])]]), size


def interval(of_groups: pd.DataFrame, of: Literal["outcome", "reward"] = "outcome") -> Means:
    """Mean of each step and its interval, from the groups' means: completions of a prompt are not independent.

    A ratio of sums with Student's t over the groups; that of the outcome within [0, 1].
    """
    counted = {"outcome": "judged", "reward": "rewarded"}[of]
    known = of_groups[of_groups[counted] > 0]
    steps, place = np.unique(known["step"].to_numpy(), return_inverse=True)
    size, total = known[counted].to_numpy(float), known[of].to_numpy(float)
    count = np.bincount(place, minlength=len(steps)).astype(float)
    sizes, totals = (np.bincount(place, weights, len(steps)) for weights in (size, total))
    mean = totals / np.maximum(sizes, 1)
    squares = np.bincount(place, (total - size * mean[place]) ** 2, len(steps))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(squares * count / (count - 1)) / sizes
    times = np.array([student_t(n - 1) if n >= FEWEST_GROUPS else np.nan for n in count])
    low, high = mean - times * error, mean + times * error
    return Means(steps, mean, *((low, high) if of == "reward" else (np.clip(low, 0, 1), np.clip(high, 0, 1))))
