"""`make bench`: every benchmark, one table, raw numbers in `benchmarks/results/`.

    python -m benchmarks.run [NAME ...] [--repeats N]

The last line printed is one JSON object with the figures that have a target.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.measure import Result

NAMES = ("driver", "publish", "pool", "trainer", "step_time", "diagnostics_cost")
RESULTS = Path(__file__).parent / "results"
TARGETS: Mapping[str, tuple[str, float]] = {
    "step_time_ratio": ("at least", 2.5),
    "pool_ratio": ("at least", 0.97),
    "driver_tokens_per_s": ("at least", 300_000),
    "driver_scaling_8_to_64": ("at least", 0.9),
    "publish_ratio": ("at most", 8.0),
    "trainer_ratio": ("at least", 0.9),
    "diagnostics_share": ("at most", 0.02),
    "diagnostics_ratio": ("at most", 1.02),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks named, all by default, and print what they found."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="What rltrain costs, beside its references.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--repeats", type=int, help="repetitions that count; default: each benchmark's own")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if asked.repeats is not None and asked.repeats < 1:
        parser.error(f"--repeats {asked.repeats}: expected at least 1")
    results = {name: measured(name, asked.repeats) for name in NAMES if name in (asked.names or NAMES)}
    found = figures(results)
    Console().print(table(results))
    print(f"raw numbers: {keep(results, found, RESULTS)}")
    print(json.dumps(found))


def measured(name: str, repeats: int | None) -> Result:
    """One benchmark, with a progress bar on stderr."""
    module = importlib.import_module(f"benchmarks.{name}")
    repeats = repeats or module.REPEATS
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"{name}: starting", total=module.ticks(repeats))

        def tick(done: str) -> None:
            progress.update(bar, advance=1, description=f"{name}: {done}")

        return module.measure(repeats, tick)


def figures(results: Mapping[str, Result]) -> dict[str, float | None]:
    """The figures of the last line; None for a benchmark that was not asked for."""
    found = {name: value for result in results.values() for name, value in result.figures.items()}
    return {name: found.get(name) for name in TARGETS}


def table(results: Mapping[str, Result]) -> Table:
    """Medians with their spread, and the figures with their targets."""
    grid = Table("benchmark", "measured", "median", "lowest", "highest", "n", "unit", title="rltrain benchmarks")
    for column in grid.columns[2:6]:
        column.justify = "right"
    for name, result in results.items():
        for label, series in result.series.items():
            low, high = min(series.values), max(series.values)
            numbers = (f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in (series.median, low, high))
            grid.add_row(name, label, *numbers, str(len(series.values)), series.unit)
        for label, value in result.figures.items():
            sense, target = TARGETS[label]
            met = value >= target if sense == "at least" else value <= target
            verdict = f"[{'green' if met else 'red'}]{sense} {target:,g}: {'met' if met else 'missed'}[/]"
            grid.add_row(
                name, f"[bold]{label}[/]", f"[bold]{value:,.3f}[/]" if value < 1000 else f"[bold]{value:,.0f}[/]",
                "", "", "", verdict,
            )  # fmt: skip
        grid.add_section()
    return grid


def keep(results: Mapping[str, Result], found: Mapping[str, Any], folder: Path) -> Path:
    """Write everything measured, with machine and versions, to a file named by the time."""
    from rltrain.manifest import manifest

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    raw = {
        name: {
            "figures": result.figures,
            "series": {label: series._asdict() for label, series in result.series.items()},
            "notes": result.notes,
        }
        for name, result in results.items()
    }
    path.write_text(json.dumps({"figures": found, "manifest": manifest(), "benchmarks": raw}, indent=2) + "\n")
    return path


if __name__ == "__main__":
    main()
