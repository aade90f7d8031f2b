"""Rollout tables back into StepRecords: our own parquet, or the `completions` files of TRL.

One step is in memory at a time, whatever the size of the files. What a table lacks is derived where that is
possible (formats, planning masks, tokens as words) and named in `notes` where it is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.records.table import COLUMNS
from rltrain.types import Advantage, Completion, Group, Score, StepRecord, Task, TokenArrays

if TYPE_CHECKING:
    import pyarrow as pa

Read = Callable[[Completion], tuple[np.ndarray, str]]
"""A completion's planning mask (T,) and the name of its format, for tables that do not have them."""
ROWS = 1024  # read at once
ARRAYS = ("train_logprob", "entropy", "ratio", "loss_mask", "token_advantage")
TRL = {"step", "prompt", "completion", "advantage"}


def tables(path: Path) -> list[Path]:
    """The parquet files at a path, in the order of their steps. ValueError if there is none."""
    if path.is_file():
        return [path]
    for folder in (path / "rollouts", path / "completions", path):
        if found := sorted(folder.glob("*.parquet")):
            return found
    raise ValueError(
        f"{str(path)!r}: no parquet files; expected a run directory, TRL's output directory with `completions/`, "
        "a folder of parquet files or one such file"
    )


def check(files: Sequence[Path]) -> None:
    """ValueError where a file that can be read has no column `completion`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for path in files:
        try:
            names = parquet.read_schema(path).names
        except (pa.ArrowInvalid, OSError):
            continue  # `step_records` notes it
        if "completion" not in names:
            raise ValueError(f"{path}: no column `completion`; it has {', '.join(sorted(names)[:12])}")


def step_records(files: Sequence[Path], read: Read, notes: dict[str, int]) -> Iterator[StepRecord]:
    """The steps of the files in order. Rows of a step must stand together, as both writers leave them.

    `notes` collects what was missing: words -> number of rows they are true of.
    """
    step, rows = None, []
    for row in _rows(files, notes):
        if row["step"] != step and rows:
            yield _record(step, rows, read, notes)
            rows = []
        step = row["step"]
        rows.append(row)
    if rows:
        yield _record(step, rows, read, notes)


def _rows(files: Sequence[Path], notes: dict[str, int]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for number, path in enumerate(files):
        try:
            file = parquet.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            _note(notes, f"{path.name} cannot be read and is left out ({error})")
            continue
        names = set(file.schema_arrow.names)
        foreign = names - set(COLUMNS)
        trl = "outcome" not in names and names >= TRL
        kept = [name for name in file.schema_arrow.names if name in COLUMNS or trl]
        if foreign and not trl:
            _note(notes, f"columns that mean nothing here: {', '.join(sorted(foreign)[:8])}")
        for batch in file.iter_batches(ROWS, columns=kept):
            for row in _plain(batch):
                if row.get("step") is None:
                    row["step"] = number
                yield _from_trl(row, foreign) if trl else row


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with lists as numpy arrays: a Python object for each token would be ten times the memory."""
    import pyarrow as pa

    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(column.type) and not pa.types.is_string(column.type.value_type):
            columns[name] = [item.values.to_numpy(zero_copy_only=False) if item.is_valid else None for item in column]
        else:
            columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


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


def _record(step: int, rows: Sequence[dict[str, Any]], read: Read, notes: dict[str, int]) -> StepRecord:
    members: dict[Any, list[dict[str, Any]]] = {}
    for i, row in enumerate(rows):
        members.setdefault(_group_of(row, i), []).append(row)
    groups, tokens = [], {}
    for number, of_group in enumerate(members.values()):
        group, arrays = _group(number, of_group, read, notes)
        groups.append(group)
        tokens |= {(number, i): found for i, found in enumerate(arrays) if found is not None}
    if any(len(of_group) == 1 for of_group in members.values()):
        _note(notes, "groups of one completion: what compares completions of a group leaves them out")
    return StepRecord(step, tuple(groups), tokens, {})


def _group_of(row: Mapping[str, Any], index: int) -> Any:
    for name in ("group", "task_key", "prompt"):
        if row.get(name) is not None:
            return row[name]
    return index


def _group(
    number: int, rows: Sequence[Mapping[str, Any]], read: Read, notes: dict[str, int]
) -> tuple[Group, list[TokenArrays | None]]:
    first = rows[0]
    completions = tuple(_completion(row, notes) for row in rows)
    marks = [_marks(row, completion, read) for row, completion in zip(rows, completions, strict=True)]
    advantages = [row.get("advantage") for row in rows]
    group = Group(
        ticket=number,
        task=_task(first, number),
        prompt_ids=np.asarray(first.get("prompt_ids") if first.get("prompt_ids") is not None else [], np.int32),
        completions=completions,
        scores=tuple(_score(row) for row in rows),
        advantages=tuple(
            Advantage(_number(value), _number(row.get("baseline")), _number(row.get("scale"), 1.0))
            for row, value in zip(rows, advantages, strict=True)
        ),
        planning=tuple(mask for mask, _ in marks),
        formats=tuple(name for _, name in marks),
        admitted=first.get("admitted") is not False,
        reject_reason=first.get("reject_reason"),
    )
    return group, [_arrays(row, len(c.token_ids), notes) for row, c in zip(rows, completions, strict=True)]


