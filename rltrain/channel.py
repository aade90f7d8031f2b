"""How the process that drives the stream speaks to the other trainer processes.

The leader scatters micro-batches and announces everything else that all ranks must enter together
(saving, gathering weights, a log-prob pass); the followers repeat what they hear. With one process all
of it is a no-op.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from rltrain.batch import Row

PATIENCE = timedelta(days=7)  # a follower waits as long as the leader samples; a dead leader is noticed at once


class ProcessLost(RuntimeError):
    """Another trainer process ended or stopped answering."""


class Channel:
    """One per process; rank 0 leads. `deadline_s`: how long the leader waits for a follower's answer."""

    def __init__(self, deadline_s: float) -> None:
        self.active = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank = dist.get_rank() if self.active else 0
        self.size = dist.get_world_size() if self.active else 1
        self._group = None
        if self.active:  # Python objects travel over gloo whatever backend the gradients use
            patience = timedelta(seconds=deadline_s) if self.leads else PATIENCE
            self._group = dist.new_group(backend="gloo", timeout=patience)

    @property
    def leads(self) -> bool:
        """Whether this process drives the stream."""
        return self.rank == 0

    def scatter(self, parts: Sequence[list[Row]], num_items: int, share: float) -> list[Row]:
        """Leader: send each rank its rows of a micro-batch; returns the leader's own."""
        self._send([("batch", (part, num_items, share)) for part in parts])
        return parts[0]

    def announce(self, kind: str, argument: Any = None) -> None:
        """Leader: have every rank enter `kind` now."""
        self._send([(kind, argument)] * self.size)

    def listen(self) -> Iterator[tuple[str, Any]]:
        """Follower: what the leader says, until it says stop."""
        while True:
            heard: list[Any] = [None]
            with _named():
                dist.scatter_object_list(heard, None, src=0, group=self._group)
            if heard[0][0] == "stop":
                return
            yield heard[0]

    def gather(self, item: Any) -> list[Any]:
        """All ranks: the leader gets every rank's item, the others an empty list."""
        if not self.active:
            return [item]
        items = [None] * self.size if self.leads else None
        with _named():
            dist.gather_object(item, items, dst=0, group=self._group)
        return items or []

    def meet(self) -> None:
        """All ranks: wait until every one is here."""
        if self.active:
            with _named():
                dist.barrier(group=self._group)

    def _send(self, messages: list[tuple[str, Any]]) -> None:
        if self.active:
            with _named():
                dist.scatter_object_list([None], messages, src=0, group=self._group)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """torch reports a lost peer in the words of its sockets; say what it means."""
    try:
        yield
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise ProcessLost(f"another trainer process ended or stopped answering ({first})") from error
