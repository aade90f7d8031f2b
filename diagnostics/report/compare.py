"""Several runs against the first: differences with bootstrap intervals, and what their configs and tasks differ in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diagnostics.report import rollouts
from diagnostics.report.text import shown
from rltrain.metrics import METRICS
from rltrain.records import RunFiles

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000
MOST_STEPS = 150  # of each run, of which completions are compared
WINDOW = 12  # groups of a task that a difference rests on
FEWEST_STEPS = 8  # in common, below which nothing is said of a metric
COMPARED = (
    "reward/outcome_all", "reward/mean_all", "eval/outcome", "entropy/mean", "entropy/gap", "plan/variety",
    "format/effective", "shortcut/advantage_mass", "length/mean", "throughput/tokens_per_s", "time/step_s",
)  # fmt: skip


class Difference(NamedTuple):
    """A run minus the first one, at steps, with a 95% interval."""

    steps: np.ndarray  # (S,)
    value: np.ndarray  # (S,)
    low: np.ndarray  # (S,)
    high: np.ndarray  # (S,)


class Change(NamedTuple):
    """A metric's mean over the steps two runs share, of a run and of the first one."""

    name: str
    unit: str
    first: float
    other: float
    difference: float
    low: float  # 95% interval of the difference
    high: float
    steps: int


Tables = tuple["pd.DataFrame", "pd.DataFrame"]
"""Rows a group (`rollouts.groups`) of the first run and of another one."""


def tables(first: RunFiles, other: RunFiles, *, by_tokens: bool = False) -> Tables:
    """The groups of two runs at the steps both have, or after as many tokens; of at most `MOST_STEPS`.

    In both, `step` is that of the other run.
    """
    import pandas as pd

    meets = _nearest(first, other) if by_tokens else {s: s for s in {*first.rollout_steps()} & {*other.rollout_steps()}}
    chosen = rollouts.sampled(sorted(meets), MOST_STEPS)
    places = pd.DataFrame({"place": chosen, "step": [meets[step] for step in chosen]}, dtype=int)
    met = rollouts.groups(first, steps=sorted({*places["step"]})).merge(places, on="step")
    return met.assign(step=met.pop("place")), rollouts.groups(other, steps=chosen)


def _nearest(first: RunFiles, other: RunFiles) -> dict[int, int]:
    """Steps of the other run -> the first one's after most nearly as many tokens; none where the first had ended."""
    (steps, tokens), (places, spent) = (_spent(run) for run in (first, other))
    if len(tokens) < 2:
        return {}
    nearest = np.abs(spent[:, None] - tokens[None, :]).argmin(axis=1)
    within = spent <= tokens[-1] + np.median(np.diff(tokens)) / 2
    return dict(zip(places[within].tolist(), steps[nearest[within]].tolist(), strict=True))


def _spent(run: RunFiles) -> tuple[np.ndarray, np.ndarray]:
    """Steps (S,) whose completions are there, and the tokens (S,) trained by then."""
    if "tokens/total" not in run.metrics:
        return np.array([], int), np.array([])
    known = run.metrics[["step", "tokens/total"]].dropna()
    known = known[known["step"].isin(run.rollout_steps())]
    return known["step"].to_numpy(int), known["tokens/total"].to_numpy(float)


def common_sources(pairs: Sequence[Tables]) -> list[str]:
    """The tasks that the first run shares with any other, by name."""
    shared = (set(first["source"]) & set(other["source"]) for first, other in pairs)
    return sorted(set().union(*shared) - {""})


def outcomes(first: pd.DataFrame, other: pd.DataFrame, seed: int = 0, *, least: int = 0) -> Difference:
    """Mean outcome of the other run's groups minus the first's, by step, difference and interval by a bootstrap.

    The bootstrap is over groups. `least`: so many groups of either run stand together, of several steps if need be.
    """
    known = [table[table["judged"] > 0] for table in (first, other)]
    pair = [_by_step(table) for table in _pooled(*known, least)]
    rng = np.random.default_rng(seed)
    rows = []
    for step in sorted(pair[0].keys() & pair[1].keys()):
        both = [of[step] for of in pair]
        if min(map(len, both)) >= rollouts.FEWEST_GROUPS:
            means = [_resampled(of, rng) for of in both]
            low, high = np.percentile(means[1] - means[0], (2.5, 97.5))
            value = both[1][:, 0].sum() / both[1][:, 1].sum() - both[0][:, 0].sum() / both[0][:, 1].sum()
            rows.append((step, value, low, high))
    return Difference(*np.array(rows, float).reshape(-1, 4).T)


