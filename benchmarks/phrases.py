"""The planning phrases of a made step: completions that draw theirs from one distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diagnostics.grams.entropies import entropy, variety

COMPLETIONS = 64  # a step


class Phrases(NamedTuple):
    """What the plan diagnostic counts of a step, by phrase."""

    completions: np.ndarray  # (K,) that have it
    votes: np.ndarray  # (K,) sum of its shares of completions
    squares: float  # sum of these shares, squared
    voters: int  # completions with any phrase

    @property
    def entropy(self) -> float:
        """As `plan/semantic_entropy`."""
        return entropy(self.completions[self.completions > 0])

    @property
    def variety(self) -> float:
        """As `plan/variety`."""
        return variety(self.votes, self.squares, self.voters)


def drawn(rng: np.random.Generator, shares: np.ndarray, mean: float) -> Phrases:
    """A step whose completions have so many phrases in the mean, by Poisson, of relative shares (K,)."""
    held = rng.poisson(mean, COMPLETIONS)
    owners = np.repeat(np.arange(COMPLETIONS), held)
    chances = np.cumsum(shares)
    phrases = np.searchsorted(chances[:-1], rng.random(len(owners)) * chances[-1])
    (owner, phrase), times = np.unique(np.stack([owners, phrases]), axis=1, return_counts=True)
    own = times / held[owner]
    return Phrases(np.bincount(phrase), np.bincount(phrase, own), float((own**2).sum()), int((held > 0).sum()))
