"""The rollout pool: engines in Ray actors, fed group by group, replaced when they fail.

A thread of the driver collects finished groups, hands out tickets, checks the version and digest of
every completion, and replaces an engine that died, hung or served other weights. The groups of a lost
engine are done again; a group is delivered exactly once. One lock guards the state; nobody waits for
an engine while holding it.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rltrain.rollouts.server import LINGER_S, EngineServer, Report
from rltrain.rollouts.slot import EngineLost, PoolError, Slot, Version, wrong
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import Packed
from rltrain.types import Completion, Ticket

START_DEADLINE_S = 900.0  # loading a large model and warming it up
POLL_S = 0.5  # between two looks of the pool's thread at its clock
EMPTY_ANSWERS_PER_S = 20  # of all engines together: they wait for news the longer, the more of them there are
LOST = 3  # replacements of one engine in a row, without a group between them, after which the run stops


class RolloutPool:
    """`publish` weights, `submit` tickets, `wait` for groups. Thread-safe; made by the launcher."""

    def __init__(self, specs: Sequence[EngineSpec], *, deadline_s: float) -> None:
        self._slots = [Slot(spec) for spec in specs]
        self._deadline_s = deadline_s
        self._patience_s = max(POLL_S, min(len(specs) / EMPTY_ANSWERS_PER_S, deadline_s / 4))
        self._versions: dict[int, Version] = {}
        self._pending: collections.deque[Ticket] = collections.deque()
        self._done: queue.SimpleQueue[tuple[Ticket, tuple[Completion, ...]] | BaseException] = queue.SimpleQueue()
        self._lost: queue.SimpleQueue[EngineLost] = queue.SimpleQueue()
        self._load_times: collections.deque[float] = collections.deque(maxlen=len(specs))
        self._restarts = self._redone = 0
        self._closing = threading.Event()
        self._lock = threading.RLock()
        for slot in self._slots:
            self._start(slot)
        self._thread = threading.Thread(target=self._run, name="rollout-pool", daemon=True)
        self._thread.start()

    # --- what the loop calls ---------------------------------------------------------------------

    def publish(self, version: int, packed: Packed, digest: str) -> None:
        """Make a version the one that new tickets may ask for. The weights are stored once, in Ray."""
        weights = Version(ray.put(packed), digest)
        with self._lock:
            self._versions[version] = weights
            if not self._pending:  # nothing waits for an older version: refit now, each engine when it is free
                for slot in self._slots:
                    self._refit(slot, version)
            self._assign()

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Queue groups, each to be sampled under the version its ticket names."""
        with self._lock:
            self._pending.extend(tickets)
            self._assign()

    def wait(self, timeout_s: float) -> list[tuple[Ticket, tuple[Completion, ...]]]:
        """The groups that finished, in order of arrival; empty after `timeout_s`. PoolError when it is over."""
        found = []
        try:
            while True:
                item = self._done.get(timeout=0 if found else timeout_s)
                if isinstance(item, BaseException):
                    raise item
                found.append(item)
        except queue.Empty:
            return found

    def losses(self) -> list[EngineLost]:
        """Replacements since the last call."""
        return [self._lost.get() for _ in range(self._lost.qsize())]  # nobody else takes from it

    def metrics(self) -> dict[str, float]:
        """Counts of the run so far."""
        in_flight = sum(len(slot.running) for slot in self._slots) + len(self._pending)
        return {
            "pool/restarts": float(self._restarts),
            "pool/redone": float(self._redone),
            "pool/in_flight": float(in_flight),
        }

    def engine_metrics(self) -> dict[str, float]:
        """engine/* since the last call: what each engine did, also one that was replaced meanwhile."""
        with self._lock:
            now = time.monotonic()
            return {name: value for slot in self._slots for name, value in slot.spent(now).items()}

    def load_seconds(self) -> float:
        """Longest of the engines' newest loads."""
        return max(self._load_times, default=0.0)

    def settle(self, version: int, told: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Block until every engine has acknowledged this version; `told(done, total)` on the way. PoolError if over."""
        told(done := 0, len(self._slots))
        while done < len(self._slots):
            if not self._thread.is_alive():
                self.wait(0.0)  # raises what ended it
            time.sleep(0.01)
            now = sum(slot.loaded >= version for slot in self._slots)
            if now != done:
                told(done := now, len(self._slots))

    def inject(self, fault: str, engine: int = 0) -> None:
        """Break an engine on purpose."""
        with self._lock:
            self._slots[engine].tell("inject", fault)

    def call(self, method: str, *args: Any) -> None:
        """Call a method of every engine, in the order of its commands."""
        with self._lock:
            for slot in self._slots:
                slot.tell("call", method, *args)

    def ask(self, slot: Slot, method: str, *args: Any) -> Callable[[], Any]:
        """Call a method of one engine; the returned function waits for its result. PoolError when it is lost."""
        with self._lock:
            ref = slot.tell("ask", method, *args)

        def result() -> Any:
            try:
                return ray.get(ref, timeout=self._deadline_s)
            except ray.exceptions.RayError as error:
                raise PoolError(
                    f"{slot.spec.name} was lost in {method}: {str(error).strip().splitlines()[0]}"
                ) from error

        return result

    def close(self) -> None:
        """End the engines."""
        self._closing.set()
        self._thread.join(timeout=30)

    # --- the pool's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._turn()
        except BaseException as error:  # re-raised in `wait`, in the thread that can act on it
            self._done.put(error)
        finally:
            for slot in self._slots:
                _end(slot)

    def _turn(self) -> None:
        asked = {slot.asked: slot for slot in self._slots}
        ready, rest = ray.wait(list(asked), num_returns=1, timeout=POLL_S)
        if ready and rest:  # a moment for the others to come along: with many engines, wake-ups cost
            ready += ray.wait(rest, num_returns=len(rest), timeout=LINGER_S)[0]
        reports, now = _answers(ready), time.monotonic()
        with self._lock:
            for ref, report in zip(ready, reports, strict=True):
                if asked[ref].asked == ref:  # else the engine was replaced meanwhile
                    self._hear(asked[ref], report)
            for slot in self._slots:
                limit = (self._deadline_s if slot.ready else START_DEADLINE_S) + self._patience_s
                if now - slot.asked_at > limit:
                    self._replace(slot, "hung", f"no answer for {now - slot.asked_at:.1f} s")
            self._assign()

    def _hear(self, slot: Slot, report: Report | ray.exceptions.RayError) -> None:
        if isinstance(report, ray.exceptions.RayError):
            return self._replace(slot, "died", str(report).strip().splitlines()[0])
        slot.activity.turn(report.doing, time.monotonic(), report.seconds)
        if report.error:
            return self._replace(slot, "failed", report.error)
        limit = self._deadline_s if report.ready else START_DEADLINE_S
        if report.stalled_s > limit:
            return self._replace(slot, "hung", f"no progress for {report.stalled_s:.1f} s with work at hand")
        slot.ready = report.ready
        for version, consumed, seconds in report.loaded:
            expected = self._versions[version].digest if version in self._versions else consumed
            if consumed != expected:
                return self._replace(slot, "bad weights", f"version {version}: loaded {consumed}, sent {expected}")
            slot.loaded = version
            self._load_times.append(seconds)
        for finished in report.finished:
            ticket = slot.running[finished.ticket_id]
            if fault := wrong(ticket, finished.completions, self._versions):
                return self._replace(slot, "stale", fault)
            del slot.running[finished.ticket_id]
            slot.losses = 0
            slot.tokens += sum(len(completion.token_ids) for completion in finished.completions)
            self._done.put((ticket, finished.completions))
        self._ask(slot)
        self._forget()

    def _refit(self, slot: Slot, version: int) -> None:
        if slot.version != version:
            slot.version = version
            slot.tell("load", version, self._versions[version].ref)

    def _assign(self) -> None:
        """Hand pending tickets, oldest first, to the engines with the most room."""
        batches: dict[int, list[Ticket]] = collections.defaultdict(list)
        loads = [slot.load for slot in self._slots] if self._pending else []
        while self._pending:
            ticket = self._pending[0]
            able = [i for i, slot in enumerate(self._slots) if self._serves(slot, ticket)]
            if not able:
                break
            index = min(able, key=loads.__getitem__)
            slot = self._slots[index]
            if loads[index] + ticket.num_samples > 2 * max(slot.spec.slots, ticket.num_samples):
                break
            if slot.version != ticket.version:
                if batches[index]:
                    slot.tell("submit", batches.pop(index))
                self._refit(slot, ticket.version)
            self._pending.popleft()
            slot.running[ticket.id] = ticket
            loads[index] += ticket.num_samples
            batches[index].append(ticket)
        for index, tickets in batches.items():
            if tickets:
                self._slots[index].tell("submit", tickets)

    def _serves(self, slot: Slot, ticket: Ticket) -> bool:
        """Whether this engine can sample under the ticket's version, after a refit if need be."""
        return ticket.version in self._versions

    def _forget(self) -> None:
        """Drop weights that no ticket can ask for any more."""
        if len(self._versions) > 1:
            wanted = {t.version for slot in self._slots for t in slot.running.values()}
            wanted |= {t.version for t in self._pending} | {slot.version for slot in self._slots}
            oldest = min(wanted | {max(self._versions)})
            for version in [v for v in self._versions if v < oldest]:
                del self._versions[version]

    def _start(self, slot: Slot) -> None:
        options: dict[str, Any] = {
            "num_cpus": 0,
            "max_concurrency": 4,  # collect waits for news while submit and load come in
            "runtime_env": {"env_vars": slot.spec.environment()},
        }
        if slot.spec.gpus:
            if slot.placement is None:
                slot.placement = placement_group([{"GPU": slot.spec.gpus}])  # one node: all GPUs of one engine
            options |= {
                "num_gpus": slot.spec.gpus,
                "scheduling_strategy": PlacementGroupSchedulingStrategy(slot.placement),
            }
        slot.actor = ray.remote(EngineServer).options(**options).remote(slot.spec)
        slot.ready, slot.version, slot.loaded, slot.commands = False, -1, -1, 0
        slot.activity.turn("starting", time.monotonic())
        self._ask(slot)
        if self._versions:
            self._refit(slot, max(self._versions))

    def _ask(self, slot: Slot) -> None:
        slot.asked, slot.asked_at = slot.actor.collect.remote(self._patience_s), time.monotonic()

    def _replace(self, slot: Slot, cause: str, detail: str) -> None:
        """A new engine in this place; it refits before it serves, and the lost groups come first."""
        slot.losses += 1
        again = sorted(slot.running.values(), key=lambda ticket: ticket.id)
        self._lost.put(EngineLost(slot.spec.name, cause, detail, len(again)))
        if slot.losses >= LOST:
            raise PoolError(
                f"{slot.spec.name} was lost {slot.losses} times in a row without finishing a group; "
                f"last: {cause}: {detail}"
            )
        self._restarts += 1
        self._redone += len(again)
        slot.running.clear()
        self._pending.extendleft(reversed(again))
        ray.kill(slot.actor)
        self._start(slot)


def _answers(refs: Sequence[Any]) -> list[Report | ray.exceptions.RayError]:
    """The reports; an error where the engine's process is gone. Fetched in one call: with many engines, calls cost."""
    try:
        return ray.get(list(refs))
    except ray.exceptions.RayError as error:
        return [error] if len(refs) == 1 else [_answers([ref])[0] for ref in refs]


def _end(slot: Slot) -> None:
    if slot.actor is not None:
        ray.kill(slot.actor)
    if slot.placement is not None:
        remove_placement_group(slot.placement)
