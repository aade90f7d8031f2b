"""Which column of tables of completions is the task's result."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from rltrain.records import jsonl, row_groups, trl_table
from rltrain.records.cells import finite

OUTCOME = "outcome"
VALUES = "values"  # of each reward, in a table of ours


def outcome(
    files: Sequence[Path], named: str | None, notes: dict[str, int], logged: Collection[str] = ()
) -> str | None:
    """The one named, or `outcome`, or the only reward of TRL's tables; None with a note where there is none in [0, 1].

    `logged` are the rewards that TRL's log knows; any other column of numbers may be named.

    Without one, what it is needed for is left out: what passes, accuracy of formats, lucky hits, the reward ceiling.

    A column that leaves the range is none: of -1 and 1 only the successes would be left, and all would be right.
    ValueError where the one that is named is not there.
    """
    import pyarrow.parquet as parquet

    found: dict[str, list[Path]] = {}
    read = 0
    for path in files:
        try:
            schema = parquet.read_schema(path)
        except row_groups.UNREADABLE:
            continue  # `read_rows` notes it
        read += 1
        columns = trl_table.numbers(schema)
        of_trl = trl_table.is_trl(schema.names)
        rewards = {named, OUTCOME} & set(columns) | set(trl_table.rewards(schema, logged))
        for name in rewards if of_trl else {OUTCOME} & set(columns):
            found.setdefault(name, []).append(path)
        if not of_trl and named not in (None, OUTCOME) and VALUES in schema.names:
            for name in _rewards(path):
                found.setdefault(name, []).append(path)
    listed = ", ".join(sorted(found))
    if named is not None and named not in found:
        raise ValueError(f"--outcome {named!r}: no such column of rewards; there are {listed or 'none'}")
    name = named or (OUTCOME if OUTCOME in found else next(iter(found)) if len(found) == 1 else None)
    if name is None:
        if found:
            notes[f"no outcome: several rewards; name the task's result by --outcome, one of {listed}"] = 1
        elif read:
            notes[f"no outcome: no column `{OUTCOME}` of numbers in [0, 1]; what rests on it is left out"] = read
        return None
    bounds = _bounds(found[name], name)
    if bounds is None:
        notes[f"no outcome: column {name} holds no number; what rests on it is left out"] = len(found[name])
        return None
    low, high = bounds
    if low >= 0 and high <= 1:
        return name
    notes[f"no outcome: {name} goes from {low:g} to {high:g} and a task's result is in [0, 1]"] = 1
    return None


def _bounds(files: Sequence[Path], column: str) -> tuple[float, float] | None:
    """Smallest and largest finite number of a column; None where there is none."""
    import pyarrow.parquet as parquet

    bounds = []
    for path in files:
        with parquet.ParquetFile(path) as file:
            inside = column not in file.schema_arrow.names
            values = _rewards(path)[column] if inside else row_groups.column(file, column)
        values = values[np.isfinite(values)]
        if len(values):
            bounds += [float(values.min()), float(values.max())]
    return (min(bounds), max(bounds)) if bounds else None


def _rewards(path: Path) -> dict[str, np.ndarray]:
    """The numbers of each reward in the column `values` of a table of ours."""
    import pyarrow.parquet as parquet

    found: dict[str, array] = {}
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[VALUES]):
            for text in batch.column(0).to_pylist():
                for name, value in (jsonl.parsed(text or "") or {}).items():
                    if finite(value) is not None:
                        found.setdefault(name, array("d")).append(value)
    return {name: np.frombuffer(values) for name, values in found.items()}
