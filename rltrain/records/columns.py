"""Which columns of somebody's table of completions can be what their names say."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rltrain.records import trl_table
from rltrain.records.notes import note
from rltrain.records.table import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

ANYTHING = ("prompt", "completion", "group")  # columns that are read whatever they hold
NAMED = ("task_key", "source", "answer")  # numbers do as well as texts


def kept(schema: pa.Schema, anew: Collection[str], notes: dict[str, int]) -> list[str]:
    """The columns of a table of ours that are read; notes of those that mean nothing or hold what cannot be meant."""
    foreign = sorted(set(schema.names) - set(COLUMNS))
    if foreign:
        note(notes, f"columns that mean nothing here: {', '.join(foreign[:8])}")
    return _fitting(schema, set(COLUMNS) - set(anew), notes)


def kept_of_trl(
    schema: pa.Schema, rewards: Collection[str], logged: Collection[str], outcome: str | None, notes: dict[str, int]
) -> list[str]:
    """The columns of a table of TRL that are read; notes of those that hold what cannot be meant."""
    if not rewards:
        others = ", ".join(sorted(set(schema.names) - trl_table.COLUMNS)[:8]) or "none"
        note(notes, f"no rewards: TRL writes each as a column of numbers, and the further columns are {others}")
    elif not set(rewards) & set(logged) and (logged or len(rewards) > 1):
        taken = ", ".join(sorted(rewards)[:8])
        note(notes, f"taken for rewards, as no trainer_state.json names one of their columns: {taken}")
    rewards = [*rewards, *({outcome} & set(schema.names) - set(rewards))]
    fitting = _fitting(schema, trl_table.COLUMNS, notes)
    return [*fitting, *rewards, *(name for name in trl_table.KEPT if name in schema.names and name not in rewards)]


def _fitting(schema: pa.Schema, names: Collection[str], notes: dict[str, int]) -> list[str]:
    found = []
    for field in schema:
        if field.name in names:
            if _fits(field.name, field.type):
                found.append(field.name)
            else:
                note(notes, f"column {field.name} is {field.type} and is left out, expected {COLUMNS[field.name]}")
    return found


def _fits(name: str, kind: pa.DataType) -> bool:
    """Whether a column of this type can be what its name says."""
    import pyarrow as pa

    if name in ANYTHING or pa.types.is_null(kind):
        return True
    expected = COLUMNS[name]
    if expected.startswith("list"):
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not listed or pa.types.is_null(kind.value_type):  # of lists that are all empty nobody knows the type
            return listed
        return (_is_text if expected == "list<string>" else _is_number)(kind.value_type)
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
