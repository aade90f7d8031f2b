"""Rewards in Ray actors: many at once, each call with its deadline, no group lost or scored twice.

Groups travel in batches as one pickle each way. A call that runs over its `timeout_s` is interrupted by a
signal; one that does not heed it is ended with its process (a C thread does that, so code that holds the
interpreter lock is no exception). After a death each group of that batch is judged alone, one reward at a
time, and where that dies too, one completion at a time: the guilty one is known, the others are unaffected.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError

from rltrain import plugins, scoring
from rltrain.config import RewardSpec
from rltrain.judging import Judgement
from rltrain.scoring_worker import GRACE_S, Worker, arrays_read, pack
from rltrain.types import Group

BATCH = 32  # groups in one call
HOPELESS = 3  # deaths over the first completions of a group after which the others are given up: each costs seconds
START_FAILURES = 3  # workers in a row that do not come up before the pool gives up


@dataclass
class _Work:
    """A group on its way, and what is still to be asked about it."""

    group: Group
    todo: list[int]  # positions of rewards in the pool's list
    done: dict[int, list[Judgement]] = field(default_factory=dict)
    single: list[Judgement] | None = None  # of the first reward to do, as far as asked one completion at a time

    @property
    def count(self) -> int:
        """Completions of the group."""
        return len(self.group.completions)

    def asked(self) -> Group:
        """What of the group is asked about next: one completion, or all of it."""
        if self.single is None:
            return self.group
        return replace(self.group, completions=self.group.completions[len(self.single) :][:1])


@dataclass
class _Call:
    """A batch that a worker holds."""

    worker: Any
    works: list[_Work]
    rewards: list[int] | None  # None: all that are to do
    sent: float
    deadline: float


class ScoringPool:
    """Scores groups in `workers` Ray actors. Ray must be running.

    ValueError for rewards that do not bind; RuntimeError from `ready` if workers do not start.
    """

    def __init__(
        self,
        specs: Sequence[RewardSpec],
        workers: int,
        lent: Mapping[str, object] = {},
        memory_bytes: int | None = None,
    ):
        assert workers > 0, workers
        self._rewards = scoring.bind(specs, lent)
        self._arrays = sorted(set().union(*map(arrays_read, self._rewards)))
        travelling = [spec.model_copy(update={"use": plugins.absolute(spec.use)}) for spec in specs]
        self._create = lambda: ray.remote(num_cpus=0, max_restarts=0)(Worker).remote(
            travelling, dict(lent), memory_bytes
        )
        self._failures = 0
        self._queue: deque[_Work] = deque()
        self._suspects: deque[_Work] = deque()  # of a batch that died: to be judged alone
        self._starting: dict[Any, Any] = {}  # reference -> worker
        self._running: dict[Any, _Call] = {}
        self._idle: list[Any] = []
        self._finished: list[Group] = []
        for _ in range(workers):
            self._start()

    def submit(self, group: Group) -> None:
        """Queue a group; it is sent with others at the next `ready`."""
        applying = [i for i, r in enumerate(self._rewards) if r.applies_to(group.task.source, group.task.kind)]
        self._queue.append(_Work(group, applying))

    def ready(self, timeout_s: float = 0.0) -> list[Group]:
        """Groups that were scored since the last call, in no particular order.

        Waits up to `timeout_s` for the first, if any is under way.
        """
        until = time.monotonic() + timeout_s
        while True:
            self._send()
            self._receive(0.0 if self._finished else max(0.0, until - time.monotonic()))
            if self._finished or time.monotonic() >= until or not self.unfinished():
                break
        self._send()
        finished, self._finished = self._finished, []
        return finished

    def unfinished(self) -> int:
        """Groups submitted and not yet returned."""
        sent = sum(len(call.works) for call in self._running.values())
        return len(self._queue) + len(self._suspects) + sent + len(self._finished)

    def close(self) -> None:
        """End the workers; what is under way is dropped."""
        calls = [call.worker for call in self._running.values()]
        for worker in [*calls, *self._starting.values(), *self._idle]:
            ray.kill(worker)
        self._running, self._starting, self._idle = {}, {}, []

    # --- the driver's side ---

    def _start(self) -> None:
        worker = self._create()
        self._starting[worker.ping.remote()] = worker

    def _send(self) -> None:
        """Give every idle worker a suspect, or its share of the queue."""
        while self._idle and (self._suspects or self._queue):
            if self._suspects:
                work = self._suspects.popleft()
                works, rewards = [work], work.todo[:1]
            else:
                share = min(BATCH, -(-len(self._queue) // len(self._idle)))
                works, rewards = [self._queue.popleft() for _ in range(share)], None
            worker = self._idle.pop()
            payload = [pack(work.asked(), rewards or work.todo, self._arrays) for work in works]
            now = time.monotonic()
            allowed = sum(self._allowed_s(work, rewards or work.todo) for work in works)
            reference = worker.judge.remote(pickle.dumps(payload, protocol=5))
            self._running[reference] = _Call(worker, works, rewards, now, now + allowed)

    def _allowed_s(self, work: _Work, rewards: Sequence[int]) -> float:
        """More than a worker can take that keeps its own deadlines; past it the machine it is on is gone."""
        return sum(work.count * self._rewards[i].spec.timeout_s + GRACE_S for i in rewards) + 10.0

    def _receive(self, wait_s: float) -> None:
        """Take what workers returned, and replace those that died or are past every deadline."""
        references = [*self._starting, *self._running]
        if not references:
            return
        done, _ = ray.wait(references, num_returns=1, timeout=min(wait_s, 1.0))
        if done and len(references) > 1:
            done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in done:
            if reference in self._starting:
                self._started(reference)
            else:
                self._returned(reference)
        now = time.monotonic()
        for reference in [r for r, call in self._running.items() if now > call.deadline]:
            call = self._running.pop(reference)
            ray.kill(call.worker)
            self._lost(call)

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except RayActorError as error:
            self._failures += 1
            if self._failures >= START_FAILURES:
                raise RuntimeError(f"scoring workers do not start, {self._failures} in a row: {error}") from error
            self._start()
        else:
            self._failures = 0
            self._idle.append(worker)

    def _returned(self, reference: Any) -> None:
        call = self._running.pop(reference)
        try:
            answers, worn = pickle.loads(ray.get(reference))
        except RayActorError:
            self._lost(call)
            return
        if worn:  # its rewards keep what they allocate
            ray.kill(call.worker)
            self._start()
        else:
            self._idle.append(call.worker)
        for work, judgements in zip(call.works, answers, strict=True):
            self._judged(work, dict(zip(call.rewards or work.todo, judgements, strict=True)))

    def _judged(self, work: _Work, judgements: Mapping[int, list[Judgement]]) -> None:
        """Note what was said of a group; it is finished, or the next reward or completion is asked alone."""
        if work.single is not None:
            [(reward, said)] = judgements.items()
            work.single += said
            if len(work.single) < work.count:
                self._suspects.appendleft(work)
                return
            judgements, work.single = {reward: work.single}, None
        work.done |= judgements
        work.todo = [i for i in work.todo if i not in work.done]
        if work.todo:
            self._suspects.appendleft(work)
            return
        asked = sorted(work.done)
        scores = scoring.combine([self._rewards[i] for i in asked], [work.done[i] for i in asked], work.count)
        self._finished.append(replace(work.group, scores=scores))

    def _lost(self, call: _Call) -> None:
        """A worker died: blame what was alone with it, else find out by judging one at a time."""
        self._start()
        if call.rewards is None:
            self._suspects.extend(call.works)
            return
        [work], [guilty] = call.works, call.rewards
        reward, took = self._rewards[guilty], time.monotonic() - call.sent
        if reward.form == "completion" and work.single is None and work.count > 1:
            work.single = []
            self._suspects.appendleft(work)
            return
        error = f"WorkerDied: reward {reward.label!r} ended its process after {took:.1f} s"
        if took >= reward.spec.timeout_s:
            error = f"Timeout: reward {reward.label!r} took longer than {reward.spec.timeout_s:g} s and was ended"
        failed = 1
        if work.single is None or (len(work.single) == HOPELESS - 1 and all(said.error for said in work.single)):
            failed = work.count - len(work.single or [])
        self._judged(work, {guilty: [Judgement(None, error=error)] * failed})
