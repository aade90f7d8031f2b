"""A run's records in long form, one row a value, a token or an event: what notebooks and data frames like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rltrain.metrics import area, stem
from rltrain.records.table import COLUMNS
from rltrain.types import Event

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("logprob", "train_logprob", "ratio", "entropy", "planning_bonus", "token_advantage")
MARKS = ("loss_mask", "planning")
OF_COMPLETION = ("step", "group", "sample", "task_key", "source", "admitted", "format", "outcome", "advantage")


def curves(metrics: pd.DataFrame, wanted: Sequence[str] = ()) -> pd.DataFrame:
    """Columns step, name, class, value; a row for each value that is there.

    `reward/mean@chain_sum` has the name `reward/mean` and the class `chain_sum`; without a class it is missing.
    `wanted`: areas, names or full names; nothing: all.
    """
    chosen = [
        name
        for name in metrics.columns
        if name != "step" and (not wanted or {name, stem(name), area(name)} & set(wanted))
    ]
    long = metrics.melt("step", chosen, "column", "value").dropna(subset=["value"])
    parts = {name: (stem(name), name.partition("@")[2] or None) for name in chosen}
    names, classes = ([parts[name][i] for name in long["column"]] for i in (0, 1))
    return long.assign(**{"name": names, "class": classes})[["step", "name", "class", "value"]].reset_index(drop=True)


def tokens(rollouts: pd.DataFrame) -> pd.DataFrame:
    """One row a token, in the order of the completions and in them of the text.

    What belongs to the completion is repeated; `sample` counts the completions of a group, `position` the tokens of
    a completion. What a completion does not have (the trainer's columns where it was not admitted) is missing.
    """
    import pandas as pd

    rollouts = rollouts.reindex(columns=list(COLUMNS))  # an older file may have fewer
    texts = [_list(text) for text in rollouts["token_text"]]
    counts = np.array([0 if text is None else len(text) for text in texts], np.int64)
    numbered = rollouts.assign(sample=rollouts.groupby(["step", "group"], sort=False).cumcount())
    found = {name: np.repeat(numbered[name].to_numpy(), counts) for name in OF_COMPLETION}
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    found["position"] = np.arange(counts.sum()) - starts
    found["token_id"] = pd.array(_joined(rollouts["token_ids"], counts), "Float64").astype("Int64")
    found["token"] = np.array([piece for text in texts if text is not None for piece in text], object)
    found |= {name: _joined(rollouts[name], counts) for name in NUMBERS}
    found |= {name: pd.array(_joined(rollouts[name], counts), "boolean") for name in MARKS}
    return pd.DataFrame(found)


def _list(value: Any) -> Sequence[Any] | None:
    """A cell that holds a list; None where there is nothing in it."""
    return value if isinstance(value, np.ndarray | list) else None


def _joined(lists: Iterable[Any], counts: np.ndarray) -> np.ndarray:
    """(N,) the numbers of all lists one after another; NaN for a list that is not there or of another length."""
    parts = [
        np.asarray(values, np.float64) if values is not None and len(values) == count else np.full(count, np.nan)
        for values, count in zip(map(_list, lists), counts, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def events(found: Sequence[Event]) -> pd.DataFrame:
    """Columns step, name, severity, evidence (a mapping) and advice."""
    import pandas as pd

    columns = ("step", "name", "severity", "evidence", "advice")
    return pd.DataFrame({name: [getattr(event, name) for event in found] for name in columns}, columns=columns)
