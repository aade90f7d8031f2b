"""What the pool asks of an engine, whichever library runs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from rltrain.types import Completion, Ticket

NamedWeights = Iterable[tuple[str, Any]]
"""(name, tensor) pairs in the loader's order; tensors are torch tensors, which this file does not import."""


class Finished(NamedTuple):
    """A group as an engine hands it back."""

    ticket_id: int
    completions: tuple[Completion, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way between processes: a few long arrays, since each one costs the driver as much as its bytes."""
        found = self.completions
        arrays = [np.concatenate([getattr(c, name) for c in found]) for name in ARRAYS] if found else []
        lengths = [len(c.token_ids) for c in found]
        rest = [(c.text, c.finish_reason, c.policy_version, c.weight_digest, c.engine) for c in found]
        return _finished, (self.ticket_id, arrays, lengths, rest)


ARRAYS = ("token_ids", "logprobs", "offsets")


def _finished(
    ticket_id: int, arrays: Sequence[np.ndarray], lengths: Sequence[int], rest: Sequence[tuple[Any, ...]]
) -> Finished:
    """The group out of its joined arrays; its completions are views of them."""
    ends = np.cumsum(lengths).tolist()
    parts = zip(lengths, ends, rest, strict=True)
    return Finished(ticket_id, tuple(Completion(*(a[end - n : end] for a in arrays), *told) for n, end, told in parts))


class Engine(Protocol):
    """Samples groups under one version of the weights."""

    def submit(self, ticket: Ticket) -> None: ...
    def poll(self) -> list[Finished]:
        """Advance by one engine step; return the groups that finished with it."""

    def unfinished(self) -> int: ...
    def load(self, version: int, weights: NamedWeights) -> str:
        """Load the weights; return the digest of the bytes consumed."""

    def health(self) -> dict[str, float]: ...