def _marks(row: Mapping[str, Any], completion: Completion, read: Read) -> tuple[np.ndarray, str]:
    """Planning mask and format, as the table has them or as they are read now."""
    mask, name = row.get("planning"), row.get("format")
    if mask is not None and len(mask) == len(completion.token_ids) and name:
        return np.asarray(mask, bool), name
    found = read(completion)
    return found[0], name or found[1]


def _task(row: Mapping[str, Any], number: int) -> Task:
    prompt = row.get("prompt") or ""
    try:
        messages = json.loads(prompt)
    except ValueError:
        messages = None
    if not (isinstance(messages, list) and all(isinstance(m, dict) and "content" in m for m in messages)):
        messages = [{"role": "user", "content": prompt}]
    source = row.get("source") or "all"
    kind = "creative" if row.get("kind") == "creative" else "structured"
    key = row.get("task_key") or (task_key(source, prompt) if prompt else f"{source}/{number}")
    return Task(key, source, kind, tuple(messages), row.get("answer"))


def task_key(source: str, prompt: str) -> str:
    """A key for a task that has none: the same prompt has the same at every step."""
    return f"{source}/{hashlib.blake2b(prompt.encode(errors='replace'), digest_size=8).hexdigest()}"


def _completion(row: Mapping[str, Any], notes: dict[str, int]) -> Completion:
    text, pieces, ids = row.get("completion") or "", row.get("token_text"), row.get("token_ids")
    if pieces is None or "".join(pieces) != text:
        _note(notes, "no tokens: words stand for them, so that lengths are in words")
        pieces, ids = _words(text), None
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int32) if len(pieces) else np.zeros(0, np.int32)
    if ids is None or len(ids) != len(ends):
        ids = np.arange(len(ends))
    logprobs = row.get("logprob")
    if logprobs is None or len(logprobs) != len(ends):
        _note(notes, "no log-probs of the sampler")
        logprobs = np.full(len(ends), np.nan)
    return Completion(
        np.asarray(ids, np.int32), np.asarray(logprobs, np.float32), ends, text,
        "length" if row.get("finish_reason") == "length" else "stop",
        int(row.get("policy_version") or 0), row.get("weight_digest") or "", row.get("engine") or "",
    )  # fmt: skip


def _words(text: str) -> list[str]:
    """The text cut before each word; the pieces join to it."""
    import re

    return re.findall(r"\s*\S+\s*\Z|\s*\S+|\s+\Z", text)


def _score(row: Mapping[str, Any]) -> Score:
    outcome = row.get("outcome")
    known = outcome is not None and np.isfinite(outcome)
    return Score(
        _mapping(row.get("values")), _mapping(row.get("parts")), float(outcome) if known else None,
        _number(row.get("reward")), row.get("error"),
    )  # fmt: skip


def _mapping(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _number(value: Any, default: float = 0.0) -> float:
    return float(value) if value is not None and np.isfinite(value) else default


def _arrays(row: Mapping[str, Any], length: int, notes: dict[str, int]) -> TokenArrays | None:
    """The trainer's arrays; None where there are none or none that can be used."""
    if any(row.get(name) is None for name in ("train_logprob", "entropy")):
        if row.get("admitted") is not False:
            _note(notes, "no per-token arrays of the trainer: entropy, perplexity and drift are left out")
        return None
    found = {name: _array(row, name, bool if name == "loss_mask" else np.float32, length) for name in ARRAYS}
    if any(len(array) != length for array in found.values()):
        _note(notes, "per-token arrays of another length than the tokens: such completions are left out")
        return None
    finite = np.isfinite(found["train_logprob"]) & np.isfinite(found["entropy"])
    if not finite.all():
        _note(notes, "NaN or infinite per-token values: such tokens are left out")
    return TokenArrays(**found | {"loss_mask": found["loss_mask"] & finite})


def _array(row: Mapping[str, Any], name: str, dtype: Any, length: int) -> np.ndarray:
    value = row.get(name)
    if value is None:  # an older table: what the trainer had without corrections
        fill = {"loss_mask": True, "ratio": 1.0, "token_advantage": _number(row.get("advantage"))}
        return np.full(length, fill[name], dtype)
    return np.asarray(value, dtype)


def _note(notes: dict[str, int], text: str) -> None:
    notes[text] = notes.get(text, 0) + 1
