"""What the pool asks of an engine, whichever library runs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from rltrain.types import Completion, Ticket

NamedWeights = Iterable[tuple[str, Any]]
"""(name, tensor) pairs in the loader's order; tensors are torch tensors, which this file does not import."""


class Finished(NamedTuple):
    """A group as an engine hands it back."""

    ticket_id: int
    completions: tuple[Completion, ...]


class Engine(Protocol):
    """Samples groups under one version of the weights."""

    def submit(self, ticket: Ticket) -> None: ...
    def poll(self) -> list[Finished]:
        """Advance by one engine step; return the groups that finished with it."""

    def unfinished(self) -> int: ...
    def load(self, version: int, weights: NamedWeights) -> str:
        """Load the weights; return the digest of the bytes consumed."""

    def health(self) -> dict[str, float]: ...
