"""Reads completions from what a run left: its directory, parquet of ours or of TRL, or JSON lines.

Files are read in batches and only the columns that are needed, so ten million rows take the memory of one batch.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rltrain.records.trl_table import written_in

BATCH = 4096  # rows read at once
SINGLE = (".parquet", ".jsonl")  # what one file may end with
TEXTS, PROMPTS = ("completion", "text"), ("task_key", "prompt")
JUDGES = ("outcome", "advantage")  # columns that tell a correct completion, the first one that is known
COLUMNS = (*TEXTS, *PROMPTS, "step", *JUDGES)


class Solution(NamedTuple):
    """One completion."""

    step: int
    problem: str  # the task's key or prompt: what the completions of a group share
    text: str
    correct: bool


def judged_by(columns: Sequence[str], path: Path, judges: Sequence[str] = JUDGES) -> str:
    """The column that tells a correct completion, the first of `judges` there. ValueError where a file is of no use."""
    if not set(TEXTS) & set(columns):
        raise ValueError(f"{path}: expected a column 'completion' or 'text', got {', '.join(columns) or 'nothing'}")
    for column in judges:
        if column in columns:
            return column
    raise ValueError(
        f"{path}: nothing tells which completions are correct; expected a column 'outcome' (1 is correct) or, "
        f"from TRL, 'advantage'; got {', '.join(columns)}"
    )


def read(paths: Sequence[Path]) -> Iterator[Solution]:
    """Every completion with a text. Correct is an outcome of 1, or where no row has an outcome an advantage above 0."""
    judges = JUDGES if any(map(_has_outcomes, paths)) else JUDGES[::-1]
    for path in paths:
        for row in _json_rows(path) if path.suffix == ".jsonl" else _parquet_rows(path, judges):
            solution = _solution(row, judged_by(list(row), path, judges), path)
            if solution is not None:
                yield solution


def _has_outcomes(path: Path) -> bool:
    """Whether any row has an outcome: a run without one (of shaping rewards alone) has the column all the same."""
    if path.suffix == ".jsonl":
        return any(_known(row.get("outcome")) for row in _json_rows(path))
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid:
        return False  # told of when it is read
    with file:
        if "outcome" not in file.schema_arrow.names:
            return False
        batches = file.iter_batches(BATCH, columns=["outcome"])
        return any(_known(value) for batch in batches for value in batch.column(0).to_pylist())


def _known(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself


def _solution(row: Mapping[str, Any], judge: str, path: Path) -> Solution | None:
    value = row[judge]
    if isinstance(value, str):
        meant = "1 is correct" if judge == "outcome" else "above 0 is correct"
        raise ValueError(f"{path}: column {judge!r} holds texts ({value[:40]!r}); expected numbers, {meant}")
    text = written_in(next((row[name] for name in TEXTS if row.get(name) is not None), None))
    if text is None:
        return None
    problem = next((row[name] for name in PROMPTS if row.get(name) is not None), "")
    correct = isinstance(value, int | float) and (value >= 1 if judge == "outcome" else value > 0)
    step = row.get("step")
    return Solution(
        int(step) if isinstance(step, int | float) and math.isfinite(step) else 0, str(problem), text, correct
    )


def _parquet_rows(path: Path, judges: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:  # a run that was killed may leave half a file
        warnings.warn(f"{path}: left out, it cannot be read ({error})", stacklevel=2)
        return
    with file:
        judged_by(file.schema_arrow.names, path, judges)
        wanted = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH, columns=wanted):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:  # brackets may be nested without end
                    raise ValueError(f"{path}, line {number}: no JSON ({error})") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
                yield row
