"""Reward plugins judge groups: routing, the three call forms, weights, and failures as typed data.

Pure and in this process; `rltrain/scoring_pool.py` runs the same functions in Ray actors, with timeouts.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rltrain import plugins
from rltrain.config import RewardSpec
from rltrain.types import Completion, Group, Kind, Score, Task

Form = Literal["completion", "group", "trl"]
TRL_COLUMNS = ("prompts", "completions", "completion_ids")
FORMS = "(task, completion, ...), (task, completions, ...) or TRL's (completions, **columns)"


class TimedOut(BaseException):
    """A reward took longer than it may. No `Exception`, so that a reward's own handlers let it pass."""


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
    arguments: Mapping[str, Any]  # from the config, and what is lent
    columns: frozenset[str] | None  # TRL form: the columns it names; None: it takes all

    @property
    def label(self) -> str:
        """Its name in scores and metrics."""
        return self.spec.label

    def applies_to(self, source: str, kind: Kind) -> bool:
        """Whether tasks of this source and kind are judged by it."""
        values = {"source": source, "kind": kind}
        return all(values[field] in _several(wanted) for field, wanted in self.spec.only.items())


def bind(specs: Sequence[RewardSpec], lent: Mapping[str, object] = {}) -> list[BoundReward]:
    """Resolve the rewards and check their arguments. `lent` goes to those that name it as a parameter.

    ValueError for an unknown plugin, a wrong argument, a form that is none of the three, a bad range, and
    two rewards of one name.
    """
    bound = [_bind(spec, lent) for spec in specs]
    labels = [reward.label for reward in bound]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"rewards: two are called {label!r}; give one of them another `name`")
    return bound


def check_routing(rewards: Sequence[BoundReward], kinds: Mapping[str, Kind]) -> list[str]:
    """What applies to what; `kinds` maps each source to its kind. Returns notes.

    ValueError where two outcome rewards meet in one source, or `only` names what is not there.
    """
    notes = []
    there = {"source": list(kinds), "kind": sorted(set(kinds.values()))}
    for reward in rewards:
        for field, wanted in reward.spec.only.items():
            for value in _several(wanted):
                if value not in there[field]:
                    advice = plugins.suggest(value, there[field], "the tasks have")
                    raise ValueError(f"reward {reward.label!r}: only {field} {value!r}, which no task has{advice}")
    for source, kind in kinds.items():
        applying = [r for r in rewards if r.applies_to(source, kind)]
        outcomes = [r.label for r in applying if r.spec.role == "outcome"]
        if len(outcomes) > 1:
            raise ValueError(
                f"rewards: {' and '.join(outcomes)} both give the outcome of source {source!r}; one may. "
                "Restrict them with `only`, or give one `role: shaping`"
            )
        if not applying:
            raise ValueError(f"rewards: none applies to source {source!r} (kind {kind})")
        if not outcomes:
            notes.append(f"source {source!r}: no outcome reward applies, so nothing filters or evaluates it")
    return notes


def score(rewards: Sequence[BoundReward], group: Group) -> tuple[Score, ...]:
    """The G scores of a group. Failures are in `Score.error`; nothing is raised for a reward's fault."""
    applying = [r for r in rewards if r.applies_to(group.task.source, group.task.kind)]
    return combine(applying, [judge(r, group.task, group.completions) for r in applying], len(group.completions))


def judge(
    reward: BoundReward,
    task: Task,
    completions: Sequence[Completion],
    limit: Callable[[float], AbstractContextManager] = nullcontext,
) -> list[Judgement]:
    """One reward on the completions of one group. Each call runs inside `limit(timeout_s)`."""
    if reward.form == "completion" and not inspect.iscoroutinefunction(reward.call):
        returned = [_attempt(reward, limit, lambda c=c: reward.call(task, c, **reward.arguments)) for c in completions]
    else:
        returned = _spread(_attempt(reward, limit, lambda: _call(reward, task, completions)), len(completions))
    judgements = [_judgement(reward, value) for value in returned]
    first = next((i for i, value in enumerate(returned) if isinstance(value, _Failure)), None)
    return [j if i == first else j._replace(error=_first_line(j.error)) for i, j in enumerate(judgements)]


