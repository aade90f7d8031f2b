"""A pool whose engines take the weights straight out of the trainer's GPU memory (`ipc`, `nccl`).

No version can be fetched again once the trainer has moved on. So publishing lets the engines finish what
they sample and then sends to all of them at once; groups that still wait for an engine, and those of an
engine that was lost, are sampled under the newest weights instead of the ones they were asked for.
Not run on a GPU yet.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from rltrain.rollouts.pool import RolloutPool
from rltrain.rollouts.slot import Slot, Version
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.transport import Sender
from rltrain.types import Completion, Ticket


class DirectPool(RolloutPool):
    """All sending is done in the training thread.

    In `publish_now`, between optimizer steps; and in `wait`, for an engine that was replaced meanwhile:
    whoever waits for groups has not trained since the newest version was published.
    """

    def __init__(self, specs: Sequence[EngineSpec], *, deadline_s: float) -> None:
        self._sender: Sender | None = None
        self._newest = -1
        self._held = False  # engines get no new groups, they are about to be sent weights
        super().__init__(specs, deadline_s=deadline_s)

    def attach(self, sender: Sender) -> None:
        """Say who sends; before the first `publish_now`."""
        self._sender = sender

    def publish_now(self, version: int) -> None:
        """Send the trainer's weights as they are to every engine, as soon as it has nothing left to sample."""
        self._held = True
        while not all(slot.ready and not slot.running for slot in self._slots):
            if not self._thread.is_alive():
                super().wait(0.0)  # raises what ended it
            time.sleep(0.005)
        self._newest = version
        self._feed()
        self._held = False
        with self._lock:
            self._assign()

    def wait(self, timeout_s: float) -> list[tuple[Ticket, tuple[Completion, ...]]]:
        """As in any pool; an engine that was replaced gets its weights first."""
        if self._newest >= 0:
            self._feed()
        return super().wait(timeout_s)

    def _feed(self) -> None:
        """Send the newest version to the engines that do not hold it."""
        assert self._sender is not None, "publish_now before attach"
        with self._lock:
            stale = [slot for slot in self._slots if slot.ready and slot.loaded != self._newest]
            receivers = [_Receiver(self, slot) for slot in stale]
        if not stale:
            return
        begun = time.monotonic()
        sent, loaded = self._sender.send(self._newest, receivers)
        with self._lock:
            known = self._versions.get(self._newest)
            assert known is None or known.digest == sent, f"the trainer moved on since version {self._newest}"
            self._versions[self._newest] = Version(None, sent)
            self._pending = collections.deque(self._renewed(ticket) for ticket in self._pending)
            for slot, receiver, consumed in zip(stale, receivers, loaded, strict=True):
                if slot.actor is not receiver.actor:
                    continue  # lost since; its replacement is fed next time
                if consumed != sent:
                    self._replace(slot, "bad weights", f"version {self._newest}: loaded {consumed}, sent {sent}")
                    continue
                slot.version = slot.loaded = self._newest
                self._load_times.append(time.monotonic() - begun)
            self._assign()

    def _renewed(self, ticket: Ticket) -> Ticket:
        return dataclasses.replace(ticket, version=self._newest)

    # --- where a pool with a store would fetch a version -------------------------------------------

    def _serves(self, slot: Slot, ticket: Ticket) -> bool:
        return not self._held and slot.loaded == self._newest == ticket.version

    def _refit(self, slot: Slot, version: int) -> None:
        """Nothing to fetch: `_feed` brings it."""

    def _replace(self, slot: Slot, cause: str, detail: str) -> None:
        if slot.running:
            slot.running = {number: self._renewed(ticket) for number, ticket in slot.running.items()}
            detail = f"{detail}; its groups are sampled again under the newest weights, no older ones are kept"
        super()._replace(slot, cause, detail)


class _Receiver:
    """An engine as `Sender` sees it."""

    def __init__(self, pool: DirectPool, slot: Slot) -> None:
        self._pool, self._slot = pool, slot
        self.name, self.actor = slot.spec.name, slot.actor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Receiver) and self.actor == other.actor

    def __hash__(self) -> int:
        return hash(self.actor)

    def call(self, method: str, *arguments: Any) -> Callable[[], Any]:
        return self._pool.ask(self._slot, method, *arguments)
