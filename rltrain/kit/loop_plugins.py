"""`rltrain plugin check` of a curriculum or a diagnostic: what the loop asks of it, in the order it asks."""

from __future__ import annotations

import inspect
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rltrain import build, plugins
from rltrain.check.lent import TrialGradients, TrialPolicy, TrialScorer
from rltrain.check.sources import check_tasks
from rltrain.check.trials import check_curriculum, check_readers, trial_group
from rltrain.check.verdicts import Section, errors, show, where
from rltrain.config import Config, CurriculumSpec
from rltrain.kit.rows import GROUPS, Kind, argument
from rltrain.types import Group, Score, StepRecord, Task, TokenArrays

STEPS, PROMPTS, SAMPLES = 6, 4, 4  # of the run that is played
BASE: Mapping[str, Any] = {
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum", "size": 64}}],
    "rewards": [{"use": "numeric"}],
    "rollouts": {"engine": "transformers"},
    "sampling": {"num_generations": SAMPLES},
    "training": {"steps": STEPS, "prompts_per_step": PROMPTS},
}


class Played(NamedTuple):
    """What came out of a plugin that some steps were played to."""

    told: list[Any]  # a step each
    state: bytes  # after half of the steps


def main(kind: Kind, use: str, arguments: Sequence[str]) -> int:
    """Print what was found. 0 where it holds, else 2."""
    from rich.console import Console

    console = Console(highlight=False, width=shutil.get_terminal_size((120, 24)).columns)
    sections = look(kind, use, dict(map(argument, arguments)))
    for section in sections:
        show(section, console)
    count = len(errors(sections))
    console.print(f"{count} error(s)", style="bold red" if count else "bold green")
    return 2 if count else 0


def look(kind: Kind, use: str, args: Mapping[str, Any]) -> list[Section]:
    """What `check` says of it in a config, and whether it repeats itself and goes on from its state."""
    chosen = (
        {"curriculum": {"use": use, **args}} if kind == "curriculum" else {"diagnostics": [{"use": use, "args": args}]}
    )
    config = Config.model_validate({**BASE, **chosen})
    _, found = check_tasks(config)
    bound = check_curriculum(config, found, {}) if kind == "curriculum" else check_readers(config, found, {})
    target = plugins.resolve(use, GROUPS[kind])
    if not (inspect.getdoc(target) or "").strip():
        bound.warn("no docstring; say in a line what it does")
    if errors([bound]):
        return [bound]
    assert found.sets is not None
    table = found.sets.train
    if kind == "curriculum":
        return [bound, behaviour(lambda seed: _Drawing(use, args, table, seed), where(target), seeded=True)]
    return [bound, behaviour(lambda seed: _Observing(use, args, table), where(target), seeded=False)]


def behaviour(make: Callable[[int], Any], place: str, *, seeded: bool) -> Section:
    """Played twice alike; again from the state in the middle; and with another seed, where it has one."""
    section = Section("behaviour")
    section.fact(f"{place}: {STEPS} steps of {PROMPTS} made groups of {SAMPLES}, outcomes from all wrong to all right")
    first = section.attempt("played once", lambda: _play(make(0)))
    if first is None:
        return section
    second = section.attempt("played again", lambda: _play(make(0)))
    if second is not None and repr(second.told) == repr(first.told):
        section.ok("the same again, built anew from the same seed" if seeded else "the same again, built anew")
    elif second is not None:
        section.error("built anew and played the same steps it says something else; a run could not be repeated")
    resumed = section.attempt("resumed from its state", lambda: _play(make(1), first.state))
    if resumed is not None and repr(resumed.told) == repr(first.told[STEPS // 2 :]):
        section.ok("goes on from its state as if nothing had happened")
    elif resumed is not None:
        section.error("from its state in the middle it goes on otherwise: state_dict leaves something out")
    return section


def _play(step: Any, state: bytes | None = None) -> Played:
    """Play the steps, or the second half of them from a state."""
    begin = 0
    if state is not None:
        step.restore(pickle.loads(state))
        begin = STEPS // 2
    told, kept = [], b""
    for number in range(begin, STEPS):
        if number == STEPS // 2:
            kept = pickle.dumps(step.state(), protocol=5)
        told.append(step(number))
    return Played(told, kept)


class _Drawing:
    """A curriculum as the loop uses it: what it draws, admits and measures in a step."""

    def __init__(self, use: str, args: Mapping[str, Any], table: Any, seed: int) -> None:
        self._own, _ = build.build_curriculum(CurriculumSpec(use=use, **args), table, seed)
        self.state, self.restore = self._own.state_dict, self._own.load_state_dict

    def __call__(self, number: int) -> Any:
        chosen = list(self._own.sample(PROMPTS))
        groups = [_group(task, number, i) for i, task in enumerate(chosen)]
        self._own.observe(groups)
        return [task.key for task in chosen], [self._own.admit(group) for group in groups], dict(self._own.metrics())


class _Observing:
    """A diagnostic as the loop uses it: what it measures and says of a step."""

    def __init__(self, use: str, args: Mapping[str, Any], table: Any) -> None:
        config = Config.model_validate(BASE)
        tagger = plugins.built(config.tagger.use, "rltrain.taggers", config.tagger.args)
        lent = {"tagger": tagger, "scorer": TrialScorer(), "policy": TrialPolicy()}
        lent["gradients"] = TrialGradients(config, None)
        self._own, self._table = plugins.built(use, GROUPS["diagnostic"], dict(args), **lent), table
        self.state, self.restore = self._own.state_dict, self._own.load_state_dict

    def __call__(self, number: int) -> Any:
        groups = tuple(_group(self._table[i], number, i) for i in range(PROMPTS))
        measured = self._own.observe(StepRecord(number + 1, groups, _tokens(groups), {}))
        return dict(measured), [(event.name, event.severity, dict(event.evidence)) for event in self._own.events()]


def _group(task: Task, number: int, place: int) -> Group:
    """A group of made completions; from step to step and place to place more or fewer of them are right."""
    right = (number + place) % (SAMPLES + 1)
    texts = [f"First, let me think.\nAnswer: {task.answer if i < right else i}" for i in range(SAMPLES)]
    scores = tuple(Score({"numeric": float(i < right)}, {}, float(i < right), float(i < right)) for i in range(SAMPLES))
    return trial_group(task, texts, scores, number * PROMPTS + place)


def _tokens(groups: Sequence[Group]) -> dict[tuple[int, int], TokenArrays]:
    """Arrays as they come from a training forward."""
    tokens = {}
    for group in groups:
        for i, completion in enumerate(group.completions):
            ones = np.ones(len(completion.token_ids), np.float32)
            tokens[group.ticket, i] = TokenArrays(-ones, ones, ones, ones.astype(bool), ones)
    return tokens
