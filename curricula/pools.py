"""The pools prompts move between, by what their posterior says, and when a set-aside prompt is tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from curricula.beliefs import Posterior
from rltrain.posterior import below

NOT_DUE = np.iinfo(np.int32).max
DOUBLINGS = 3  # of the time to the next probe: 1, 2, 4, 8 x the first


class Pool(IntEnum):
    """Where a prompt is; the names are those of the metrics."""

    UNKNOWN = 0
    LEARNABLE = 1
    TOO_EASY = 2
    QUARANTINED = 3
    SILENT = 4  # asked for again and again without a result, as a prompt over the length is

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name.lower()


class Bounds(NamedTuple):
    """When a prompt counts as too hard or too easy."""

    low: float  # too hard: the pass rate is below
    high: float  # too easy: the pass rate is above
    confidence: float  # posterior probability this takes
    min_visits: int  # groups this takes, whatever the probability


class Verdict(NamedTuple):
    """A pool and the reason."""

    pool: Pool
    why: str


def judge(posterior: Posterior, visits: int, mixed: bool, bounds: Bounds) -> Verdict:
    """Pool of a prompt by its posterior; `mixed`: it had successes and failures."""
    hard = below(bounds.low, posterior.alpha, posterior.beta)
    easy = below(1 - bounds.high, posterior.beta, posterior.alpha)
    after = f"after {visits} visits"
    if visits >= bounds.min_visits and hard > bounds.confidence:
        return Verdict(Pool.QUARANTINED, f"P(pass rate < {bounds.low:g}) = {hard:.3f} {after}")
    if visits >= bounds.min_visits and easy > bounds.confidence:
        return Verdict(Pool.TOO_EASY, f"P(pass rate > {bounds.high:g}) = {easy:.3f} {after}")
    if mixed or visits >= bounds.min_visits:
        doubt = f"P(too hard) = {hard:.3f}, P(too easy) = {easy:.3f}"
        return Verdict(Pool.LEARNABLE, f"{doubt} {after}")
    return Verdict(Pool.UNKNOWN, f"{visits} of {bounds.min_visits} visits, all alike")


class Shelf:
    """The pool of each prompt, and the version of the policy at which a set-aside one is due to be tried again."""

    COLUMNS = ("pool", "due", "probes", "unanswered", "asked")

    def __init__(self, count: int, *, probe_every: int, patience: int):
        self._every, self._patience = probe_every, patience
        self.pool = np.full(count, Pool.UNKNOWN, np.uint8)
        self.counts = np.bincount(self.pool, minlength=len(Pool))  # prompts in each pool
        self.due = np.full(count, NOT_DUE, np.int32)
        self.probes = np.zeros(count, np.uint8)  # in a row that changed nothing
        self.unanswered = np.zeros(count, np.uint8)  # times asked for since the last result
        self.heard = 0  # number of the latest question that was answered
        self.asked = np.zeros(count, np.int64)  # how many groups had been asked for when this was, last

    def members(self, *pools: Pool) -> np.ndarray:
        """Rows of these pools."""
        return np.flatnonzero(np.logical_or.reduce([self.pool == pool for pool in pools]))

    def idle(self, rows: np.ndarray) -> np.ndarray:
        """Those of these rows that no result is awaited of."""
        return rows[(self.unanswered[rows] == 0) | (self.asked[rows] <= self.heard)]

    def some(self, pool: Pool, most: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of a pool to choose from: all of them, or about `most` by chance where they are very many."""
        count = len(self.pool)
        if count < 64 * most or 8 * self.counts[pool] < count:
            return self.members(pool)
        rows = rng.integers(count, size=16 * most)
        return np.unique(rows[self.pool[rows] == pool])

    def ripe(self, now: int) -> np.ndarray:
        """Rows that are due."""
        return np.flatnonzero(self.due <= now)

    def sizes(self) -> dict[str, int]:
        """Prompts in each pool, by its label."""
        return {pool.label: int(self.counts[pool]) for pool in Pool}

    def ask(self, row: int, number: int, now: int) -> None:
        """Note that this prompt was asked for; one that stays silent is left alone until it answers.

        A probe under way is not due: its answer sets the next date, and without one there is one all the same.
        """
        self.asked[row] = number
        self.unanswered[row] = min(int(self.unanswered[row]) + 1, 255)
        if self.due[row] != NOT_DUE:
            self.due[row] = self._date(row, now)
        if self.pool[row] == Pool.UNKNOWN and self.unanswered[row] >= self._patience:
            self._put(row, Pool.SILENT)

    def answered(self, row: int) -> None:
        """A result came, whether or not it says anything."""
        self.unanswered[row], self.heard = 0, max(self.heard, int(self.asked[row]))
        if self.pool[row] == Pool.SILENT:
            self._put(row, Pool.UNKNOWN)

    def awaited(self) -> bool:
        """Whether a silent prompt may yet answer: nothing that was asked for after it has."""
        return bool((self.asked[self.members(Pool.SILENT)] > self.heard).any())

    def place(self, row: int, pool: Pool, now: int) -> Pool:
        """Put a prompt in a pool after a result; where it was. A set-aside one gets its next date."""
        was = Pool(int(self.pool[row]))
        self._put(row, pool)
        if pool not in (Pool.TOO_EASY, Pool.QUARANTINED):
            self.probes[row], self.due[row] = 0, NOT_DUE
            return was
        self.probes[row] = min(int(self.probes[row]) + 1, 255) if pool == was else 0
        self.due[row] = self._date(row, now)
        return was

    def hasten(self, rows: np.ndarray, now: int) -> None:
        """Make prompts due at once that were due later."""
        self.due[rows] = np.minimum(self.due[rows], now)

    def _put(self, row: int, pool: Pool) -> None:
        self.counts[self.pool[row]] -= 1
        self.counts[pool] += 1
        self.pool[row] = pool

    def _date(self, row: int, now: int) -> int:
        """When the next probe is: the time to it is doubled for each that changed nothing, up to eight times."""
        return int(min(now + self._every * 2 ** min(int(self.probes[row]), DOUBLINGS), NOT_DUE - 1))

    def state_dict(self) -> dict[str, Any]:
        """Copies of the columns, and a number."""
        return {name: getattr(self, name).copy() for name in self.COLUMNS} | {"heard": self.heard}

    def load_state_dict(self, state: Mapping[str, Any], saved: Sequence[int], rows: Sequence[int]) -> None:
        """Take the state's rows `saved` as these `rows`."""
        for name in self.COLUMNS:
            getattr(self, name)[rows] = state[name][saved]
        self.heard = state["heard"]
        self.counts = np.bincount(self.pool, minlength=len(Pool))
