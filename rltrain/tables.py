"""Tables on disk as sequences of records, and the mapping of their columns to task rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rltrain.plugins import suggest

Row = Mapping[str, Any]
"""`prompt` (string or chat messages), `answer`, `level`, `id`, `meta`; anything else is added to the `meta`."""


class Unreachable(ValueError):
    """A source's data is not here and cannot be fetched now; a twin goes on with rows of its declared columns."""


class Missing(Unreachable):
    """A file that should be here is not."""


@dataclass(frozen=True)
class Columns:
    """Which column is what; the others are passed on under their own names."""

    prompt: str
    answer: str | None
    level: str | None = None
    id: str | None = None
    suffix: str = ""  # put behind each prompt
    after: str = ""  # the answer is what follows the last such mark in its column; before it stands its rationale

    def with_suffix(self, suffix: str) -> Columns:
        return replace(self, suffix=suffix)

    @property
    def named(self) -> dict[str, str]:
        """Role -> column, for the roles that have one."""
        roles = {"prompt": self.prompt, "answer": self.answer, "level": self.level, "id": self.id}
        return {role: column for role, column in roles.items() if column is not None}

    def check(self, present: Collection[str], where: str) -> None:
        """ValueError where a named column is not in the table."""
        for role, column in self.named.items():
            if column not in present:
                advice = " Tasks without answers: `answer: null`." if role == "answer" else ""
                raise ValueError(f"{where}: no {role} column {column!r}{suggest(column, present, 'columns')}.{advice}")

    def row(self, record: Mapping[str, Any]) -> Row:
        """A task row of a record."""
        self.check(record, "record")
        used = self.named
        row = {role: record[column] for role, column in used.items()}
        row["meta"] = {name: value for name, value in record.items() if name not in used.values()}
        if self.after and row.get("answer") is not None:
            steps, _, answer = str(row["answer"]).rpartition(self.after)
            row["answer"], row["meta"]["rationale"] = answer.strip().replace(",", ""), steps.strip()
        row["prompt"] = extend(row["prompt"], self.suffix)
        return row

    def placeholder(self, name: str) -> Mapping[str, Any]:
        """A record with these columns, for when there is no real one."""
        values = {"prompt": f"(a prompt of {name})", "answer": "0", "level": 0.0, "id": "0"}
        return {column: values[role] for role, column in self.named.items()}


def expect_text(source: str, *, optional: Mapping[str, Any] = {}, **required: Any) -> None:
    """ValueError where an argument of a source is no text; the optional ones may be None."""
    for name, value in {**required, **optional}.items():
        if not isinstance(value, str) and not (value is None and name in optional):
            raise ValueError(f"{source}: {name}: expected text, got {value!r}")


def extend(prompt: str | Sequence[Mapping[str, str]], suffix: str) -> str | Sequence[Mapping[str, str]]:
    """The prompt with a text behind it; of chat messages, behind the last."""
    if not suffix or prompt is None:
        return prompt
    if isinstance(prompt, str):
        return prompt + suffix
    *before, last = prompt
    return [*before, {**last, "content": last["content"] + suffix}]


class Lines(Sequence):
    """Records of a JSONL file, parsed when asked for; only the lines' positions are kept."""

    def __init__(self, path: Path):
        self._path = path
        starts, position = [], 0
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    starts.append(position)
                position += len(line)
        self._starts = np.asarray(starts, np.int64)

    @property
    def columns(self) -> list[str]:
        """The first record's keys."""
        return list(self[0])

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        with self._path.open("rb") as file:
            file.seek(int(self._starts[index]))
            return self._parse(file.readline(), index)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        with self._path.open("rb") as file:
            yield from (self._parse(line, i) for i, line in enumerate(line for line in file if line.strip()))

    def _parse(self, line: bytes, index: int) -> Mapping[str, Any]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{self._path}, record {index + 1}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise ValueError(f"{self._path}, record {index + 1}: expected an object, got {type(record).__name__}")
        return record


class ParquetRows(Sequence):
    """Records of a Parquet file, held as Arrow columns."""

    def __init__(self, path: Path):
        from pyarrow import parquet

        self._table = parquet.read_table(path)
        self.columns: list[str] = self._table.column_names

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._table.slice(index, 1).to_pylist()[0]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch in self._table.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()
