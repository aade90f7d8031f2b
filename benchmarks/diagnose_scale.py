"""Memory and speed of `rltrain diagnose` on tables of any length.

    python -m benchmarks.diagnose_scale [ROWS ...]        default 20000 200000 1000000

Writes one parquet file of so many rows into a temporary folder, a part at a time: steps of 64 groups of 8
completions in our own schema with all per-token arrays, in row groups of 128 steps. Then runs the command on it in a
process of its own and reads from the system what that process took: the largest resident memory (target: at most 2 GB
whatever the length), and the seconds of one core. Writes benchmarks/results/diagnose_scale.json.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from rich.console import Console
from rich.table import Table

from benchmarks.fake_engine import text
from benchmarks.made import group
from benchmarks.taken import taken
from benchmarks.tell import keep
from rltrain.advantages import assign
from rltrain.records.table import rollout_table
from rltrain.types import StepRecord, TokenArrays

ROWS = (20_000, 200_000, 1_000_000)
GROUPS, SAMPLES, TOKENS = 64, 8, 24
STEP = GROUPS * SAMPLES
VARIANTS = 16  # steps that are really made; a file repeats them
ROW_GROUP = 128  # steps
TARGET = 2.0  # GB


def main(arguments: list[str] | None = None) -> None:
    """Measure each length asked for, and keep what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.diagnose_scale", description="rltrain diagnose on long tables.")
    parser.add_argument("rows", nargs="*", type=int, default=ROWS, help="lengths (default: 20000 200000 1000000)")
    asked = parser.parse_args(arguments).rows
    found = []
    for rows in sorted(asked):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.parquet"
            tokens = write(path, rows)
            found.append({"rows": rows, "tokens": tokens, "file_gb": path.stat().st_size / 1e9} | diagnosed(path))
            print(f"{rows:,} rows: {found[-1]['peak_gb']:.2f} GB, {found[-1]['rows_per_cpu_s']:,.0f} rows a CPU second")
    Console().print(table(found))
    keep("diagnose_scale", {"target_gb": TARGET, "met": all(one["peak_gb"] <= TARGET for one in found), "runs": found})


def write(path: Path, rows: int) -> int:
    """A table of so many rows, cut to whole steps; returns the number of tokens in it."""
    made = [step_table(seed) for seed in range(VARIANTS)]
    lengths = [pa.compute.sum(pa.compute.list_value_length(one["token_ids"])).as_py() for one in made]
    steps, tokens = max(1, rows // STEP), 0
    with parquet.ParquetWriter(path, made[0].schema, compression="zstd") as writer:
        for first in range(0, steps, ROW_GROUP):
            part = range(first, min(first + ROW_GROUP, steps))
            writer.write_table(pa.concat_tables(numbered(made[i % VARIANTS], i + 1) for i in part))
            tokens += sum(lengths[i % VARIANTS] for i in part)
    return tokens


def step_table(seed: int) -> pa.Table:
    """A step of made texts, some of them right, with made log-probs and entropies."""
    chance, rng = random.Random(seed), np.random.default_rng(seed)
    groups = [
        group(
            i,
            f"sums/{seed * GROUPS + i}",
            f"What is {i} + {seed}?",
            [text(TOKENS, chance) for _ in range(SAMPLES)],
            rng.integers(0, 2, SAMPLES),
            ["prose"] * SAMPLES,
        )
        for i in range(GROUPS)
    ]
    groups = [replace(g, planning=tuple(rng.random(len(c.token_ids)) < 0.1 for c in g.completions)) for g in groups]
    groups = assign(groups, {}, scale="group", combine="sum_then_normalize")
    tokens = {(g.ticket, i): arrays(len(c.token_ids), rng) for g in groups for i, c in enumerate(g.completions)}
    return rollout_table(StepRecord(0, tuple(groups), tokens, {}))


def arrays(length: int, rng: np.random.Generator) -> TokenArrays:
    """What a trainer leaves of a completion."""
    entropy = rng.gamma(1.0, 0.5, length).astype(np.float32)
    ones = np.ones(length, np.float32)
    return TokenArrays(-entropy, entropy, ones, ones.astype(bool), ones)


def numbered(made: pa.Table, step: int) -> pa.Table:
    """The table as another step."""
    return made.set_column(0, made.schema.field("step"), pa.array(np.full(len(made), step)))


def diagnosed(path: Path) -> dict[str, Any]:
    """What the command took on a table."""
    used = taken("diagnose", str(path), "--out", str(path.parent / "out"))
    rows = parquet.read_metadata(path).num_rows
    return {
        "peak_gb": used.peak_gb,
        "cpu_s": used.cpu_s,
        "wall_s": used.wall_s,
        "rows_per_cpu_s": rows / used.cpu_s,
        "written_mb": {file.name: file.stat().st_size / 1e6 for file in results(path.parent / "out")},
    }


def results(out: Path) -> Iterator[Path]:
    """The larger files that the command writes."""
    return (out / name for name in ("metrics.jsonl", "diagnosis.json", "report.html"))


def table(found: list[dict[str, Any]]) -> Table:
    """Memory and speed by length."""
    heads = ("rows", "tokens", "file GB", f"peak GB (at most {TARGET:g})", "CPU s", "rows / CPU s")
    grid = Table(*heads, title="rltrain diagnose")
    for column in grid.columns:
        column.justify = "right"
    for one in found:
        grid.add_row(
            f"{one['rows']:,}", f"{one['tokens']:,}", f"{one['file_gb']:.2f}", f"{one['peak_gb']:.2f}",
            f"{one['cpu_s']:,.0f}", f"{one['rows_per_cpu_s']:,.0f}",
        )  # fmt: skip
    return grid


if __name__ == "__main__":
    main()