def _pooled(first: pd.DataFrame, other: pd.DataFrame, least: int) -> Tables:
    """Both with the middle of a stretch in place of each step, stretches of equally many steps in both."""
    steps = np.intersect1d(first["step"], other["step"])
    if not len(steps) or not least:
        return first, other
    fewest = min(np.median(np.unique(table["step"], return_counts=True)[1]) for table in (first, other))
    size = math.ceil(least / fewest)
    starts = steps[::size]
    middles = np.array([steps[i : i + size].mean() for i in range(0, len(steps), size)])
    within = (table[table["step"].isin(steps)] for table in (first, other))
    one, two = (of.assign(step=middles[np.searchsorted(starts, of["step"], side="right") - 1]) for of in within)
    return one, two


def _by_step(table: pd.DataFrame) -> dict[float, np.ndarray]:
    """Step -> sum and number of the outcomes of each group, (G, 2)."""
    return {float(step): of[["outcome", "judged"]].to_numpy(float) for step, of in table.groupby("step")}


def _resampled(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of groups drawn with replacement, (RESAMPLES,)."""
    drawn = groups[rng.integers(len(groups), size=(RESAMPLES, len(groups)))].sum(axis=1)
    return drawn[:, 0] / drawn[:, 1]


def changes(first: RunFiles, other: RunFiles, seed: int = 0) -> list[Change]:
    """`COMPARED` over the second half of the steps both have: the interval is a moving-block bootstrap over steps.

    Blocks of about n^(1/3) steps keep what neighbours have in common (Kuensch 1989); paired, since step by step both
    runs stand at the same place.
    """
    found = []
    for name in COMPARED:
        if name not in first.metrics or name not in other.metrics:
            continue
        pair = first.metrics[["step", name]].dropna().merge(other.metrics[["step", name]].dropna(), on="step")
        a, b = pair.iloc[len(pair) // 2 :, 1:].to_numpy(float).T
        if len(a) < FEWEST_STEPS:
            continue
        low, high = block_interval(b - a, seed)
        figures = (float(value) for value in (a.mean(), b.mean(), (b - a).mean(), low, high))
        found.append(Change(name, METRICS[name].unit, *figures, len(a)))
    return found


def block_interval(values_N: np.ndarray, seed: int) -> tuple[float, float]:
    """95% interval of the mean of a series by a moving-block bootstrap."""
    count = len(values_N)
    size = max(1, round(count ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(count - size + 1, size=(RESAMPLES, math.ceil(count / size)))
    places = (starts[:, :, None] + np.arange(size)).reshape(RESAMPLES, -1)[:, :count]
    low, high = np.percentile(values_N[places].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def config_changes(runs: Sequence[RunFiles]) -> list[tuple[str, list[str]]]:
    """The keys in which the runs' configs differ, dotted, with each run's value as JSON; a dash where it has none."""
    flat = [dict(_flat(run.config)) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = [(key, [config.get(key, "-") for config in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flat(value: Any, lead: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        parts: Any = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        parts = enumerate(value)
    else:
        yield lead, json.dumps(value, ensure_ascii=False, default=str)
        return
    for key, item in parts:
        yield from _flat(item, f"{lead}.{key}" if lead else str(key))


def unlike(runs: Sequence[RunFiles]) -> list[str]:
    """Why the runs may not be held against each other: other tasks, no common steps, steps not counted in tokens."""
    told = []
    sources = [_sources(run) for run in runs]
    for run, own in zip(runs[1:], sources[1:], strict=True):
        if sources[0] != own and sources[0] and own:
            one, other = shown(runs[0].name), shown(run.name)
            apart = ((one, sources[0] - own), (other, own - sources[0]))
            only = [f"only in {name}: {', '.join(map(shown, sorted(found)))}" for name, found in apart if found]
            told.append(f"The tasks of {one} and {other} differ ({'; '.join(only)}): compare them by task.")
    return told


def _sources(run: RunFiles) -> set[str]:
    lead = "reward/outcome_all@"
    return {name.removeprefix(lead) for name in run.metrics.columns if name.startswith(lead)}
