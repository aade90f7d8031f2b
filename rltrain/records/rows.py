"""Rows of rollout tables, ours or TRL's, a few at a time and in few bytes."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.records import columns, jsonl, row_groups, trl_table
from rltrain.records.cells import are_steps, step_of
from rltrain.records.notes import note
from rltrain.records.outcome import OUTCOME, VALUES
from rltrain.records.trl_table import completion_text, text_of

if TYPE_CHECKING:
    import pyarrow.parquet as parquet

ROWS = 1024  # read at once
BUFFER = 2**20  # bytes of a column held while it is read; without it a whole column chunk, which may be a whole file's
MOST = 16_384  # rows of a step; four times what a large run samples
SORTED = 2**28  # bytes of a table that is put into the order of its steps in memory
NO_STEP = "rows without a step, a whole number from 0, in files with steps: they are left out"


def tables(path: Path, single: tuple[str, ...] = (".parquet",)) -> list[Path]:
    """The files with completions at a path, in the order of their steps. ValueError if there is none.

    `single`: what one file may end with; of directories the parquet files count.
    """
    if path.is_file() and path.suffix in single:
        return [path]
    for folder in (path / "rollouts", path / "completions", path):
        if found := sorted(folder.glob("*.parquet"), key=_by_number):
            return found
    raise ValueError(
        f"{str(path)!r}: no completions there; expected a run directory, TRL's output directory with `completions/`, "
        f"a folder of .parquet files, or one {' or '.join(single)} file"
    )


def check(files: Sequence[Path]) -> int:
    """Number of rows in all. ValueError where no file can be read, or one that can has no column `completion`."""
    import pyarrow.parquet as parquet

    rows, unreadable = 0, ""
    for path in files:
        try:
            found = parquet.read_metadata(path)
        except row_groups.UNREADABLE as error:
            unreadable += f"\n  {path.name}: {error}"
            continue  # `read_rows` notes it
        names = found.schema.to_arrow_schema().names
        if "completion" not in names:
            raise ValueError(f"{path}: no column `completion`; it has {', '.join(sorted(names)[:12])}")
        rows += found.num_rows
    if unreadable.count("\n  ") == len(files):
        raise ValueError(f"{files[0].parent}: none of its tables can be read:{unreadable[:2000]}")
    return rows


def _by_number(path: Path) -> list[Any]:
    """For sorting: step_100000 stands behind step_99999, and part-10 behind part-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def read_rows(
    files: Sequence[Path],
    notes: dict[str, int],
    *,
    outcome: str | None = OUTCOME,
    anew: Collection[str] = (),
    logged: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """The rows of the files with a `step`: where there is none, each file is one, and each `MOST` rows of a file.

    `outcome`: the column that is the task's result; `anew`: columns that are not taken from the files; `logged`: the
    rewards that TRL's log knows.
    ValueError for a table out of order that is too large to be sorted.
    """
    import pyarrow.parquet as parquet

    unnumbered, latest, shift = itertools.count(), -math.inf, 0
    for path in files:
        try:
            file = parquet.ParquetFile(path, buffer_size=BUFFER)
        except row_groups.UNREADABLE as error:
            next(unnumbered)
            note(notes, f"{path.name} cannot be read and is left out ({error})")
            continue
        with file:
            schema = file.schema_arrow
            if trl_table.is_trl(schema.names):
                rewards = trl_table.rewards(schema, logged)
                kept = columns.kept_of_trl(schema, rewards, logged, outcome, notes)
            else:
                rewards, kept = None, columns.kept(schema, anew, notes)
            steps = _steps(file, kept, notes)
            step = max(next(unnumbered), latest + 1)
            for i, row in enumerate(_in_order(file, kept, steps, path, notes)):
                if len(steps):
                    number = step_of(row["step"])
                    if number is None:
                        note(notes, NO_STEP)
                        continue
                    if number + shift < latest:
                        note(notes, "steps go back from a file to the next: they are counted on from the last one")
                        shift = int(latest) + 1 - number
                    number += shift
                else:
                    if i and i % MOST == 0:
                        step = max(next(unnumbered), latest + 1)
                    if i == MOST:
                        note(notes, f"files of more than {MOST} rows without a step: as many at a time count as one")
                    number = step
                latest = number
                found = _readable(row, outcome) if rewards is None else trl_table.from_trl(row, rewards, outcome)
                yield found | {"step": number} | ({} if outcome else {OUTCOME: None})


def _steps(file: parquet.ParquetFile, kept: list[str], notes: dict[str, int]) -> np.ndarray:
    """The steps of a file's rows that have one, (N,); none where it has no such column, which then goes from `kept`."""
    found = row_groups.column(file, "step") if "step" in kept else np.zeros(0)
    steps = found[are_steps(found)]
    if not len(steps) and file.metadata.num_rows:
        note(notes, "no steps: a file without a column `step` of whole numbers from 0 counts as one step")
        kept[:] = [name for name in kept if name != "step"]
    return steps


def _readable(row: dict[str, Any], outcome: str | None) -> dict[str, Any]:
    """A row with texts where texts belong, whatever wrote it; its outcome is that of the reward named."""
    if outcome not in (None, OUTCOME):
        row[OUTCOME] = (jsonl.parsed(row.get(VALUES) or "") or {}).get(outcome)
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        messages = all(isinstance(part, Mapping) and "content" in part for part in prompt)
        row["prompt"] = json.dumps(prompt, ensure_ascii=False) if messages else text_of(prompt)
    elif prompt is not None:
        row["prompt"] = str(prompt)
    row["completion"] = completion_text(row["completion"])
    group = row.get("group")
    if isinstance(group, float) and math.isnan(group):
        row["group"] = None  # as pandas writes a gap
    elif not isinstance(group, int | str | None):
        row["group"] = str(group)
    return row | {name: str(row[name]) for name in columns.NAMED if row.get(name) is not None}


def _in_order(
    file: parquet.ParquetFile, kept: Sequence[str], steps: np.ndarray, path: Path, notes: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """The rows of a file in the order of their steps (rows,): as they stand, where they stand like that."""
    import pyarrow as pa
    import pyarrow.compute as compute

    found = row_groups.batches(file, kept, ROWS, path, notes)
    if (np.diff(steps) < 0).any():
        if sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)) > SORTED:
            raise ValueError(
                f"{path}: its rows are not in the order of their steps, and it is too large to sort here; "
                "sort it by `step`"
            )
        parts = [pa.Table.from_batches([batch]) for batch in found]
        if not parts:
            return
        table = pa.concat_tables(parts, promote_options="default")  # a damaged part may lack columns
        found = table.take(compute.sort_indices(table, [("step", "ascending")])).to_batches(ROWS)
    for batch in found:
        yield from row_groups.plain(batch)
