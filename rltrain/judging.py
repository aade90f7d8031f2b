"""Calling rewards: the three forms, sync and async, and failures as typed data."""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rltrain.config import RewardSpec
from rltrain.types import Completion, Kind, Score, Task

Form = Literal["completion", "group", "trl"]
"""`(task, completion, ...)`, `(task, completions, ...)`, or TRL's `(completions, **columns)`."""

Limit = Callable[[float], AbstractContextManager]
"""Given a reward's `timeout_s`: the context its calls run in, which raises TimedOut after so long."""


class TimedOut(BaseException):
    """A reward took longer than it may. No `Exception`, so that a reward's own handlers let it pass."""


class Interrupted(Exception):
    """A reward raised KeyboardInterrupt (`own`) in a process that no person's Ctrl-C is meant for."""

    def __init__(self, own: KeyboardInterrupt):
        super().__init__(own)
        self.own = own


class Judgement(NamedTuple):
    """What one reward says of one completion."""

    value: float | None  # None: does not apply, or failed
    parts: Mapping[str, float] = {}
    error: str | None = None  # "Kind: message"; the first of a call carries the traceback below


@dataclass(frozen=True)
class BoundReward:
    """A reward with everything that is known before a group arrives."""

    spec: RewardSpec
    call: Callable[..., Any]
    form: Form
    asynchronous: bool
    arguments: Mapping[str, Any]  # from the config, and what is lent
    columns: frozenset[str] | None  # TRL form: the columns it names; None: it takes all

    @property
    def label(self) -> str:
        """Its name in scores and metrics."""
        return self.spec.label

    def applies_to(self, source: str, kind: Kind) -> bool:
        """Whether tasks of this source and kind are judged by it."""
        values = {"source": source, "kind": kind}
        return all(values[field] in several(wanted) for field, wanted in self.spec.only.items())

    def takes(self, column: str) -> bool:
        """Whether a reward of TRL's form is handed this column."""
        return self.columns is None or column in self.columns


def judge(
    reward: BoundReward,
    task: Task,
    completions: Sequence[Completion],
    limit: Limit = nullcontext,
) -> list[Judgement]:
    """One reward on the completions of one group. Each call runs inside `limit(timeout_s)`."""
    if reward.form == "completion" and not reward.asynchronous:
        returned = [_attempt(reward, limit, lambda c=c: reward.call(task, c, **reward.arguments)) for c in completions]
    else:
        returned = _spread(reward, _attempt(reward, limit, lambda: _call(reward, task, completions)), len(completions))
    judgements = [_judgement(reward, value) for value in returned]
    first = next((i for i, value in enumerate(returned) if isinstance(value, _Failure)), None)
    return [j if i == first else j._replace(error=_first_line(j.error)) for i, j in enumerate(judgements)]


def several(wanted: str | Iterable[str]) -> list[str]:
    """One name or many, as a list."""
    return [wanted] if isinstance(wanted, str) else list(wanted)


class _Failure(NamedTuple):
    error: str


def _attempt(reward: BoundReward, limit: Limit, call: Callable[[], Any]) -> Any:
    """What the call returns, or a _Failure with the exception's type, first line and traceback."""
    try:
        with limit(reward.spec.timeout_s):
            return call()
    except KeyboardInterrupt:  # a person's: where none sits, `limit` makes a reward's own an Interrupted
        raise
    except BaseException as error:  # a reward's fault is data: it must not end the run, nor be lost
        return _raised(reward, error)


def _raised(reward: BoundReward, error: BaseException) -> _Failure:
    if isinstance(error, TimedOut):
        return _Failure(f"Timeout: reward {reward.label!r} took longer than {reward.spec.timeout_s:g} s")
    if isinstance(error, Interrupted):
        error = error.own
    told = "".join(traceback.format_exception(error))
    what = f"Raised {type(error).__name__}: reward {reward.label!r}: {_first_line(_said(error))}"
    return _Failure(f"{what.removesuffix(': ')}\n{told}")


def _said(error: BaseException) -> str:
    """An exception's own words; none, where saying them raises."""
    try:
        return str(error)
    except BaseException:  # the reward's fault like the exception itself, whose type and traceback tell enough
        return ""


