"""Tasks to tickets: prompts rendered to token ids, seeds that no engine can change, numbers in order."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from rltrain.types import Sampling, Task, Ticket

Render = Callable[[Sequence[Mapping[str, str]]], list[int]]


def sample_seed(run_seed: int, key: str, visit: int) -> int:
    """Seed of a group: from the run, the task and how often it was visited; sample i adds i."""
    digest = hashlib.blake2b(f"{run_seed}\0{key}\0{visit}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


class TicketOffice:
    """Numbers requests in the run's order and remembers how often each task was asked for."""

    def __init__(self, render: Render, *, seed: int, max_prompt: int, long_prompts: Literal["drop", "error"]) -> None:
        self._render, self._seed = render, seed
        self._max_prompt, self._long_prompts = max_prompt, long_prompts
        self._next = 0
        self._aside = itertools.count(2**40)
        self._visits: Counter[str] = Counter()
        self.dropped = 0  # prompts over the length, so far

    def issue(
        self, tasks: Iterable[Task], *, num_samples: int, sampling: Sampling, version: int, salt: str = ""
    ) -> list[Ticket]:
        """One ticket per task whose prompt fits.

        With a `salt` (evaluation, probes) the seed is the same at every visit, so that two policies are
        compared on the same draws, and the numbers come from a range of their own.

        Raises ValueError for a prompt over the length when the config says so.
        """
        tickets = []
        for task in tasks:
            ids = np.asarray(self._render(task.prompt), dtype=np.int32)
            if len(ids) > self._max_prompt:
                if self._long_prompts == "error":
                    raise ValueError(
                        f"task {task.key}: its prompt has {len(ids)} tokens, sampling.max_prompt_length is "
                        f"{self._max_prompt}; raise it, or set sampling.long_prompts: drop"
                    )
                self.dropped += 1
                continue
            visit = self._visits[task.key]
            number = next(self._aside) if salt else self._next
            if not salt:
                self._visits[task.key] += 1
                self._next += 1
            seed = sample_seed(self._seed, salt + task.key, 0 if salt else visit)
            tickets.append(Ticket(number, task, ids, num_samples, sampling, seed, version))
        return tickets

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next ticket."""
        return {"next": self._next, "visits": dict(self._visits), "dropped": self.dropped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._next, self._visits, self.dropped = state["next"], Counter(state["visits"]), state["dropped"]
