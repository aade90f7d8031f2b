"""What runs in a scoring process, and what travels to it. Knows nothing of Ray."""

from __future__ import annotations

import ast
import ctypes
import faulthandler
import importlib
import os
import pickle
import resource
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
    """Judges batches of groups. To be run in the main thread of a process, where signals arrive.

    Rewards may take `memory_bytes` (default: half the machine's) beyond what there is once they are bound; past that
    they get MemoryError. What they print goes nowhere, and what they fork ends with this process at the latest.
    """

    def __init__(self, specs: Sequence[RewardSpec], lent: Mapping[str, object], memory_bytes: int | None = None):
        self._rewards = scoring.bind(specs, lent)
        for reward in self._rewards:
            import_ahead(reward)
        _contain(max(reward.spec.timeout_s for reward in self._rewards) + GRACE_S)
        self._start_bytes, self._memory_bytes = _data_bytes(), memory_bytes or _half_the_machine()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (self._start_bytes + self._memory_bytes, hard))

    def ping(self) -> None:
        """Answers once the rewards are bound."""

    def judge(self, payload: bytes) -> bytes:
        """Judgements for each group of the batch, one list per reward asked for; and whether this process is worn."""
        answers = []
        for task, packed, asked in pickle.loads(payload):
            completions = unpack(packed)
            answers.append([judge(self._rewards[i], task, completions, _limit) for i in asked])
        worn = _data_bytes() - self._start_bytes > self._memory_bytes // 2
        return pickle.dumps((answers, worn), protocol=5)


def _contain(seconds: float) -> None:
    """Throw away what is printed, and tie processes that rewards fork to this one: in time, number and life."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(nothing, fd)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")
    own, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def in_child() -> None:
        if os.getppid() != own:  # a child's child: this is how a fork bomb begins
            os._exit(1)
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        signal.setitimer(signal.ITIMER_REAL, seconds)

    os.register_at_fork(after_in_child=in_child)


def _data_bytes() -> int:
    """Size of this process's private writable memory, which RLIMIT_DATA limits."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) << 10


def _half_the_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise TimedOut in the main thread after `seconds`; end the process if that is not heeded."""
    own = os.getpid()
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
        if os.getpid() != own:  # a process that the reward forked and let return
            os._exit(0)


def _interrupt(signum: int, frame: Any) -> None:
    raise TimedOut


def import_ahead(reward: BoundReward) -> None:
    """Make the imports inside the functions of a reward's module, so that no call's deadline pays for them.

    Those of the modules it imports from its own package, too.
    """
    package = (home := getattr(reward.call, "__module__", "")).rpartition(".")[0]
    seen, todo = set(), [home]
    while todo:
        seen.add(module := todo.pop())
        for name in _imported(_text(module)):
            with suppress(Exception):  # a call that needs it will raise it again, as its own error
                importlib.import_module(name)
            if package and name.startswith(f"{package}.") and name in sys.modules and name not in seen:
                todo.append(name)


def _imported(source: str) -> set[str]:
    """The modules a source text imports anywhere; `from a import b` may mean a or a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _source(reward: BoundReward) -> str:
    """The text of the file a reward is in; empty where there is none."""
    return _text(getattr(reward.call, "__module__", ""))


def _text(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return Path(file).read_text(encoding="utf-8") if file.endswith(".py") else ""


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
