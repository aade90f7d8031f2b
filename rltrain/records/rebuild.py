"""Rollout tables back into StepRecords: our own parquet, or the `completions` files of TRL.

One step is in memory at a time, whatever the size of the files, and of a step at most `MOST` rows. What a table
lacks is derived where that is possible (formats, planning masks, tokens as words) and named in `notes` where it is not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rltrain.records import jsonl
from rltrain.records.cells import finite, whole
from rltrain.records.notes import note
from rltrain.records.outcome import OUTCOME
from rltrain.records.rows import MOST, read_rows
from rltrain.records.trl_table import said_in
from rltrain.types import Advantage, Completion, Group, Score, StepRecord, Task, TokenArrays

Read = Callable[[Sequence[Completion]], tuple[Sequence[np.ndarray], Sequence[str]]]
"""The planning masks (T,) of completions and the names of their formats, for tables that do not have them."""
ARRAYS = ("train_logprob", "entropy", "ratio", "loss_mask", "token_advantage")
LACKING = {
    "train_logprob": "no log-probs of the trainer: perplexity, covariance and drift are left out",
    "entropy": "no entropies of the trainer: what compares planning with execution by them is left out",
}
SIGNS = {"logprob": -1, "train_logprob": -1, "entropy": 1}
ROUNDING = 1e-3  # by which a number may be on the wrong side of 0


def step_records(
    files: Sequence[Path],
    read: Read,
    notes: dict[str, int],
    *,
    outcome: str | None = OUTCOME,
    anew: Collection[str] = (),
    logged: Collection[str] = (),
) -> Iterator[StepRecord]:
    """The steps of the files in order, see `read_rows`.

    `notes` collects what was missing: words -> number of rows they are true of.
    """
    step, rows = None, []
    for row in read_rows(files, notes, outcome=outcome, anew=anew, logged=logged):
        if row["step"] != step and rows:
            yield _record(step, rows, read, notes)
            rows = []
        step = row["step"]
        if len(rows) < MOST:
            rows.append(row)
        else:
            note(notes, f"steps of more than {MOST} rows: the rest is left out")
    if rows:
        yield _record(step, rows, read, notes)


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
        note(notes, "groups of one completion: what compares completions of a group leaves them out")
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
    planning, formats = _marks(rows, completions, read)
    group = Group(
        ticket=number,
        task=_task(first, number, len(rows), notes),
        prompt_ids=np.asarray(first.get("prompt_ids") if first.get("prompt_ids") is not None else [], np.int32),
        completions=completions,
        scores=_scores(rows, notes),
        advantages=_advantages(rows, notes),
        planning=planning,
        formats=formats,
        admitted=first.get("admitted") is not False,
        reject_reason=first.get("reject_reason"),
    )
    return group, [_arrays(row, len(c.token_ids), notes) for row, c in zip(rows, completions, strict=True)]


def _marks(
    rows: Sequence[Mapping[str, Any]], completions: Sequence[Completion], read: Read
) -> tuple[tuple[np.ndarray, ...], tuple[str, ...]]:
    """Planning masks and formats, as the table has them; where it lacks some, the group is read now.

    What the table says is not of the policy (`loss_mask`) never plans, also where the trainer's arrays are not there.
    """
    lengths = [len(completion.token_ids) for completion in completions]
    masks = [_mask(row, "planning", length) for row, length in zip(rows, lengths, strict=True)]
    names = [row.get("format") for row in rows]
    if not all(names) or any(mask is None for mask in masks):
        found = read(completions)
        masks = [now if mask is None else mask for mask, now in zip(masks, found[0], strict=True)]
        names = [name or now for name, now in zip(names, found[1], strict=True)]
    own = [_mask(row, "loss_mask", length) for row, length in zip(rows, lengths, strict=True)]
    return tuple(m if of is None else m & of for m, of in zip(masks, own, strict=True)), tuple(names)


def _mask(row: Mapping[str, Any], name: str, length: int) -> np.ndarray | None:
    """A mask (T,) of a row; None where it has none of its completion's length."""
    mask = row.get(name)
    return np.asarray(mask, bool) if mask is not None and len(mask) == length else None


def _advantages(rows: Sequence[Mapping[str, Any]], notes: dict[str, int]) -> tuple[Advantage, ...]:
    """The advantages of a group, 0 for one that is no number; none where its table has none."""
    values = [finite(row.get("advantage")) for row in rows]
    lacking = sum(value is None for value in values)
    if lacking and rows[0].get("admitted") is not False:
        note(notes, "no advantage: what rests on it is left out, or takes it for 0 beside others of its group", lacking)
    if lacking == len(rows):
        return ()
    return tuple(
        Advantage(value or 0.0, _number(row.get("baseline")), _number(row.get("scale"), 1.0))
        for row, value in zip(rows, values, strict=True)
    )


def _task(row: Mapping[str, Any], number: int, rows: int, notes: dict[str, int]) -> Task:
    prompt = row.get("prompt") or ""
    messages = jsonl.value_of(prompt)
    if not (isinstance(messages, list) and all(isinstance(m, dict) and "content" in m for m in messages)):
        messages = [{"role": "user", "content": prompt}]
    messages = [message | {"content": said_in(message["content"])} for message in messages]
    if not prompt:
        told = "" if row.get("task_key") else ", and without a task key each group is a task of its own"
        note(notes, f"no prompt: what compares completions with it is left out{told}", rows)
    source = row.get("source") or "all"
    kind = "creative" if row.get("kind") == "creative" else "structured"
    key = row.get("task_key") or (task_key(source, prompt) if prompt else f"{source}/{number}")
    return Task(key, source, kind, tuple(messages), row.get("answer"), meta=_mapping(row, "meta", notes))