def _call(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> Any:
    """Call the forms that see the whole group, and everything that is async."""
    if reward.form == "completion":
        return asyncio.run(_gather(reward, task, completions))
    if reward.form == "group":
        returned = reward.call(task, completions, **reward.arguments)
    else:
        returned = reward.call(**_trl_columns(reward, task, completions))
    returned = asyncio.run(_wait(returned)) if inspect.isawaitable(returned) else returned
    return list(returned) if isinstance(returned, Iterator) else returned  # a generator's body runs here, in the limit


async def _gather(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> list[Any]:
    """All completions at once; one that raises leaves the others alone."""
    calls = [reward.call(task, completion, **reward.arguments) for completion in completions]
    returned = await asyncio.gather(*calls, return_exceptions=True)
    return [_raised(reward, r) if isinstance(r, BaseException) else r for r in returned]


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _trl_columns(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> dict[str, Any]:
    """TRL's arguments for a conversational data set: each column repeated once per completion."""
    prompt = [dict(message) for message in task.prompt]
    shared = {"prompts": prompt, "solution": task.answer, **task.meta, "answer": task.answer}  # TRL says `solution`
    columns: dict[str, Any] = {name: [value] * len(completions) for name, value in shared.items() if reward.takes(name)}
    if reward.takes("completions"):
        columns["completions"] = [[{"role": "assistant", "content": c.text}] for c in completions]
    if reward.takes("completion_ids"):
        columns["completion_ids"] = [c.token_ids.tolist() for c in completions]
    return columns | dict(reward.arguments)


def _spread(reward: BoundReward, returned: Any, count: int) -> list[Any]:
    """What a call on a group returned, one entry a completion."""
    if isinstance(returned, _Failure):
        return [returned] * count
    try:
        values = None if isinstance(returned, str | Mapping) else list(returned)
    except TypeError:
        values = None
    if values is None or len(values) != count:
        got = type(returned).__name__ if values is None else str(len(values))
        return [_Failure(f"WrongLength: reward {reward.label!r}: expected a list of {count} values, got {got}")] * count
    return values


def _judgement(reward: BoundReward, returned: Any) -> Judgement:
    """A Judged as value and parts; everything else is a typed error."""
    if isinstance(returned, _Failure):
        return Judgement(None, error=returned.error)
    parts: Mapping[str, Any] = {}
    if isinstance(returned, Score):
        if returned.error is not None:
            return Judgement(None, error=returned.error)
        returned, parts = (returned.total if returned.outcome is None else returned.outcome), returned.parts
    elif isinstance(returned, Mapping):
        if "value" not in returned:
            return Judgement(None, error=f"WrongType: {reward.label!r} returned parts without 'value': {[*returned]}")
        returned, parts = returned["value"], {name: part for name, part in returned.items() if name != "value"}
    if returned is None:
        return Judgement(None)
    numbers = {name: _number(part) for name, part in parts.items()}
    value = _number(returned)
    for name, given, number in [("", returned, value), *((n, parts[n], numbers[n]) for n in parts)]:
        what = f"{reward.label!r} returned {f'part {name!r}: ' if name else ''}"
        if number is None:
            return Judgement(None, error=f"WrongType: {what}{type(given).__name__}, expected a number")
        if not math.isfinite(number):
            return Judgement(None, error=f"NotFinite: {what}{number}")
    low, high = reward.spec.range or (0.0, 1.0)
    if reward.spec.role == "outcome" and not low <= value <= high:
        advice = "" if reward.spec.range else "; give `range: [low, high]` or `role: shaping`"
        error = f"OutOfRange: outcome {reward.label!r} is {value:g}, expected it in [{low:g}, {high:g}]{advice}"
        return Judgement(None, numbers, error)
    return Judgement(value, numbers)


def _number(value: Any) -> float | None:
    """A float, an int, a bool, or a numpy or torch scalar as float."""
    if isinstance(value, str | bytes) or not hasattr(value, "__float__") or getattr(value, "ndim", 0):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf


def _first_line(text: str | None) -> str | None:
    return text.split("\n", 1)[0] if text else text
