"""What runs in a scoring process, and what travels to it. Knows nothing of Ray."""

from __future__ import annotations

import ast
import faulthandler
import importlib
import pickle
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from rltrain import scoring
from rltrain.config import RewardSpec
from rltrain.judging import BoundReward, Interrupted, TimedOut, judge
from rltrain.types import Completion, Group

GRACE_S = 1.0  # between the signal that interrupts a call and the end of the process


class Worker:
    """Judges batches of groups. To be run in the main thread of a process, where signals arrive."""

    def __init__(self, specs: Sequence[RewardSpec], lent: Mapping[str, object]):
        self._rewards = scoring.bind(specs, lent)
        for reward in self._rewards:
            _import_ahead(reward)

    def ping(self) -> None:
        """Answers once the rewards are bound."""

    def judge(self, payload: bytes) -> bytes:
        """Judgements for each group of the batch, one list per reward asked for."""
        answers = []
        for task, packed, asked in pickle.loads(payload):
            completions = unpack(packed)
            answers.append([judge(self._rewards[i], task, completions, _limit) for i in asked])
        return pickle.dumps(answers, protocol=5)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise TimedOut in the main thread after `seconds`; end the process if that is not heeded."""
    signal.signal(signal.SIGALRM, _interrupt)  # each time: a reward may have put its own in place
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        except KeyboardInterrupt as error:  # the reward's own: Ctrl-C is for the run's process, which ends this one
            raise Interrupted(error) from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # of its own: the signal may arrive just above
        faulthandler.cancel_dump_traceback_later()


def _interrupt(signum: int, frame: Any) -> None:
    raise TimedOut


def _import_ahead(reward: BoundReward) -> None:
    """Make the imports inside the functions of a reward's module, so that no call's deadline pays for them."""
    for node in ast.walk(ast.parse(_source(reward))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            with suppress(Exception):  # a call that needs it will raise it again, as its own error
                importlib.import_module(name)


def _source(reward: BoundReward) -> str:
    """The text of the file a reward is in; empty where there is none."""
    file = getattr(sys.modules.get(getattr(reward.call, "__module__", "")), "__file__", None)
    return Path(file).read_text(encoding="utf-8") if file else ""


# --- what travels ---

PLAIN = ("text", "finish_reason", "policy_version", "weight_digest", "engine")
ARRAYS = {"token_ids": ("token_ids",), "logprobs": ("logprobs",), "offsets": ("offsets", "token_text")}


def arrays_read(reward: BoundReward) -> set[str]:
    """The per-token fields a reward may look at: those its file mentions; of TRL's form, the ids."""
    if reward.form == "trl":
        return {"token_ids"} if reward.takes("completion_ids") else set()
    source = _source(reward)
    return {array for array, names in ARRAYS.items() if not source or any(name in source for name in names)}


def pack(group: Group, asked: Sequence[int], arrays: Sequence[str]) -> tuple[Any, ...]:
    """A group as plain data, with only the arrays that are read, those of all completions in one."""
    fields = {name: [getattr(c, name) for c in group.completions] for name in PLAIN}
    joined = {}
    for name in arrays:
        rows = [getattr(c, name) for c in group.completions]
        joined[name] = np.cumsum([len(row) for row in rows]), np.concatenate(rows)
    return group.task, (fields, joined), list(asked)


def unpack(packed: tuple[dict[str, list], dict[str, tuple[np.ndarray, np.ndarray]]]) -> list[Completion]:
    """The completions again. An array that was not sent is absent: reading it raises, it is never empty."""
    fields, joined = packed
    rows = fields | {name: np.split(array, ends[:-1]) for name, (ends, array) in joined.items()}
    completions = []
    for values in zip(*rows.values(), strict=True):
        completion = object.__new__(Completion)
        for name, value in zip(rows, values, strict=True):
            object.__setattr__(completion, name, value)
        completions.append(completion)
    return completions
