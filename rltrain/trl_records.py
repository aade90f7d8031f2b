"""What was heard of a `GRPOTrainer` in one optimizer step, as a StepRecord."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltrain.collect import read
from rltrain.records.rebuild import non_finite, task_key
from rltrain.records.trl_table import UNSCORED, said_in
from rltrain.tokenizers import TokenText
from rltrain.trl_taps import Judged, Row
from rltrain.types import Advantage, Completion, FormatClassifier, Group, Message, Score, StepRecord, Tagger, Task


def step_record(
    step: int, rows: Sequence[Row], text: TokenText, tagger: Tagger, formats: FormatClassifier, outcome: str | None
) -> StepRecord:
    """The step's groups with their per-token arrays. `outcome`: name of the reward that is the task's result.

    Completions of one prompt in one generation are a group, in any order and from any process.
    """
    members: dict[Any, list[Row]] = {}
    for row in rows:
        members.setdefault(row.group, []).append(row)
    groups, tokens = [], {}
    for ticket, name in enumerate(sorted(members)):
        of_group = members[name]
        groups.append(_group(ticket, step, of_group, text, tagger, formats, outcome))
        tokens |= {(ticket, i): row.tokens for i, row in enumerate(of_group) if row.tokens is not None}
    return StepRecord(step, tuple(groups), tokens, {})


def _group(
    ticket: int,
    step: int,
    rows: Sequence[Row],
    text: TokenText,
    tagger: Tagger,
    formats: FormatClassifier,
    outcome: str | None,
) -> Group:
    completions = tuple(_completion(row, step, text) for row in rows)
    judged = [row.judged for row in rows if row.judged is not None]
    planning, named = read(completions, tagger, formats)
    return Group(
        ticket=ticket,
        task=_task(judged[0] if judged else None, rows[0].prompt_ids, text),
        prompt_ids=rows[0].prompt_ids.astype(np.int32),
        completions=completions,
        scores=tuple(_score(of, outcome) for of in judged) if len(judged) == len(rows) else (),
        advantages=tuple(_advantage(row) for row in rows) if rows[0].advantage is not None else (),
        planning=planning,
        formats=named,
    )


def _completion(row: Row, step: int, text: TokenText) -> Completion:
    said, ends = text(row.token_ids)
    return Completion(
        token_ids=row.token_ids.astype(np.int32),
        logprobs=np.full(len(ends), np.nan, np.float32) if row.sampler is None else row.sampler.astype(np.float32),
        offsets=ends,
        text=said,
        finish_reason="length" if row.truncated else "stop",
        policy_version=step - 1,
        weight_digest="",
        engine="trl",
    )


def _task(judged: Judged | None, prompt_ids: np.ndarray, text: TokenText) -> Task:
    columns: Mapping[str, str] = judged.columns if judged else {}
    source = columns.get("source", "all")
    prompt = messages(judged.prompt if judged else text(prompt_ids)[0])
    key = task_key(source, json.dumps(prompt, ensure_ascii=False))
    kind = "creative" if columns.get("kind") == "creative" else "structured"
    return Task(key, source, kind, prompt, columns.get("answer"))


def messages(prompt: Any) -> tuple[Message, ...]:
    """A prompt of TRL, text or chat messages, as messages of text; of an image its place is left."""
    if not isinstance(prompt, list):
        return ({"role": "user", "content": str(prompt)},)
    return tuple({"role": str(m.get("role", "user")), "content": said_in(m.get("content"))} for m in prompt)


def _score(judged: Judged, outcome: str | None) -> Score:
    if judged.total is None:
        return Score(values=judged.values, error=UNSCORED)
    if not math.isfinite(judged.total):
        return Score(values=judged.values, error=non_finite(judged.total))
    value = judged.values.get(outcome) if outcome else None
    return Score(judged.values, {}, value if value is not None and 0 <= value <= 1 else None, judged.total)


def _advantage(row: Row) -> Advantage:
    """TRL's advantage, with the baseline that explains it at scale 1."""
    total = row.judged.total if row.judged is not None else None
    return Advantage(row.advantage, total - row.advantage if total is not None else 0.0, 1.0)
