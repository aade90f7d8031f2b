"""Are the beliefs of the difficulty curriculum right, and does what becomes learnable come back? (a minute, one core)

    python -m benchmarks.curriculum_calibration [--seeds 5]

Learners made of numbers: 300 prompts in three levels, eight completions a group, eight groups a step, 400 steps. Of a
prompt that is drawn again the posterior mean at the draw is held against the share that then succeeds. Of each prompt
that lies in quarantine when its pass rate reaches 2/G and stays there, the visits until it is released are counted;
the promise is four. The last two learners were written when the curriculum was finished, and changed nothing in it.
Beside the figures, `curriculum_reliability.png` draws predicted against observed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.learners import Columns, number, tried
from benchmarks.tell import bar, keep
from curricula.difficulty import Difficulty
from curricula.pools import Pool

PROMPTS, STEPS, BATCH, SAMPLES, PROMISE = 300, 400, 8, 8, 4
LEVELS = np.arange(PROMPTS) % 3
Rates = Callable[[float], np.ndarray]
"""Share of the run done -> (PROMPTS,) pass rates."""


def logistic(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def improves(rng: np.random.Generator) -> Rates:
    """All prompts become easier, steadily; they differ."""
    start = rng.normal(-4, 2, PROMPTS) - LEVELS
    return lambda t: logistic(start + 6 * t)


def stagnates(rng: np.random.Generator) -> Rates:
    """Nothing changes."""
    rates = logistic(rng.normal(-1, 2.5, PROMPTS))
    return lambda t: rates


def forgets(rng: np.random.Generator) -> Rates:
    """What was easy is lost while the rest improves."""
    start, drift = rng.normal(0, 3, PROMPTS), rng.choice([-5.0, 5.0], PROMPTS)
    return lambda t: logistic(start + drift * t)


def jumps(rng: np.random.Generator) -> Rates:
    """Each hard prompt is learned at once, at a time of its own; the others stand."""
    start, when = rng.normal(-2, 2.5, PROMPTS), rng.uniform(0.2, 0.7, PROMPTS)
    return lambda t: np.where((start < -2) & (t > when), 0.5, logistic(start))


def follows(rng: np.random.Generator) -> Rates:
    """The easiest level is learned first, each next one a quarter of the run after it."""
    start = rng.normal(-5, 1, PROMPTS)
    return lambda t: logistic(start + 8 * np.clip(4 * t - LEVELS, 0, 1))


def waves(rng: np.random.Generator) -> Rates:
    """Skill comes, goes and comes back."""
    start, phase = rng.normal(-2, 2, PROMPTS), rng.uniform(0, 0.3, PROMPTS)
    return lambda t: logistic(start + 3 * np.sin(2 * np.pi * (t + phase)))


def mostly_impossible(rng: np.random.Generator) -> Rates:
    """A tenth becomes learnable in the second half, the rest never."""
    late = rng.random(PROMPTS) < 0.1
    return lambda t: np.where(late & (t > 0.5), 0.35, 0.002)


def wanders(rng: np.random.Generator) -> Rates:
    """The logit of each prompt walks by chance, on the whole upward."""
    path = rng.normal(-3, 2, PROMPTS) + np.cumsum(rng.normal(0.015, 0.15, (STEPS + 1, PROMPTS)), 0)
    return lambda t: logistic(path[round(t * STEPS)])


def families(rng: np.random.Generator) -> Rates:
    """Thirty families that neither source nor level tells of, each learned in a short climb at a time of its own."""
    start, when = rng.normal(-4, 1.5, PROMPTS), rng.uniform(0, 1, 30)[rng.integers(30, size=PROMPTS)]
    return lambda t: logistic(start + 6 * np.clip((t - when) / 0.05, 0, 1))


LEARNERS = (improves, stagnates, forgets, jumps, follows, waves, mostly_impossible, wanders, families)


def watch(learner: Callable[[np.random.Generator], Rates], seed: int) -> dict[str, Any]:
    """(predicted, observed) of each prompt drawn again; visits to release of each prompt that became learnable."""
    rng = np.random.default_rng(seed)
    rates, curriculum = learner(rng), Difficulty(Columns(["a"] * PROMPTS, LEVELS), seed=seed)
    pairs: list[tuple[float, float]] = []
    seen, waiting, visits = set(), {}, []
    course = np.array([rates(step / STEPS) for step in range(STEPS)])
    for step in range(STEPS):
        tasks = curriculum.sample(BATCH)
        beliefs = {
            r["prompt"]: r["alpha"] / (r["alpha"] + r["beta"]) for r in curriculum.decisions() if r["action"] != "move"
        }
        groups = tried(tasks, course[step].__getitem__, rng, step, SAMPLES)
        curriculum.observe(groups)
        pairs += [(beliefs[g.task.key], float(np.mean(g.outcomes))) for g in groups if g.task.key in seen]
        seen |= {g.task.key for g in groups}
        pool = curriculum.state_dict()["shelf"]["pool"]
        able = course[step:].min(0) >= 2 / SAMPLES  # from now to the end
        for row in [number(task) for task in tasks]:
            if row in waiting:
                waiting[row] += 1
        for row in np.flatnonzero(able & (pool == Pool.QUARANTINED)).tolist():
            waiting.setdefault(row, 0)
        visits += [waiting.pop(row) for row in list(waiting) if pool[row] != Pool.QUARANTINED]
    open_ = [count for count in waiting.values() if count >= PROMISE]  # the promise is broken already
    return {"pairs": pairs, "visits": visits + open_, "undecided": len(waiting) - len(open_)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Calibration error, its bins, and the share that came back in time."""
    predicted, observed = np.array([pair for run in runs for pair in run["pairs"]]).T
    place = np.minimum((predicted * 10).astype(int), 9)
    bins = [
        {
            "predicted": float(predicted[here].mean()),
            "observed": float(observed[here].mean()),
            "visits": int(here.sum()),
        }
        for i in range(10)
        if (here := place == i).any()
    ]
    error = sum(b["visits"] * abs(b["predicted"] - b["observed"]) for b in bins) / len(predicted)
    visits = [count for run in runs for count in run["visits"]]
    return {
        "revisits": len(predicted),
        "bias": float((observed - predicted).mean()),
        "calibration_error": error,
        "bins": bins,
        "released": len(visits),
        "within_promise": float(np.mean(np.array(visits) <= PROMISE)) if visits else None,
        "undecided_at_end": sum(run["undecided"] for run in runs),
    }


