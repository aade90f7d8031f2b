"""How the process that drives the stream speaks to the other trainer processes.

The leader scatters micro-batches and announces everything else that all ranks must enter together
(saving, gathering weights, a log-prob pass); the followers repeat what they hear. With one process all
of it is a no-op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.distributed as dist

from rltrain.batch import Row


class Channel:
    """One per process; rank 0 leads."""

    def __init__(self) -> None:
        self.active = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank = dist.get_rank() if self.active else 0
        self.size = dist.get_world_size() if self.active else 1
        # Python objects travel over gloo whatever backend the gradients use.
        self._group = dist.new_group(backend="gloo") if self.active else None

    @property
    def leads(self) -> bool:
        """Whether this process drives the stream."""
        return self.rank == 0

    def scatter(self, parts: Sequence[list[Row]], num_items: int, old: Sequence[Any] | None = None) -> list[Row]:
        """Leader: send each rank its rows of a micro-batch; returns the leader's own."""
        if self.active:
            messages = [("batch", (part, num_items, old and old[i])) for i, part in enumerate(parts)]
            dist.scatter_object_list([None], messages, src=0, group=self._group)
        return parts[0]

    def announce(self, kind: str, argument: Any = None) -> None:
        """Leader: have every rank enter `kind` now."""
        if self.active:
            dist.scatter_object_list([None], [(kind, argument)] * self.size, src=0, group=self._group)

    def listen(self) -> Iterator[tuple[str, Any]]:
        """Follower: what the leader says, until it says stop."""
        while True:
            heard: list[Any] = [None]
            dist.scatter_object_list(heard, None, src=0, group=self._group)
            if heard[0][0] == "stop":
                return
            yield heard[0]

    def gather(self, item: Any) -> list[Any]:
        """All ranks: the leader gets every rank's item, the others an empty list."""
        if not self.active:
            return [item]
        items = [None] * self.size if self.leads else None
        dist.gather_object(item, items, dst=0, group=self._group)
        return items or []
