"""A step's groups as one Arrow table: one row a completion, built in columns and not row by row.

Per-token lists are one concatenated array and its offsets. `token_text` is the completions' UTF-8 bytes
themselves, cut at the token ends: no Python string is made for a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.records.jsonl import clean, encode, halves, plain
from rltrain.types import Completion, Group, StepRecord, TokenArrays

if TYPE_CHECKING:
    import pyarrow as pa

REPLACED = "rltrain.replaced"  # in a table's metadata: characters of completions that could not be written

COLUMNS: Mapping[str, str] = {
    "step": "int64", "task_key": "string", "source": "string", "kind": "string", "group": "int64",
    "prompt": "string", "answer": "string", "meta": "string", "completion": "string", "finish_reason": "string",
    "policy_version": "int64", "weight_digest": "string", "engine": "string", "admitted": "bool",
    "reject_reason": "string", "outcome": "double", "reward": "double", "values": "string", "parts": "string",
    "error": "string", "baseline": "double", "scale": "double", "advantage": "double",
    "prompt_ids": "list<int32>", "token_ids": "list<int32>", "token_text": "list<string>",
    "logprob": "list<float>", "train_logprob": "list<float>", "ratio": "list<float>", "loss_mask": "list<bool>",
    "entropy": "list<float>", "planning": "list<bool>", "planning_bonus": "list<float>",
    "token_advantage": "list<float>", "format": "string",
}  # fmt: skip
"""The rollout schema: column -> Arrow type. Columns of the trainer are null where a group was not admitted."""


def schema() -> pa.Schema:
    """The rollout schema as Arrow's."""
    import pyarrow as pa

    single = {"string": pa.string(), "bool": pa.bool_(), "double": pa.float64(), "int64": pa.int64()}
    items = {"int32": pa.int32(), "float": pa.float32(), "bool": pa.bool_(), "string": pa.string()}
    lists = {f"list<{name}>": pa.list_(kind) for name, kind in items.items()}
    return pa.schema([(column, (single | lists)[kind]) for column, kind in COLUMNS.items()])


def rollout_table(record: StepRecord) -> pa.Table:
    """The rollout table of a step, in `COLUMNS`' order.

    Half surrogate pairs in completions, which no file can hold, become U+FFFD; their number is in its metadata.
    """
    import pyarrow as pa

    rows = [(g, i, c, record.tokens.get((g.ticket, i))) for g in record.groups for i, c in enumerate(g.completions)]
    wanted = schema()
    columns = _group_columns(record, wanted) | _score_columns(rows) | _token_columns(rows)
    table = pa.table([_typed(columns[field.name], field.type) for field in wanted], schema=wanted)
    replaced = sum(halves(completion.text) for _, _, completion, _ in rows)
    return table.replace_schema_metadata({REPLACED: str(replaced)}) if replaced else table


Row = tuple[Group, int, Completion, TokenArrays | None]


def _group_columns(record: StepRecord, wanted: pa.Schema) -> dict[str, Any]:
    """What all completions of a group share, made once a group and repeated."""
    import pyarrow as pa

    groups = record.groups
    repeat = pa.array(np.repeat(np.arange(len(groups)), [len(g.completions) for g in groups]))
    once = {
        "step": [record.step] * len(groups),
        "task_key": [clean(g.task.key) for g in groups],
        "source": [clean(g.task.source) for g in groups],
        "kind": [g.task.kind for g in groups],
        "group": [g.ticket for g in groups],
        "prompt": [encode(g.task.prompt) for g in groups],
        "answer": [_text(g.task.answer) for g in groups],
        "meta": [encode(g.task.meta) for g in groups],
        "admitted": [g.admitted for g in groups],
        "reject_reason": [_text(g.reject_reason) for g in groups],
        "prompt_ids": _lists([g.prompt_ids for g in groups], np.int32),
    }
    return {name: _typed(column, wanted.field(name).type).take(repeat) for name, column in once.items()}


