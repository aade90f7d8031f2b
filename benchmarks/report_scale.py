"""Time, memory and size of `rltrain report` on a long run.

    python -m benchmarks.report_scale [--steps 10000] [--completions 100] [--keep DIR]

Writes a planted run of so many steps (`planted_run`): all its metrics, events, verdicts and, for each step, a file of
so many completions with all per-token arrays, of which `VARIANTS` are really made and repeated. Then runs the command
on it in a process of its own and reads from the system what that took. Targets: 30 s, 2 GB, 15 MB. Writes
benchmarks/results/report_scale.json. `--keep`: where the run is to stay (`dashboard_live --long` opens it).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from benchmarks.planted_curves import Curves
from benchmarks.planted_run import conclude, decisions, record, start
from benchmarks.taken import taken
from benchmarks.tell import bar, keep
from rltrain.records.table import rollout_table
from rltrain.records.writer import write_table

STEPS, COMPLETIONS, SAMPLES = 10_000, 100, 10
VARIANTS = 64  # steps whose completions are really made, spread over the run
TARGETS = {"wall_s": 30.0, "peak_gb": 2.0, "file_mb": 15.0}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and keep what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.report_scale", description="rltrain report on a long run.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--completions", type=int, default=COMPLETIONS, help="a step")
    parser.add_argument("--keep", type=Path, help="write the run there and leave it")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = asked.keep or Path(folder) / "long"
        write(path, asked.steps, asked.completions)
        found = reported(path)
    met = {name: found[name] <= target for name, target in TARGETS.items()}
    rows = asked.steps * asked.completions
    Console().print(f"{asked.steps:,} steps x {asked.completions} completions: {found['wall_s']:.1f} s, ", end="")
    Console().print(f"{found['peak_gb']:.2f} GB, {found['file_mb']:.1f} MB")
    size = {"steps": asked.steps, "completions": rows}
    keep("report_scale", size | found | {"targets": TARGETS, "met": met})


def write(path: Path, steps: int = STEPS, completions: int = COMPLETIONS) -> None:
    """A planted run of so many steps and completions."""
    curves = Curves(steps)
    run = start(path, curves)
    for step, metrics in bar(curves.lines(), "metrics", steps + 1):
        run.log_metrics(step, metrics)
    places = np.unique(np.linspace(1, steps, VARIANTS).round().astype(int))
    groups = max(1, completions // SAMPLES)
    made = {int(step): record(int(step), curves, groups, SAMPLES) for step in places}
    tables = {step: rollout_table(found) for step, found in made.items()}
    for step in bar(range(1, steps + 1), "rollouts", steps):
        like = int(places[np.searchsorted(places, step, side="right") - 1])
        table = numbered(tables[like], step)
        write_table(path / "rollouts" / f"step_{step:05d}.parquet", lambda table=table: table)
        if step in made or step == curves.truth.quarantine:
            run.write_curriculum(step, decisions(step, made[like], curves.truth))
    run.close()
    conclude(path, curves)


def numbered(table: pa.Table, step: int) -> pa.Table:
    """The table as another step."""
    return table.set_column(0, table.schema.field("step"), pa.array(np.full(len(table), step)))


def reported(path: Path) -> dict[str, Any]:
    """What the command took on a run."""
    used = taken("report", str(path))
    return {
        "wall_s": used.wall_s,
        "cpu_s": used.cpu_s,
        "peak_gb": used.peak_gb,
        "file_mb": (path / "report.html").stat().st_size / 1e6,
        "metrics_mb": (path / "metrics.jsonl").stat().st_size / 1e6,
    }


if __name__ == "__main__":
    main()
