"""One engine's place in the pool, and the handshake every group must pass."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rltrain.rollouts.activity import ACTIVITIES, Activity
from rltrain.rollouts.spec import EngineSpec
from rltrain.types import Completion, Ticket


class PoolError(RuntimeError):
    """The pool cannot go on; the message names the engine and the first cause."""


class EngineLost(NamedTuple):
    """One replacement, as the loop reports it."""

    engine: str
    cause: str  # "died", "hung", "stale", "bad weights", "failed"
    detail: str
    redone: int  # groups that are done again


class Version(NamedTuple):
    """A published set of weights."""

    ref: Any  # ObjectRef of a Packed; None where weights are sent and not kept
    digest: str


@dataclasses.dataclass
class Slot:
    """One engine's place in the pool and what is known of its present tenant."""

    spec: EngineSpec
    actor: Any = None
    placement: Any = None
    asked: Any = None  # the outstanding collect call
    asked_at: float = 0.0
    ready: bool = False
    version: int = -1  # the newest load that was sent
    loaded: int = -1  # the newest load that was acknowledged
    running: dict[int, Ticket] = dataclasses.field(default_factory=dict)
    losses: int = 0  # in a row
    commands: int = 0  # sent to the present tenant
    activity: Activity = dataclasses.field(default_factory=lambda: Activity(time.monotonic()))
    tokens: int = 0  # of the groups that finished since `spent`

    @property
    def load(self) -> int:
        """Sequences it has to sample."""
        return sum(ticket.num_samples for ticket in self.running.values())

    def tell(self, method: str, *args: Any) -> Any:
        """Send a command; the number keeps the order, which Ray's threaded actors do not. Returns Ray's reference."""
        self.commands += 1
        return getattr(self.actor, method).remote(self.commands - 1, *args)

    def spent(self, now: float) -> dict[str, float]:
        """engine/* since the last call, by whatever tenants there were."""
        name, seconds, tokens = self.spec.name, self.activity.take(now), self.tokens
        self.tokens = 0
        metrics = {f"engine/{doing}_s@{name}": seconds.get(doing, 0.0) for doing in ACTIVITIES}
        generating = seconds.get("generating", 0.0)
        return metrics | ({f"engine/tokens_per_s@{name}": tokens / generating} if tokens and generating else {})


def wrong(ticket: Ticket, completions: Sequence[Completion], versions: Mapping[int, Version]) -> str | None:
    """Why these completions are not what the ticket asked for, if they are not."""
    if len(completions) != ticket.num_samples:
        return f"{len(completions)} completions for a request of {ticket.num_samples}"
    expected = versions[ticket.version].digest
    for completion in completions:
        if completion.policy_version != ticket.version or completion.weight_digest != expected:
            return (
                f"sampled under version {completion.policy_version} ({completion.weight_digest[:8]}), "
                f"asked for {ticket.version} ({expected[:8]})"
            )
    return None
