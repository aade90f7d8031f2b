"""Does a format take over, and does the alarm say so at the right step? (about fifteen minutes on one core)

    python -m benchmarks.format_collapse [--seeds 20] [--controls 40] [--only bandit|transformer|planted]

Three test beds with known truth, each read by the real diagnostic from real step records:
- `bandit`: `benchmarks/format_bandit.py`, a policy over three forms, after Echo Chamber (arXiv 2504.07912);
- `transformer`: `benchmarks/format_templates.py`, three templates of one task;
- `planted`: `benchmarks/format_planted.py`, shares that change at a step we choose, at once or over a ramp, in batches
  large and small, of prompts that are alike or differ; some stop short of the level, some change among the first steps.
The true onset is the first step at which the policy's own share of a form is at least 0.9. It can be told from
samples only as well as the share is steep there: at a slope of 0.001 a step (the bandit) five steps are 0.005 of
share, and 512 completions a step have a standard error of 0.013. How well an observer does who is told the bandit's
rule and sees the forms alone is measured beside (`benchmarks/format_oracle.py`).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import format_bandit, format_planted
from benchmarks.format_oracle import Observer
from benchmarks.tell import bar, keep
from diagnostics.format_diversity import FormatDiagnostic
from rltrain.types import StepRecord

LEVEL, WITHIN = 0.9, 5
FIRST_SEED = 2000  # the alarm was built on others, up to 1039
BEDS = ("bandit", "planted", "transformer")


def judged(
    steps: Iterable[tuple[np.ndarray, StepRecord]], names: tuple[str, ...], observer: Observer | None = None
) -> dict[str, Any]:
    """The truth of a run, what the diagnostic said of it, and what an observer says who knows the rule."""
    diagnostic, events, true, shares, metrics = FormatDiagnostic(), [], None, np.zeros(3), {}
    for shares, made in steps:
        if observer is not None:
            counted = Counter(name for of in made.groups for name in of.formats)
            observer.observe(made.step, np.array([counted[name] for name in names], float))
        if true is None and shares.max() >= LEVEL:
            true = made.step
        metrics = diagnostic.observe(made)
        events += diagnostic.events()
    alarm = next((event for event in events if event.name == "format_collapse"), None)
    return {
        "true_onset": true,
        "winner": names[int(shares.argmax())],
        "share": float(shares.max()),
        "effective": metrics["format/effective"],
        "alarm": alarm and alarm.step,
        "onset": alarm and alarm.evidence["onset_step"],
        "oracle": observer and observer.alarm,
        "alarm_winner": alarm and alarm.evidence["winner"],
        "wrong_winner": any(event.name == "format_wrong_winner" for event in events),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How often there was a collapse, an alarm, and how far apart they were."""
    both = [run for run in runs if run["true_onset"] and run["alarm"]]
    late = np.array([run["alarm"] - run["true_onset"] for run in both])
    off = np.array([run["onset"] - run["true_onset"] for run in both])
    best = np.array([run["oracle"] - run["true_onset"] for run in both if run.get("oracle")])
    return {
        "runs": len(runs),
        "collapsed": sum(bool(run["true_onset"]) for run in runs),
        "alarms": sum(bool(run["alarm"]) for run in runs),
        "false_alarms": sum(bool(run["alarm"]) and not run["true_onset"] for run in runs),
        "missed": sum(bool(run["true_onset"]) and not run["alarm"] for run in runs),
        "true_onset": float(np.median([run["true_onset"] for run in both])) if both else None,
        "alarm_within": float((np.abs(late) <= WITHIN).mean()) if both else None,
        "alarm_lateness": quartiles(late) if both else None,
        "onset_within": float((np.abs(off) <= WITHIN).mean()) if both else None,
        "onset_error": quartiles(off) if both else None,
        "oracle_within": float((np.abs(best) <= WITHIN).mean()) if len(best) else None,
        "oracle_lateness": quartiles(best) if len(best) else None,
        "wrong_winner": sum(run["wrong_winner"] for run in runs),
        "share": float(np.mean([run["share"] for run in runs])),
        "effective": float(np.mean([run["effective"] for run in runs])),
        "winners": {name: sum(run["winner"] == name for run in runs) for name in sorted({r["winner"] for r in runs})},
    }


