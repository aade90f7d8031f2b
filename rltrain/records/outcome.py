"""Which column of tables of completions is the task's result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rltrain.records import trl_table

OUTCOME = "outcome"


def outcome(files: Sequence[Path], named: str | None, notes: dict[str, int]) -> str | None:
    """The one named, or `outcome`, or the only reward of TRL's tables; None with a note where there is none in [0, 1].

    A column that leaves the range is none: of -1 and 1 only the successes would be left, and all would be right.
    ValueError where the one that is named is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    found: dict[str, list[Path]] = {}
    for path in files:
        try:
            schema = parquet.read_schema(path)
        except (pa.ArrowInvalid, OSError):
            continue  # `read_rows` notes it
        columns = trl_table.numbers(schema)
        for name in columns if trl_table.is_trl(schema.names) else {OUTCOME} & set(columns):
            found.setdefault(name, []).append(path)
    listed = ", ".join(sorted(found))
    if named is not None and named not in found:
        raise ValueError(f"--outcome {named!r}: no such column of rewards; there are {listed or 'none'}")
    name = named or (OUTCOME if OUTCOME in found else next(iter(found)) if len(found) == 1 else None)
    if name is None:
        if found:
            notes[f"no outcome: several rewards; name the task's result by --outcome, one of {listed}"] = 1
        return None
    low, high = _bounds(found[name], name)
    if low >= 0 and high <= 1:
        return name
    notes[f"no outcome: {name} goes from {low:g} to {high:g} and a task's result is in [0, 1]"] = 1
    return None


def _bounds(files: Sequence[Path], column: str) -> tuple[float, float]:
    """Smallest and largest finite number of a column; (0, 0) where there is none."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    low, high = math.inf, -math.inf
    for path in files:
        values = parquet.read_table(path, columns=[column]).column(0)
        values = compute.cast(values, "uint8" if str(values.type) == "bool" else values.type).cast("double")
        found = compute.min_max(values.filter(compute.is_finite(values))).as_py()
        if found["min"] is not None:
            low, high = min(low, found["min"]), max(high, found["max"])
    return (low, high) if low <= high else (0.0, 0.0)
