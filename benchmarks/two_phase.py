"""Do the phases show where planning tokens are known? (five and a half minutes on two cores)

    python -m benchmarks.two_phase [--seeds 3] [--runs DIR]

For each seed a machine of its own (`benchmarks/state_machine.py`), a tiny transformer taught by SFT, GRPO through the
whole framework (`benchmarks/two_phase.yaml`: Ray, the `transformers` engine, rewards, tagger, trainer, diagnostics),
and pass@k of both policies on held-out problems as `rltrain eval` samples it. What is said of a run is read from the
files it leaves behind. Claims under test: the relative perplexity of execution falls by more than 20%, planning entropy
stays above execution entropy (arXiv 2509.03646); pass@1 rises and pass@k at large k does not (arXiv 2504.13837).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import small_policy
from benchmarks.tell import RESULTS, bar, keep
from rltrain import cluster, compare, diagnose, evaluate, launch, load_run
from rltrain import config as configs
from rltrain.types import Group

CONFIG = Path(__file__).with_suffix(".yaml")
SFT_STEPS = 900
SAMPLES, LARGE = 256, 64  # completions a held-out problem, and k: a fourth, so that the estimate is steady
ENDS = 10  # steps that the start and the end of a run are means over
SERIES = ("ppl/execution_rel", "ppl/planning_rel", "entropy/execution", "entropy/planning", "entropy/gap",
          "entropy/gap_low", "plan/variety", "reward/outcome", "reward/part@solved/plan",
          "reward/part@solved/execution")  # fmt: skip


def one(seed: int, folder: Path) -> dict[str, Any]:
    """SFT, GRPO and evaluation of a seed, and what came of it."""
    taught, run = folder / f"sft-{seed}", folder / f"run-{seed}"
    begun = time.monotonic()
    small_policy.teach(taught, seed, SFT_STEPS, partial(bar, label=f"seed {seed}: SFT", total=SFT_STEPS))
    learned = time.monotonic()
    config = configs.load(CONFIG, [f"model.path={taught}", f"run.seed={seed}", f"run.dir={run}"])
    launch.train(config, CONFIG.stem, resume=None, twin=False, faults=())
    trained = time.monotonic()
    chosen = compare.subject(str(run), None)
    groups = compare.sample(chosen, compare.held_out(config, None), SAMPLES, Console(stderr=True))
    seconds = {"sft": learned - begun, "grpo": trained - learned, "evaluation": time.monotonic() - trained}
    load = os.getloadavg()[1]  # of the last five minutes: what else the machine did, with seconds to be read by it
    return {"seed": seed, "seconds": seconds, "load": load} | learning(run) | coverage(groups, seed)


def learning(run: Path) -> dict[str, Any]:
    """What the files of a run say about its course."""
    metrics = load_run(run).metrics
    series = {name: metrics[name].iloc[1:].to_numpy() for name in SERIES}  # step 0 is the evaluation before
    gap = series["entropy/gap"]
    return {
        "start": {name: float(values[:ENDS].mean()) for name, values in series.items()},
        "end": {name: float(values[-ENDS:].mean()) for name, values in series.items()},
        "perplexity_at_start": {
            kind: float(np.exp(-metrics[f"ppl/{kind}_logprob"].iloc[1 : 1 + ENDS].mean()))
            for kind in ("planning", "execution")
        },
        "half_fall_step": {kind: half_fall(series[f"ppl/{kind}_rel"]) for kind in ("planning", "execution")},
        "gap": {
            "lowest": float(gap.min()),
            "above": float((gap > 0).mean()),
            "surely_above": float((series["entropy/gap_low"] > 0).mean()),
        },
        "phase": json.loads((run / diagnose.FILE).read_text(encoding="utf-8"))["phase"],
        "phase_events": [
            {"step": event.step, "to": event.evidence["to"]}
            for event in load_run(run).events
            if event.name == "phase_changed"
        ],
        "series": {name: [round(float(value), 4) for value in values] for name, values in series.items()},
    }


def half_fall(relative: np.ndarray) -> int | None:
    """The step from which on the log of a relative perplexity (N,) has made half of its fall; None without a fall."""
    course = np.log(relative)
    end = course[-ENDS:].mean()
    above = np.flatnonzero(course > end / 2)
    return int(above[-1]) + 2 if end < 0 and len(above) else None


def coverage(groups: Mapping[str, Sequence[Group]], seed: int) -> dict[str, Any]:
    """pass@k before and after, what is solved by whom, and what that makes of the run."""
    compared = compare.compared(groups, seed=seed)["sources"][compare.ALL]
    before, after = (evaluate.outcomes(groups[name]) for name in ("base", "run"))
    ever = [(bool(before[key].any()), bool(after[key].any())) for key in before]
    solved = {
        "both": ever.count((True, True)),
        "base only": ever.count((True, False)),
        "run only": ever.count((False, True)),
        "none": ever.count((False, False)),
    }
    return {"pass": compared, "solved_in_any_sample": solved, "label": label(compared, solved["run only"])}


def label(figures: Mapping[str, Any], gained: int) -> str:
    """`expanded`: more is solved at large k, and what never was before; `sharpened`: more at 1 and no more there."""
    first, large = figures["pass@1"]["difference"], figures[f"pass@{LARGE}"]["difference"]
    if large["low"] > 0 and gained:
        return "expanded"
    return "sharpened" if first["low"] > 0 and large["mean"] <= 0 else "inconclusive"


def claims(run: Mapping[str, Any]) -> dict[str, bool]:
    """What was to be shown, and whether a run shows it."""
    return {
        "execution perplexity falls by more than 20%": run["end"]["ppl/execution_rel"] < 0.8,
        "planning entropy is above execution entropy in every step": run["gap"]["lowest"] > 0,
        "pass@1 rises": run["pass"]["pass@1"]["difference"]["low"] > 0,
        f"pass@{LARGE} does not rise": run["pass"][f"pass@{LARGE}"]["difference"]["low"] <= 0,
    }


def table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """One column a seed."""
    drawn = Table("", *(f"seed {run['seed']}" for run in runs), title="state machine: SFT, then GRPO")

    def row(name: str, of: Any) -> None:
        drawn.add_row(name, *(of(run) for run in runs))

    for kind in ("execution", "planning"):
        row(f"perplexity of {kind} at the start", lambda r, k=kind: f"{r['perplexity_at_start'][k]:.2f}")
        row("  relative to the start, at the end", lambda r, k=kind: f"{r['end'][f'ppl/{k}_rel']:.2f}")
        row("  half of the fall by step", lambda r, k=kind: str(r["half_fall_step"][k]))
        row(f"entropy of {kind}", lambda r, k=kind: course(r, f"entropy/{k}"))
    row("entropy gap: lowest", lambda r: f"{r['gap']['lowest']:+.2f}")
    row("  steps above 0; interval above 0", lambda r: f"{r['gap']['above']:.0%}; {r['gap']['surely_above']:.0%}")
    row("plan diversity", lambda r: course(r, "plan/variety"))
    row("actions right", lambda r: course(r, "reward/part@solved/plan"))
    row("moves right, given the action", lambda r: course(r, "reward/part@solved/execution"))
    for k in (1, LARGE, SAMPLES):
        row(f"pass@{k}", lambda r, k=k: "{base:.3f} -> {run:.3f}".format(**r["pass"][f"pass@{k}"]))
        row("  difference", lambda r, k=k: str(evaluate.Interval(**r["pass"][f"pass@{k}"]["difference"])))
    row("solved by base only; run only", lambda r: "{base only}; {run only}".format(**r["solved_in_any_sample"]))
    row("label", lambda r: r["label"])
    row("phase at the end", lambda r: f"{r['phase']['state']}, {r['phase']['confidence']:.2f}")
    row("  onset", lambda r: f"{r['phase']['onset_step']} {r['phase']['interval'] or ''}")
    row("seconds: SFT, GRPO, evaluation", lambda r: ", ".join(f"{s:.0f}" for s in r["seconds"].values()))
    for claim in claims(runs[0]):
        row(claim, lambda r, c=claim: "yes" if claims(r)[c] else "no")
    return drawn


def course(run: Mapping[str, Any], name: str) -> str:
    return f"{run['start'][name]:.2f} -> {run['end'][name]:.2f}"


def main(arguments: list[str] | None = None) -> None:
    """Run all seeds and write what came out."""
    from benchmarks.two_phase_picture import draw

    parser = argparse.ArgumentParser(prog="benchmarks.two_phase", description="Phases where planning tokens are known.")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--runs", type=Path, help="keep the run directories in this directory")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, cluster.session():
        runs = [one(seed, given.runs or Path(folder)) for seed in range(given.seeds)]
    Console(width=140).print(table(runs))
    draw(runs, RESULTS / "two_phase.png")
    keep("two_phase", {"claims": {run["seed"]: claims(run) for run in runs}, "runs": runs})


if __name__ == "__main__":
    main()