def quartiles(values: np.ndarray) -> list[float]:
    """Lowest, lower quartile, median, upper quartile, highest."""
    return [float(v) for v in np.percentile(values, [0, 25, 50, 75, 100])]


def work(seeds: int, controls: int, bed: str) -> dict[str, list[Any]]:
    """For each setting of a test bed the runs to make, each a function of nothing."""
    if bed == "transformer":
        return transformers()
    if bed == "planted":
        return {
            setting.name: [
                lambda s=setting, seed=seed: judged(format_planted.run(s, seed), format_bandit.NAMES)
                for seed in range(FIRST_SEED, FIRST_SEED + seeds)
            ]
            for setting in format_planted.PLANTED
        }
    return {
        setting.name: [
            lambda s=setting, seed=seed: judged(format_bandit.run(s, seed), format_bandit.NAMES, Observer(s, seed))
            for seed in range(FIRST_SEED, FIRST_SEED + (controls if "control" in setting.name else seeds))
        ]
        for setting in format_bandit.SETTINGS
    }


def transformers() -> dict[str, list[Any]]:
    """The runs of the transformer; policies are pretrained when first needed."""
    import torch

    from benchmarks import format_templates

    torch.set_num_threads(1)
    starts: dict[tuple[float, ...], Any] = {}

    def one(setting: format_templates.Setting, seed: int) -> dict[str, Any]:
        if setting.accuracies not in starts:
            starts[setting.accuracies] = format_templates.pretrained(setting.accuracies)
        steps = format_templates.run(setting, starts[setting.accuracies], seed)
        return judged(steps, format_templates.NAMES)

    return {
        setting.name: [
            lambda s=setting, seed=seed: one(s, seed) for seed in range(FIRST_SEED, FIRST_SEED + setting.runs)
        ]
        for setting in format_templates.SETTINGS
    }


def table(cells: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a setting."""
    grid = Table("setting", "collapsed", "true onset", "share", "effective", "alarms", "false", "missed",
                 "alarm late by (quartiles)", "alarm within 5", "oracle", "onset within 5", "wrong winner", "winners",
                 title="format collapse")  # fmt: skip
    for name, c in cells.items():
        late = "" if c["alarm_lateness"] is None else " ".join(f"{v:.0f}" for v in c["alarm_lateness"])
        grid.add_row(name, f"{c['collapsed']} of {c['runs']}", f"{c['true_onset'] or 0:.0f}", f"{c['share']:.2f}",
                     f"{c['effective']:.2f}", str(c["alarms"]), str(c["false_alarms"]), str(c["missed"]), late,
                     percent(c["alarm_within"]), percent(c["oracle_within"]), percent(c["onset_within"]),
                     str(c["wrong_winner"]), ", ".join(f"{n} {k}" for n, k in c["winners"].items()))  # fmt: skip
    return grid


def percent(share: float | None) -> str:
    """A share as a person reads it."""
    return "" if share is None else f"{share:.0%}"


def main(arguments: list[str] | None = None) -> None:
    """Run the test beds asked for, all by default, and write what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.format_collapse", description="The collapse alarm, measured.")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each setting of bandit and planted")
    parser.add_argument("--controls", type=int, default=40, help="runs of the bandit with equal accuracies")
    parser.add_argument("--only", choices=BEDS, help="one test bed")
    asked = parser.parse_args(arguments)
    for bed in [asked.only] if asked.only else BEDS:
        jobs = work(asked.seeds, asked.controls, bed)
        flat = [(name, job) for name, of in jobs.items() for job in of]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
        for name, job in bar(flat, f"format collapse: {bed}", len(flat)):
            runs[name].append(job())
        cells = {name: summary(of) for name, of in runs.items()}
        Console(width=200).print(table(cells))
        keep(f"format_collapse_{bed}", {"cells": cells, "runs": runs})


if __name__ == "__main__":
    main()
