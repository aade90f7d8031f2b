"""Rewards tried in processes of their own, which may hang or die without harm to this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from rltrain import plugins, scoring
from rltrain.config import RewardSpec
from rltrain.judging import BoundReward, Judgement, TimedOut, judge
from rltrain.scoring_worker import import_ahead
from rltrain.types import Group, Score

START_S = 60.0  # for a process to start and import its reward
GRACE_S = 1.0  # between the signal that interrupts a call and the end of the process
CALLING = "calling"  # said before each call


class Trial(NamedTuple):
    """What a reward said of the completions of one group."""

    judgements: list[Judgement]
    seconds: float  # from the first call to the answer


def scores(
    rewards: Sequence[BoundReward], groups: Sequence[Group], lent: Mapping[str, object] = {}
) -> list[tuple[Score, ...]]:
    """The scores of each group. What a reward that hangs or ends its process leaves undone has failed.

    `lent` goes to rewards that name it as a parameter, and travels to their processes.
    """
    judged = [iter(trials(r, [g for g in groups if _applies(r, g)], lent)) for r in rewards]
    told = []
    for group in groups:
        applying = [(r, next(answers)) for r, answers in zip(rewards, judged, strict=True) if _applies(r, group)]
        judgements = [trial.judgements for _, trial in applying]
        told.append(scoring.combine([r for r, _ in applying], judgements, len(group.completions)))
    return told


def trials(reward: BoundReward, groups: Sequence[Group], lent: Mapping[str, object] = {}) -> list[Trial]:
    """What one reward says of each group, in a process that ends with this call.

    A group over which it hangs or dies has failed, and the next one is asked in a new process.
    """
    told: list[Trial] = []
    while len(told) < len(groups):
        told += _round(reward, groups[len(told) :], lent)
    return told


def _applies(reward: BoundReward, group: Group) -> bool:
    return reward.applies_to(group.task.source, group.task.kind)


def _round(reward: BoundReward, groups: Sequence[Group], lent: Mapping[str, object]) -> list[Trial]:
    """What is said up to the first hang or death, that one included; all of them where no call was begun at all."""
    spec = reward.spec.model_copy(update={"use": plugins.absolute(reward.spec.use)})
    context = multiprocessing.get_context("spawn")
    answers, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, spec, groups, lent, os.getcwd()))
    told: list[Trial] = []
    begun: float | None = None  # when the first call of the present group was
    called = False
    wait, fault = START_S, f"Timeout: reward {spec.label!r} was not imported within {START_S:g} s"
    try:
        process.start()
        theirs.close()  # so that the process holds the only end, and its death is seen
        while len(told) < len(groups) and answers.poll(wait):
            if (said := answers.recv()) == CALLING:
                called, begun = True, begun or time.monotonic()
                wait = spec.timeout_s + GRACE_S
                fault = f"Timeout: reward {spec.label!r} did not return within {spec.timeout_s:g} s"
            else:
                told.append(Trial(said, time.monotonic() - begun if begun else 0.0))
                begun = None
    except EOFError:
        process.join()
        fault = f"Died: reward {spec.label!r} ended its process with status {process.exitcode}"
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        answers.close()
    left = groups[len(told) :] if not called else groups[len(told) :][:1]
    return told + [Trial(_failed(group, fault), wait) for group in left]


def _failed(group: Group, error: str) -> list[Judgement]:
    return [Judgement(None, error=error)] * len(group.completions)


def _serve(
    answers: Connection, spec: RewardSpec, groups: Sequence[Group], lent: Mapping[str, object], directory: str
) -> None:
    """Judge the groups in order: what runs in the process. What a reward prints goes to standard error."""
    os.dup2(2, 1)
    os.chdir(directory)
    [reward] = scoring.bind([spec], lent)
    import_ahead(reward)
    for group in groups:
        try:
            told = judge(reward, group.task, group.completions, partial(_limit, answers))
        except KeyboardInterrupt:  # the reward's own: a person's ends the asking process, and this one with it
            told = _failed(group, f"Raised KeyboardInterrupt: reward {spec.label!r}")
        answers.send(told)


@contextmanager
def _limit(answers: Connection, seconds: float) -> Iterator[None]:
    """Tell that a call begins, and raise TimedOut in it after `seconds`."""

    def interrupt(signum: int, frame: Any) -> None:
        raise TimedOut

    answers.send(CALLING)
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
