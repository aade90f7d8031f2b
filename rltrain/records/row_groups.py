"""Parquet files a row group at a time: of a damaged one all that can be read, and a note of what cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rltrain.records.notes import note

if TYPE_CHECKING:
    import pyarrow.parquet as parquet

UNREADABLE = (pa.ArrowInvalid, OSError)  # what pyarrow raises for a file that is torn or damaged
NEEDED = ("completion", "step")  # without them a row says nothing


def batches(
    file: parquet.ParquetFile, columns: Sequence[str], rows: int, path: Path, notes: dict[str, int]
) -> Iterator[pa.RecordBatch]:
    """So many rows at a time; one row group after the other, or the buffers of all would stay until the end.

    Where a row group is damaged, the columns that can be read are given, or nothing without one of `NEEDED`.
    """
    for group in range(file.num_row_groups):
        done = 0
        try:
            for batch in _sound(file, group, columns, rows):
                yield batch
                done += len(batch)
        except UNREADABLE as error:
            readable = [name for name in columns if _is_sound(file, group, name, rows)]
            lost = [name for name in columns if name not in readable]
            left = file.metadata.row_group(group).num_rows - done
            whole = bool(set(lost) & set(NEEDED))
            what = "its rows are" if whole else f"{', '.join(lost)} of its rows is"
            where = f"{path.name}: row group {group + 1} of {file.num_row_groups}"
            note(notes, f"{where} is damaged, {what} left out ({error})", left)
            if not whole:
                yield from _behind(_sound(file, group, readable, rows), done)


def column(file: parquet.ParquetFile, name: str) -> np.ndarray:
    """(rows,) float64 of a column of numbers; NaN where there is none, and of row groups that are damaged."""
    parts = []
    for group in range(file.num_row_groups):
        try:
            found = file.read_row_group(group, columns=[name]).column(0).to_numpy(zero_copy_only=False)
            parts.append(np.asarray(found, np.float64))
        except UNREADABLE:  # `batches` notes it
            parts.append(np.full(file.metadata.row_group(group).num_rows, np.nan))
    return np.concatenate(parts) if parts else np.zeros(0)


def _sound(file: parquet.ParquetFile, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """A row group's batches; ArrowInvalid also where a text is no UTF-8."""
    for batch in file.iter_batches(rows, row_groups=[group], columns=list(columns)):
        batch.validate(full=True)
        yield batch


def _is_sound(file: parquet.ParquetFile, group: int, name: str, rows: int) -> bool:
    try:
        for _ in _sound(file, group, [name], rows):
            pass
    except UNREADABLE:
        return False
    return True


def _behind(found: Iterator[pa.RecordBatch], done: int) -> Iterator[pa.RecordBatch]:
    """What comes after the first `done` rows."""
    for batch in found:
        if done < len(batch):
            yield batch.slice(done)
        done = max(done - len(batch), 0)


def plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with numbers of tokens as numpy arrays: a Python object for each token would be ten times the memory."""
    columns = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        item = values.type.value_type if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) else None
        if item is None:
            columns[name] = values.to_pylist()
        elif name == "token_text":
            columns[name] = _joined(values)
        elif pa.types.is_primitive(item):
            columns[name] = [part.values.to_numpy(zero_copy_only=False) if part.is_valid else None for part in values]
        else:
            columns[name] = values.to_pylist()  # chat messages
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _joined(column: pa.ListArray) -> list[tuple[str, np.ndarray] | None]:
    """Lists of pieces as a text and where in it each piece ends, (T,) int32; None for a list that is not there."""
    import pyarrow.compute as compute

    column = column.cast(pa.list_(pa.string()))  # lists of large texts cannot be joined
    lengths = compute.fill_null(compute.utf8_length(column.flatten()), 0).to_numpy(zero_copy_only=False)
    counts = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    stops = np.cumsum(counts)
    found = zip(compute.binary_join(column, "").to_pylist(), stops - counts, stops, strict=True)
    return [None if text is None else (text, np.cumsum(lengths[a:b], dtype=np.int32)) for text, a, b in found]