def _score_columns(rows: Sequence[Row]) -> dict[str, Any]:
    """One value a completion."""
    scores = [g.scores[i] if g.scores else None for g, i, _, _ in rows]
    advantages = [g.advantages[i] if g.advantages else None for g, i, _, _ in rows]
    return {
        "completion": [clean(c.text) for _, _, c, _ in rows],
        "finish_reason": [c.finish_reason for _, _, c, _ in rows],
        "policy_version": [c.policy_version for _, _, c, _ in rows],
        "weight_digest": [c.weight_digest for _, _, c, _ in rows],
        "engine": [clean(c.engine) for _, _, c, _ in rows],
        "outcome": [s and s.outcome for s in scores],
        "reward": [s and s.total for s in scores],
        "values": [s and encode(s.values) for s in scores],
        "parts": [s and encode(s.parts) for s in scores],
        "error": [s and _text(s.error) for s in scores],
        "baseline": [a and a.baseline for a in advantages],
        "scale": [a and a.scale for a in advantages],
        "advantage": [a and a.value for a in advantages],
        "format": [clean(g.formats[i]) if g.formats else None for g, i, _, _ in rows],
    }


def _token_columns(rows: Sequence[Row]) -> dict[str, Any]:
    """One list a completion."""

    def trained(field: str) -> list[np.ndarray | None]:
        return [None if t is None else getattr(t, field) for _, _, _, t in rows]

    return {
        "token_ids": _lists([c.token_ids for _, _, c, _ in rows], np.int32),
        "token_text": _token_text([c for _, _, c, _ in rows]),
        "logprob": _lists([c.logprobs for _, _, c, _ in rows], np.float32),
        "train_logprob": _lists(trained("train_logprob"), np.float32),
        "ratio": _lists(trained("ratio"), np.float32),
        "loss_mask": _lists(trained("loss_mask"), np.bool_),
        "entropy": _lists(trained("entropy"), np.float32),
        "planning": _lists([g.planning[i] if g.planning else None for g, i, _, _ in rows], np.bool_),
        "planning_bonus": _lists(
            [g.planning_bonus[i] if g.planning_bonus else None for g, i, _, _ in rows], np.float32
        ),
        "token_advantage": _lists(trained("token_advantage"), np.float32),
    }


def _lists(arrays: Sequence[np.ndarray | None], dtype: Any) -> pa.ListArray:
    """A list column; None is a null list."""
    import pyarrow as pa

    present = [a for a in arrays if a is not None]
    values = np.concatenate(present).astype(dtype, copy=False) if present else np.empty(0, dtype)
    return _cut(pa.array(values), [0 if a is None else len(a) for a in arrays], [a is None for a in arrays])


def _cut(values: pa.Array, lengths: Sequence[int], absent: Sequence[bool]) -> pa.ListArray:
    """Lists of the given lengths, one after another, out of `values`."""
    import pyarrow as pa

    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    mask = pa.array(absent, pa.bool_()) if any(absent) else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _token_text(completions: Sequence[Completion]) -> pa.ListArray:
    """The characters that each token completes."""
    import pyarrow as pa

    for c in completions:
        end = int(c.offsets[-1]) if len(c.offsets) else 0
        assert end == len(c.text), f"token offsets end at {end}, the text has {len(c.text)} characters"
    text = "".join(clean(c.text) for c in completions)
    starts = np.cumsum([0, *(len(c.text) for c in completions)])
    ends = [np.asarray(c.offsets, np.int64) + start for c, start in zip(completions, starts[:-1], strict=True)]
    cuts = np.concatenate([np.zeros(1, np.int64), *ends])
    if not text.isascii():
        cuts = _byte_positions(text)[cuts]
    data = text.encode()
    strings = pa.StringArray.from_buffers(len(cuts) - 1, pa.py_buffer(cuts.astype(np.int32)), pa.py_buffer(data))
    return _cut(strings, [len(c.offsets) for c in completions], [False] * len(completions))


def _byte_positions(text: str) -> np.ndarray:
    """(len + 1,) position of each character in the UTF-8 bytes, and their end."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.concatenate([[0], np.cumsum(widths)])


def _text(value: str | None) -> str | None:
    return None if value is None else clean(value)


def _typed(column: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return column.cast(kind) if isinstance(column, pa.Array) else pa.array(column, kind)


def decision_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Any mappings as a table: a column of one type keeps it, anything mixed or nested becomes JSON text."""
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({clean(str(name)): _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    known = [plain(value) for value in values]
    kinds = {type(value) for value in known if value is not None}
    typed = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    kind = float if kinds == {int, float} else next(iter(kinds)) if len(kinds) == 1 else None
    if kind in typed:
        return pa.array(known, typed[kind])
    return pa.array([None if value is None else encode(value) for value in known], pa.string())