def combine(rewards: Sequence[BoundReward], judgements: Sequence[Sequence[Judgement]], count: int) -> tuple[Score, ...]:
    """The scores of `count` completions from what each applying reward said of each.

    A failed reward has no value and leaves no outcome; `error` says so, and such a score counts nowhere.
    """
    return tuple(_score(rewards, [of_reward[i] for of_reward in judgements]) for i in range(count))


def _score(rewards: Sequence[BoundReward], judgements: Sequence[Judgement]) -> Score:
    values: dict[str, float | None] = {}
    parts: dict[str, float] = {}
    errors: list[str] = []
    outcome, total = None, 0.0
    for reward, (value, own_parts, error) in zip(rewards, judgements, strict=True):
        values[reward.label] = value
        parts |= {f"{reward.label}/{name}": part for name, part in own_parts.items()}
        if error is not None:
            errors.append(error)
        if value is not None:
            total += reward.spec.weight * value
            if reward.spec.role == "outcome":
                assert outcome is None, f"two outcomes, the second from {reward.label}; check_routing refuses that"
                low, high = reward.spec.range or (0.0, 1.0)
                outcome = (value - low) / (high - low)
    if errors:  # what each says, then the tracebacks there are
        heads, tracebacks = zip(*(error.partition("\n")[::2] for error in errors), strict=True)
        return Score(values, parts, None, total, "\n".join(filter(None, ("; ".join(heads), *tracebacks))))
    return Score(values, parts, outcome, total)


# --- binding -------------------------------------------------------------------------------------


def _bind(spec: RewardSpec, lent: Mapping[str, object]) -> BoundReward:
    call = plugins.resolve(spec.use, "rltrain.rewards")
    if not callable(call) or inspect.isclass(call):
        raise ValueError(f"reward {spec.use!r}: expected a function {FORMS}, got {type(call).__name__} {call!r}")
    parameters = inspect.signature(call).parameters
    form = _form(spec, list(parameters))
    own = {"completion": ("task", "completion"), "group": ("task", "completions"), "trl": TRL_COLUMNS}[form]
    columns = None
    if form == "trl":
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        required = {n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        columns = None if open_ended else frozenset(parameters) - spec.args.keys()
        own = (*own, *(required - spec.args.keys()))  # a required column must come with the task
    asked = plugins.bind(call, spec.args, given={*own, *(lent.keys() - spec.args.keys())})
    if spec.range is not None:
        if spec.role != "outcome":
            raise ValueError(f"reward {spec.label!r}: `range` maps an outcome, and its role is {spec.role}")
        if not spec.range[0] < spec.range[1]:
            raise ValueError(f"reward {spec.label!r}: expected range [low, high] with low < high, got {spec.range}")
    arguments = {**spec.args, **{name: lent[name] for name in asked & lent.keys()}}
    return BoundReward(spec, call, form, arguments, columns)


def _form(spec: RewardSpec, names: Sequence[str]) -> Form:
    """Which of the three forms the first parameters' names spell."""
    if names[:2] == ["task", "completion"]:
        return "completion"
    if names[:2] == ["task", "completions"]:
        return "group"
    if names and names[0] in TRL_COLUMNS:
        return "trl"
    raise ValueError(f"reward {spec.use!r}: expected {FORMS}, got ({', '.join(names)})")


def _several(wanted: str | Iterable[str]) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted)


# --- calling -------------------------------------------------------------------------------------


class _Failure(NamedTuple):
    error: str


