"""One step's rollout file: a light row for each completion, or some completions with all their tokens.

Nothing here takes a file at its word: bytes that are no UTF-8 become U+FFFD, columns may be missing, and per-token
lists that do not fit the tokens are left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 64  # completions read at once: the per-token lists of a long step are gigabytes
LIGHT = (
    "group", "task_key", "source", "kind", "admitted", "reject_reason", "outcome", "reward", "advantage", "error",
    "finish_reason", "format", "token_ids",
)  # fmt: skip
"""Columns of the light rows."""
COUNTED = "token_ids"  # of which only the number is read
TASK = ("task_key", "source", "kind", "group", "prompt", "answer", "meta", "admitted", "reject_reason")
SCORE = ("outcome", "reward", "values", "parts", "error", "baseline", "scale", "advantage")
SAMPLED = ("completion", "finish_reason", "policy_version", "weight_digest", "engine", "format")
PER_TOKEN = (
    "logprob", "train_logprob", "ratio", "loss_mask", "entropy", "planning", "planning_bonus", "token_advantage",
)  # fmt: skip
KEYS = ("group", "task_key", "outcome", "reward", "error")
NUMBERS = ("outcome", "reward", "baseline", "scale", "advantage")
WHOLE = (*TASK, *SCORE, *SAMPLED, "token_text", *PER_TOKEN)


def outline(path: Path) -> list[dict[str, Any]]:
    """A light row for each completion of a step: `row` in the file, `tokens`, and the columns of `LIGHT`.

    ValueError where the file cannot be read.
    """
    made = []
    for row, found in _rows(path, LIGHT, None, 4096):
        tokens = found.pop(COUNTED)
        group = found["group"] if found["group"] is not None else found["task_key"] or f"row {row}"
        made.append(found | {"row": row, "group": group, "tokens": tokens})
    return made


def completions(path: Path, rows: Collection[int]) -> list[dict[str, Any]]:
    """The columns of `WHOLE` for these rows of a step, with `row`; numbers of tokens as lists, None where absent.

    `token_text` joins to `completion`; where the file's does not, it is the whole text as one piece and there are no
    per-token numbers. ValueError where the file cannot be read.
    """
    made = []
    for row, found in _rows(path, WHOLE, frozenset(rows), ROWS):
        given, text = found["token_text"], "" if found["completion"] is None else str(found["completion"])
        pieces = [piece or "" for piece in given] if isinstance(given, list) else []
        if not pieces or "".join(pieces) != text:
            pieces = [text]
        count = len(pieces)
        arrays = {name: found[name] if _fits(found[name], count) else None for name in PER_TOKEN}
        made.append(found | arrays | {"row": row, "completion": text, "token_text": pieces})
    return made


def keys(path: Path) -> list[dict[str, Any]]:
    """`group`, `task_key`, `outcome`, `reward` and `error` of each completion of a step."""
    return [found | {"row": row} for row, found in _rows(path, KEYS, None, 65536)]


def _fits(values: Sequence[Any] | None, count: int) -> bool:
    return values is not None and len(values) == count


def _rows(
    path: Path, columns: Sequence[str], wanted: Collection[int] | None, size: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row, its columns) of a file, all or the wanted ones; a column that the file lacks is None."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            kept = [name for name in columns if name in file.schema_arrow.names]
            start = 0
            for batch in file.iter_batches(size, columns=kept):
                inside = [i for i in range(batch.num_rows) if wanted is None or start + i in wanted]
                part = batch if len(inside) == batch.num_rows else batch.take(pa.array(inside, pa.int64()))
                listed = {name: _plain(part.column(name), name == COUNTED) for name in kept}
                for place, i in enumerate(inside):
                    row = {name: listed[name][place] if name in listed else None for name in columns}
                    yield start + i, row | {name: _number(row[name]) for name in NUMBERS if name in row}
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name}: cannot be read ({error})") from None


def _number(value: Any) -> float | None:
    """A finite number, or none."""
    return float(value) if isinstance(value, bool | int | float) and math.isfinite(value) else None


def _plain(column: pa.Array, counted: bool = False) -> list[Any]:
    """Python values, or the lengths of lists; text that is no UTF-8 is read as well as it can be."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        binary = pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
        return [
            None if value is None else value.decode("utf-8", "replace") for value in column.cast(binary).to_pylist()
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = column.value_lengths().to_pylist()
        return lengths if counted else _cut(_plain(column.flatten()), lengths)
    return column.to_pylist()


def _cut(items: list[Any], lengths: Sequence[int | None]) -> list[list[Any] | None]:
    made, place = [], 0
    for length in lengths:
        made.append(None if length is None else items[place : place + length])
        place += length or 0
    return made