def task_key(source: str, prompt: str) -> str:
    """A key for a task that has none: the same prompt has the same at every step."""
    return f"{source}/{hashlib.blake2b(prompt.encode(errors='replace'), digest_size=8).hexdigest()}"


def _completion(row: Mapping[str, Any], notes: dict[str, int]) -> Completion:
    text, ids = row.get("completion") or "", row.get("token_ids")
    joined, ends = row.get("token_text") or (None, None)
    if joined != text:
        note(notes, "no tokens: words stand for them, so that lengths are in words")
        ends, ids = _word_ends(text), None
    if ids is None or len(ids) != len(ends):
        ids = np.arange(len(ends))
    logprobs = row.get("logprob")
    if logprobs is None or len(logprobs) != len(ends):
        note(notes, "no log-probs of the sampler")
        logprobs = np.full(len(ends), np.nan)
    return Completion(
        np.asarray(ids, np.int32), _possible(np.asarray(logprobs, np.float32), "logprob", notes), ends, text,
        "length" if row.get("finish_reason") == "length" else "stop",
        whole(row.get("policy_version")) or 0, row.get("weight_digest") or "", row.get("engine") or "",
    )  # fmt: skip


def _word_ends(text: str) -> np.ndarray:
    """Ends (T,) int32 of the parts of a text that is cut before each word."""
    return np.array([found.end() for found in re.finditer(r"\s*\S+\s*\Z|\s*\S+|\s+\Z", text)], np.int32)


def _scores(rows: Sequence[Mapping[str, Any]], notes: dict[str, int]) -> tuple[Score, ...]:
    """The scores of a group; none where its table has neither rewards nor outcomes."""
    if all(row.get(name) is None for row in rows for name in ("reward", "outcome", "error")):
        note(notes, "no reward, no outcome: how such completions fared is not known", len(rows))
        return ()
    return tuple(_score(row, notes) for row in rows)


def non_finite(reward: float) -> str:
    """Why a score with such a reward failed."""
    return f"NonFinite: the reward is {reward}"


def _score(row: Mapping[str, Any], notes: dict[str, int]) -> Score:
    """A score; where only the outcome is known, that is the reward as well."""
    outcome, reward, error = (row.get(name) for name in ("outcome", "reward", "error"))
    known = finite(outcome)
    if outcome is not None and known is None:
        note(notes, "NaN or infinite outcomes: they count as not known")
    if reward is not None and finite(reward) is None:
        note(notes, "NaN or infinite rewards: such scores count as failed")
        error = error or non_finite(reward)
    total = reward if reward is not None else known
    if total is None:
        error = error or "Unscored: neither a reward nor an outcome"
    return Score(
        _numbers(row, "values", notes), _numbers(row, "parts", notes), known, _number(total), error,
    )  # fmt: skip


def _mapping(row: Mapping[str, Any], name: str, notes: dict[str, int]) -> dict[str, Any]:
    """What the JSON text of a column holds; nothing where that is no JSON object."""
    text = row.get(name)
    found = jsonl.parsed(text) if text else {}
    if found is None:
        note(notes, f"texts in column {name} that are no JSON object: they are left out")
    return found or {}


def _numbers(row: Mapping[str, Any], name: str, notes: dict[str, int]) -> dict[str, float | None]:
    """The numbers by name, and names without one; whatever else there is means nothing."""
    known = {key: (value, finite(value)) for key, value in _mapping(row, name, notes).items()}
    return {key: number for key, (value, number) in known.items() if value is None or number is not None}


def _number(value: Any, default: float = 0.0) -> float:
    number = finite(value)
    return default if number is None else number


def _possible(values: np.ndarray, name: str, notes: dict[str, int]) -> np.ndarray:
    """The numbers of a completion's tokens (T,) float32; NaN in place of a log-prob above 0 and an entropy below."""
    wrong = values * SIGNS[name] < -ROUNDING
    if wrong.any():
        side = "below" if SIGNS[name] > 0 else "above"
        note(notes, f"numbers of column {name} {side} 0, which it cannot hold: such tokens are left out")
    return np.where(wrong, np.float32(np.nan), values)


def _arrays(row: Mapping[str, Any], length: int, notes: dict[str, int]) -> TokenArrays | None:
    """The trainer's arrays, NaN for one that is not there; None where there are none or none that can be used."""
    absent = [name for name in LACKING if row.get(name) is None]
    if len(absent) == len(LACKING):
        if row.get("admitted") is not False:
            note(notes, "no per-token arrays of the trainer: entropy, perplexity and drift are left out")
        return None
    found = {name: _array(row, name, bool if name == "loss_mask" else np.float32, length) for name in ARRAYS}
    if any(len(array) != length for array in found.values()):
        note(notes, "per-token arrays of another length than the tokens: such completions are left out")
        return None
    if length and not found["loss_mask"].any():
        note(notes, "no token is trained (loss_mask): entropy, perplexity, plans and drift leave such completions out")
    known = {name: np.isfinite(found[name][found["loss_mask"]]) for name in LACKING}
    for name, words in LACKING.items():
        if len(known[name]) and not known[name].any():
            note(notes, words)
        elif not known[name].all():
            note(notes, "NaN or infinite per-token values: such tokens are left out")
    return TokenArrays(**found | {name: _possible(found[name], name, notes) for name in LACKING})


def _array(row: Mapping[str, Any], name: str, dtype: Any, length: int) -> np.ndarray:
    value = row.get(name)
    if value is None:  # an older table: what the trainer had without corrections
        fill = {"loss_mask": True, "ratio": 1.0, "token_advantage": _number(row.get("advantage"))}
        return np.full(length, fill.get(name, np.nan), dtype)
    return np.asarray(value, dtype)