def _attempt(reward: BoundReward, limit: Callable[[float], AbstractContextManager], call: Callable[[], Any]) -> Any:
    """What the call returns, or a _Failure with the exception's type, first line and traceback."""
    try:
        with limit(reward.spec.timeout_s):
            return call()
    except TimedOut:
        return _Failure(f"Timeout: reward {reward.label!r} took longer than {reward.spec.timeout_s:g} s")
    except Exception as error:  # a reward's fault is data: it must not end the run, nor be lost
        return _raised(error)


def _raised(error: Exception) -> _Failure:
    told = "".join(traceback.format_exception(error))
    return _Failure(f"Raised {type(error).__name__}: {_first_line(str(error))}\n{told}")


def _call(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> Any:
    """Call the forms that see the whole group, and everything that is async."""
    if reward.form == "completion":
        return asyncio.run(_gather(reward, task, completions))
    if reward.form == "group":
        returned = reward.call(task, completions, **reward.arguments)
    else:
        returned = reward.call(**_trl_columns(reward, task, completions))
    return asyncio.run(_wait(returned)) if inspect.isawaitable(returned) else returned


async def _gather(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> list[Any]:
    """All completions at once; one that raises leaves the others alone."""
    calls = [reward.call(task, completion, **reward.arguments) for completion in completions]
    returned = await asyncio.gather(*calls, return_exceptions=True)
    return [_raised(r) if isinstance(r, Exception) else r for r in returned]


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _trl_columns(reward: BoundReward, task: Task, completions: Sequence[Completion]) -> dict[str, Any]:
    """TRL's arguments for a conversational data set: each column repeated once per completion."""
    repeated = {"solution": task.answer, **task.meta, "answer": task.answer}  # TRL's rewards say `solution`
    columns = {
        "prompts": [[dict(message) for message in task.prompt] for _ in completions],
        "completions": [[{"role": "assistant", "content": c.text}] for c in completions],
        "completion_ids": [c.token_ids.tolist() for c in completions],
        **{name: [value] * len(completions) for name, value in repeated.items()},
    }
    chosen = columns if reward.columns is None else {n: v for n, v in columns.items() if n in reward.columns}
    return chosen | dict(reward.arguments)


def _spread(returned: Any, count: int) -> list[Any]:
    """What a call on a group returned, one entry a completion."""
    if isinstance(returned, _Failure):
        return [returned] * count
    try:
        values = None if isinstance(returned, str | Mapping) else list(returned)
    except TypeError:
        values = None
    if values is None or len(values) != count:
        got = type(returned).__name__ if values is None else str(len(values))
        return [_Failure(f"WrongLength: expected a list of {count} values, got {got}")] * count
    return values


def _judgement(reward: BoundReward, returned: Any) -> Judgement:
    """A Judged as value and parts; everything else is a typed error."""
    if isinstance(returned, _Failure):
        return Judgement(None, error=returned.error)
    parts: dict[str, Any] = {}
    if isinstance(returned, Score):
        if returned.error is not None:
            return Judgement(None, error=returned.error)
        returned, parts = (returned.total if returned.outcome is None else returned.outcome), dict(returned.parts)
    elif isinstance(returned, Mapping):
        if "value" not in returned:
            return Judgement(None, error=f"WrongType: {reward.label!r} returned parts without 'value': {[*returned]}")
        parts = {str(name): part for name, part in returned.items() if name != "value"}
        returned = returned["value"]
    if returned is None:
        return Judgement(None)
    numbers: dict[str, float] = {}
    for name, number in (("value", returned), *parts.items()):
        converted = _number(number)
        if converted is None:
            return Judgement(None, error=f"WrongType: {reward.label!r} returned {name} {number!r}, expected a number")
        if not math.isfinite(converted):
            return Judgement(None, error=f"NotFinite: {reward.label!r} returned {name} {converted}")
        numbers[name] = converted
    value = numbers.pop("value")
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
    return float(value)


def _first_line(text: str | None) -> str | None:
    return text.split("\n", 1)[0] if text else text
