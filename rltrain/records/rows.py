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

from rltrain.records import trl_table
from rltrain.records.outcome import OUTCOME
from rltrain.records.table import COLUMNS
from rltrain.records.trl_table import text_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as parquet

ROWS = 1024  # read at once
BUFFER = 2**20  # bytes of a column held while it is read; without it a whole column chunk, which may be a whole file's
MOST = 16_384  # rows of a step; four times what a large run samples
SORTED = 2**28  # bytes of a table that is put into the order of its steps in memory
ANYTHING = ("prompt", "completion", "group")  # columns that are read whatever they hold
NAMED = ("task_key", "source", "answer")  # numbers do as well as texts


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


def _by_number(path: Path) -> list[Any]:
    """For sorting: step_100000 stands behind step_99999, and part-10 behind part-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def read_rows(
    files: Sequence[Path], notes: dict[str, int], *, outcome: str | None = OUTCOME, anew: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of the files with a `step`: where there is none, each file is one, and each `MOST` rows of a file.

    `outcome`: the column that is the task's result; `anew`: columns that are not taken from the files.
    ValueError for a table out of order that is too large to be sorted.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    unnumbered, latest, shift = itertools.count(), -math.inf, 0
    for path in files:
        try:
            file = parquet.ParquetFile(path, buffer_size=BUFFER)
        except (pa.ArrowInvalid, OSError) as error:
            next(unnumbered)
            note(notes, f"{path.name} cannot be read and is left out ({error})")
            continue
        schema = file.schema_arrow
        rewards = trl_table.numbers(schema) if trl_table.is_trl(schema.names) else None
        kept = schema.names if rewards is not None else _kept(schema, anew, notes)
        step = max(next(unnumbered), latest + 1)
        for i, row in enumerate(_in_order(file, kept, path)):
            if i and i % MOST == 0:
                step = max(next(unnumbered), latest + 1)
            if (number := _whole(row.get("step"))) is None:
                number = step
                if "step" in kept:
                    note(notes, "rows without a step in files with steps: they count as a step of their own")
                elif i == MOST:
                    note(notes, f"files of more than {MOST} rows without a step: as many at a time count as one")
            else:
                if number + shift < latest:
                    note(notes, "steps go back from a file to the next: they are counted on from the last one")
                    shift = int(latest) + 1 - number
                number += shift
            latest = number
            found = _readable(row) if rewards is None else trl_table.from_trl(row, rewards, outcome)
            yield found | {"step": number} | ({} if outcome else {OUTCOME: None})
        file.close()


def _kept(schema: pa.Schema, anew: Collection[str], notes: dict[str, int]) -> list[str]:
    """The columns of a table that are read; notes of those that mean nothing or hold what cannot be meant."""
    foreign = sorted(set(schema.names) - set(COLUMNS))
    if foreign:
        note(notes, f"columns that mean nothing here: {', '.join(foreign[:8])}")
    kept = []
    for field in schema:
        if field.name in COLUMNS and field.name not in anew:
            if _fits(field.name, field.type):
                kept.append(field.name)
            else:
                note(notes, f"column {field.name} is {field.type} and is left out, expected {COLUMNS[field.name]}")
    return kept


def _fits(name: str, kind: pa.DataType) -> bool:
    """Whether a column of this type can be what its name says."""
    import pyarrow as pa

    if name in ANYTHING or pa.types.is_null(kind):
        return True
    expected = COLUMNS[name]
    if expected.startswith("list"):
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return listed and (_is_text if expected == "list<string>" else _is_number)(kind.value_type)
    if expected == "string":
        return _is_text(kind) or (name in NAMED and _is_number(kind))
    return _is_number(kind)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """A row with texts where texts belong, whatever wrote it."""
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        messages = all(isinstance(part, Mapping) and "content" in part for part in prompt)
        row["prompt"] = json.dumps(prompt, ensure_ascii=False) if messages else text_of(prompt)
    elif prompt is not None:
        row["prompt"] = str(prompt)
    row["completion"] = text_of(row["completion"])
    if not isinstance(row.get("group"), int | str | None):
        row["group"] = str(row["group"])
    return row | {name: str(row[name]) for name in NAMED if row.get(name) is not None}


def _whole(value: Any) -> int | None:
    """A step as a whole number; None where there is none."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _in_order(file: parquet.ParquetFile, kept: Sequence[str], path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file in the order of their steps: as they stand, where they stand like that."""
    import pyarrow.compute as compute

    steps = file.read(columns=["step"]).column(0).combine_chunks() if "step" in kept else None
    if steps is None or steps.null_count or compute.all(compute.less_equal(steps[:-1], steps[1:])).as_py() is not False:
        yield from _rows(file, kept)
        return
    if sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)) > SORTED:
        raise ValueError(
            f"{path}: its rows are not in the order of their steps, and it is too large to sort here; sort it by `step`"
        )
    table = file.read(columns=kept)
    for batch in table.take(compute.sort_indices(table, [("step", "ascending")])).to_batches(ROWS):
        yield from _plain(batch)


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
        elif name == "token_text":
            columns[name] = _joined(column)
        elif pa.types.is_primitive(item):
            columns[name] = [part.values.to_numpy(zero_copy_only=False) if part.is_valid else None for part in column]
        else:
            columns[name] = column.to_pylist()  # chat messages
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _joined(column: pa.ListArray) -> list[tuple[str, np.ndarray] | None]:
    """Lists of pieces as a text and where in it each piece ends, (T,) int32; None for a list that is not there."""
    import pyarrow as pa
    import pyarrow.compute as compute

    column = column.cast(pa.list_(pa.string()))  # lists of large texts cannot be joined
    lengths = compute.fill_null(compute.utf8_length(column.flatten()), 0).to_numpy(zero_copy_only=False)
    counts = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    stops = np.cumsum(counts)
    found = zip(compute.binary_join(column, "").to_pylist(), stops - counts, stops, strict=True)
    return [None if text is None else (text, np.cumsum(lengths[a:b], dtype=np.int32)) for text, a, b in found]


def note(notes: dict[str, int], text: str) -> None:
    """Count one more thing of which a note is true."""
    notes[text] = notes.get(text, 0) + 1
