"""An engine that has its answers ready, so that only the driver's work is left to measure.

Kept free of torch and everything else heavy: the driver's benchmark starts 64 of them.
"""

from __future__ import annotations

import collections
import random

import numpy as np

from rltrain.rollouts.engine import Finished, NamedWeights
from rltrain.rollouts.spec import EngineSpec
from rltrain.types import Completion, Ticket

DIGEST = "fake"
SENTENCES = (
    "First, let me think about what the question asks.",
    "We need to find the total of both numbers.",
    "The first number is 47 and the second one is 25.",
    "Wait, let me check that again.",
    "47 + 25 = 72, because 40 + 20 = 60 and 7 + 5 = 12.",
    "So the sum of the two is seventy-two.",
    "Another way to see it is to start at fifty and to take three away.",
    "Therefore the result stays the same.",
)


class FakeEngine:
    """One group a poll, at once. `args`: `tokens`, the length of every completion."""

    def __init__(self, spec: EngineSpec) -> None:
        self._name, self._tokens = spec.name, spec.args["tokens"]
        self._chance = random.Random(spec.name)
        self._version = -1
        self._queue: collections.deque[Ticket] = collections.deque()
        self._texts = [text(self._tokens, self._chance) for _ in range(32)]

    def submit(self, ticket: Ticket) -> None:
        """Queue a group."""
        self._queue.append(ticket)

    def unfinished(self) -> int:
        """Groups not yet handed back."""
        return len(self._queue)

    def poll(self) -> list[Finished]:
        """The oldest group."""
        ticket = self._queue.popleft()
        return [Finished(ticket.id, tuple(self._completion() for _ in range(ticket.num_samples)))]

    def _completion(self) -> Completion:
        said, n = self._chance.choice(self._texts), self._tokens
        return Completion(
            token_ids=np.arange(n, dtype=np.int32),
            logprobs=np.full(n, -0.5, dtype=np.float32),
            offsets=np.linspace(0, len(said), n + 1).astype(np.int32)[1:],
            text=said,
            finish_reason="length",
            policy_version=self._version,
            weight_digest=DIGEST,
            engine=self._name,
        )

    def load(self, version: int, weights: NamedWeights) -> str:
        """Take the version; there are no weights to take."""
        self._version = version
        return DIGEST

    def health(self) -> dict[str, float]:
        """Groups queued."""
        return {"queued": float(len(self._queue))}


def text(tokens: int, chance: random.Random) -> str:
    """A text as long as so many tokens of a usual tokenizer, in paragraphs, with an answer at its end."""
    parts: list[str] = []
    while sum(map(len, parts)) < 4 * tokens:
        parts += [chance.choice(SENTENCES), chance.choice((" ", " ", "\n"))]
    return "".join(parts) + "\nAnswer: 72"
