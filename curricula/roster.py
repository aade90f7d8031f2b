"""Which prompt is which row, now and in a state that was saved over other prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from xxhash import xxh64_intdigest


class Roster:
    """The keys of all prompts: found by hash, kept in a state as one piece of bytes."""

    def __init__(self, keys: Sequence[str]):
        self._packed = "\0".join(keys).encode("utf-8", "surrogatepass")
        hashes = _hashes(keys)
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        self._keys = keys

    def __len__(self) -> int:
        return len(self._order)

    def key(self, row: int) -> str:
        """Key of a row."""
        return self._keys[row]

    def row(self, key: str) -> int:
        """Row of a key; ValueError where it is none of these prompts."""
        (row,) = self.rows([key])
        if row < 0:
            raise ValueError(f"prompt {key!r} is none of the {len(self):,} this curriculum was built on")
        return int(row)

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """(n,) rows of keys, -1 where a key is not here."""
        wanted = _hashes(keys)
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self) - 1)
        return np.where(self._sorted[at] == wanted, self._order[at], -1)

    def packed(self) -> bytes:
        """All keys, for a state."""
        return self._packed

    def match(self, packed: bytes) -> Match:
        """How the rows of a saved state lie in these."""
        if packed == self._packed:
            every = np.arange(len(self))
            return Match(every, every, [], [])
        saved = packed.decode("utf-8", "surrogatepass").split("\0")
        now = self.rows(saved)
        there = np.flatnonzero(now >= 0)
        fresh = np.ones(len(self), bool)
        fresh[now[there]] = False
        added = [self._keys[i] for i in np.flatnonzero(fresh).tolist()]
        return Match(there, now[there], added, [saved[i] for i in np.flatnonzero(now < 0).tolist()])


class Match(NamedTuple):
    """Rows `saved` of a state are rows `now`; prompts that came and prompts that went."""

    saved: np.ndarray
    now: np.ndarray
    added: list[str]
    gone: list[str]


def _hashes(keys: Sequence[str]) -> np.ndarray:
    """(n,) uint64."""
    return np.fromiter((xxh64_intdigest(key.encode("utf-8", "surrogatepass")) for key in keys), np.uint64, len(keys))
