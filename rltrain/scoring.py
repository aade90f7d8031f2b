"""Reward plugins judge groups: binding, routing, weights, and one Score a completion.

Pure and in this process; `rltrain/scoring_pool.py` does the same with Ray actors, with timeouts.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from rltrain import plugins
from rltrain.config import RewardSpec
from rltrain.judging import BoundReward, Form, Judgement, Limit, judge, several
from rltrain.types import Group, Kind, Score

TRL_COLUMNS = ("prompts", "completions", "completion_ids")
FORMS = "(task, completion, ...), (task, completions, ...) or TRL's (completions, **columns)"


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
            for value in several(wanted):
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


def score(rewards: Sequence[BoundReward], group: Group, limit: Limit = nullcontext) -> tuple[Score, ...]:
    """The G scores of a group; each call runs inside `limit(timeout_s)`.

    Failures are in `Score.error`; nothing is raised for a reward's fault.
    """
    applying = [r for r in rewards if r.applies_to(group.task.source, group.task.kind)]
    judgements = [judge(r, group.task, group.completions, limit) for r in applying]
    return combine(applying, judgements, len(group.completions))


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
    asynchronous = any(map(inspect.iscoroutinefunction, (call, type(call).__call__)))
    return BoundReward(spec, call, form, asynchronous, arguments, columns)


def _form(spec: RewardSpec, names: Sequence[str]) -> Form:
    """Which of the three forms the first parameters' names spell."""
    if names[:2] == ["task", "completion"]:
        return "completion"
    if names[:2] == ["task", "completions"]:
        return "group"
    if names and names[0] in TRL_COLUMNS:
        return "trl"
    raise ValueError(f"reward {spec.use!r}: expected {FORMS}, got ({', '.join(names)})")
