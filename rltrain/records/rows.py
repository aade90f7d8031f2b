"""Rows of rollout tables, ours or TRL's, a few at a time and in few bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.records.table import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as parquet

ROWS = 1024  # read at once
BUFFER = 2**20  # bytes of a column held while it is read; without it a whole column chunk, which may be a whole file's
MOST = 16_384  # rows of a step; four times what a large run samples
TRL = {"step", "prompt", "completion", "advantage"}


def tables(path: Path, single: tuple[str, ...] = (".parquet",)) -> list[Path]:
    """The files with completions at a path, in the order of their steps. ValueError if there is none.

    `single`: what one file may end with; of directories the parquet files count.
    """
    if path.is_file() and path.suffix in single:
        return [path]
    for folder in (path / "rollouts", path / "completions", path):
        if found := sorted(folder.glob("*.parquet")):
            return found
    raise ValueError(
        f"{str(path)!r}: no completions there; expected a run directory, TRL's output directory with `completions/`, "
        f"a folder of .parquet files, or one {' or '.join(single)} file"
    )


def check(files: Sequence[Path]) -> int:
    """Number of rows in all. ValueError where a file that can be read has no column `completion`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = 0
    for path in files:
        try:
            found = parquet.read_metadata(path)
        except (pa.ArrowInvalid, OSError):
            continue  # `read_rows` notes it
        names = found.schema.to_arrow_schema().names
        if "completion" not in names:
            raise ValueError(f"{path}: no column `completion`; it has {', '.join(sorted(names)[:12])}")
        rows += found.num_rows
    return rows


def read_rows(files: Sequence[Path], notes: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The rows of the files with a `step`: where there is none, each file is one, and each `MOST` rows of a file."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    unnumbered = itertools.count()
    for path in files:
        try:
            file = parquet.ParquetFile(path, buffer_size=BUFFER)
        except (pa.ArrowInvalid, OSError) as error:
            next(unnumbered)
            note(notes, f"{path.name} cannot be read and is left out ({error})")
            continue
        names = set(file.schema_arrow.names)
        foreign = names - set(COLUMNS)
        trl = "outcome" not in names and names >= TRL
        kept = [name for name in file.schema_arrow.names if name in COLUMNS or trl]
        if foreign and not trl:
            note(notes, f"columns that mean nothing here: {', '.join(sorted(foreign)[:8])}")
        step = next(unnumbered)
        for i, row in enumerate(_rows(file, kept)):
            if i and i % MOST == 0:
                step = next(unnumbered)
            if row.get("step") is None:
                row["step"] = step
                if i == MOST:
                    note(notes, f"files of more than {MOST} rows without a step: as many at a time count as one")
            yield _from_trl(row, foreign) if trl else row
        file.close()


def _rows(file: parquet.ParquetFile, kept: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row group after the other: read in one go, the buffers of all that were read would stay until the end."""
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(ROWS, row_groups=[group], columns=kept):
            yield from _plain(batch)


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with numbers of tokens as numpy arrays: a Python object for each token would be ten times the memory."""
    import pyarrow as pa

    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        item = column.type.value_type if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) else None
        if item is None:
            columns[name] = column.to_pylist()
        elif pa.types.is_string(item) or pa.types.is_large_string(item):
            columns[name] = _joined(column)
        elif pa.types.is_primitive(item):
            columns[name] = [part.values.to_numpy(zero_copy_only=False) if part.is_valid else None for part in column]
        else:
            columns[name] = column.to_pylist()  # chat messages
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _joined(column: pa.ListArray) -> list[tuple[str, np.ndarray] | None]:
    """Lists of pieces as a text and where in it each piece ends, (T,) int32; None for a list that is not there."""
    import pyarrow.compute as compute

    lengths = compute.fill_null(compute.utf8_length(column.flatten()), 0).to_numpy(zero_copy_only=False)
    counts = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    stops = np.cumsum(counts)
    found = zip(compute.binary_join(column, "").to_pylist(), stops - counts, stops, strict=True)
    return [None if text is None else (text, np.cumsum(lengths[a:b], dtype=np.int32)) for text, a, b in found]


def _from_trl(row: dict[str, Any], foreign: set[str]) -> dict[str, Any]:
    """A row of TRL's table: every further column of numbers is a reward, and a single one in [0, 1] the outcome."""
    values = {n: float(row[n]) for n in sorted(foreign) if isinstance(row.get(n), int | float)}
    outcome = next(iter(values.values())) if len(values) == 1 else None
    return {
        "step": row["step"],
        "prompt": _text(row["prompt"]),
        "completion": _text(row["completion"]),
        "values": json.dumps(values),
        "reward": sum(values.values()),
        "outcome": outcome if outcome is not None and 0 <= outcome <= 1 else None,
        "advantage": row.get("advantage"),
    }


def _text(value: Any) -> str:
    """A prompt or completion as text; chat messages are joined."""
    if isinstance(value, list):
        return "\n".join(str(part.get("content", part)) if isinstance(part, Mapping) else str(part) for part in value)
    return "" if value is None else str(value)


def note(notes: dict[str, int], text: str) -> None:
    """Count one more thing of which a note is true."""
    notes[text] = notes.get(text, 0) + 1