def table(cells: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a learner."""
    grid = Table("learner", "revisits", "bias", "calibration error", "came back", f"within {PROMISE} visits",
                 "still waiting", title="beliefs against what came")  # fmt: skip
    for name, c in cells.items():
        share = "" if c["within_promise"] is None else f"{c['within_promise']:.1%}"
        grid.add_row(name, str(c["revisits"]), f"{c['bias']:+.3f}", f"{c['calibration_error']:.3f}",
                     str(c["released"]), share, str(c["undecided_at_end"]))  # fmt: skip
    return grid


def plot(cells: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Predicted against observed, a picture for each learner; the area of a point is its number of visits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 3, figsize=(7.5, 7.5), dpi=120, sharex=True, sharey=True)
    for place, (name, cell) in zip(axes.flat, cells.items(), strict=True):
        predicted, observed, visits = ([b[key] for b in cell["bins"]] for key in ("predicted", "observed", "visits"))
        place.plot([0, 1], [0, 1], color="0.7", linestyle="--")
        place.plot(predicted, observed, color="tab:blue", linewidth=1)
        place.scatter(predicted, observed, s=[count / 40 for count in visits], color="tab:blue", alpha=0.5)
        place.set_title(name.replace("_", " "), fontsize=10)
        place.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
    figure.supxlabel("predicted pass rate")
    figure.supylabel("observed on the next visit")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Run all learners and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.curriculum_calibration", description="Beliefs against what came.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each learner")
    seeds = parser.parse_args(arguments).seeds
    work = [(learner, seed) for learner in LEARNERS for seed in range(seeds)]
    runs: dict[str, list[dict[str, Any]]] = {}
    for learner, seed in bar(work, "calibration", len(work)):
        runs.setdefault(learner.__name__, []).append(watch(learner, seed))
    cells = {name: summary(found) for name, found in runs.items()}
    Console(width=140).print(table(cells))
    path = keep("curriculum_calibration", {"promise": PROMISE, "cells": cells})
    plot(cells, path.with_name("curriculum_reliability.png"))


if __name__ == "__main__":
    main()
