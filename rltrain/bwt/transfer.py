"""From outcomes before and after training on each source alone to an order of sources and its forecast.

After Omni-Thinker (arXiv 2507.14783): transfer is taken to depend on the two sources only, not on where training
starts, and one stage to be enough for its source. Then only what is trained *after* a source changes what it ended
its own stage with. The paper's transfer is relative to the outcome before, which is near 0 where a source was not
learned yet and makes a gain of any size; here a loss is the share of the skill that is lost, and a gain the share of
the failures that are mended, so that a forecast stays between 0 and 1.

K sources, P held-out prompts, R resamples of them; transfer[i, j] is what training on i does to j.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

FLOOR = 0.1  # least skill, and least failure, that a transfer is a share of: below, prompts are too few to tell
MOST = 6  # sources whose orders are all looked at
RESAMPLES = 1000


class Measured(NamedTuple):
    """Mean outcomes of held-out prompts before and after training on each source alone."""

    sources: tuple[str, ...]
    of: np.ndarray  # (P,) int, each prompt's source
    before: np.ndarray  # (K, P), row i: the run that trained on i
    after: np.ndarray  # (K, P)


class Means(NamedTuple):
    """Mean outcomes on source j before and after training on i alone; both (..., K, K)."""

    before: np.ndarray
    after: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """(..., K) what training on a source alone ends with on itself."""
        return np.diagonal(self.after, axis1=-2, axis2=-1)

    @property
    def transfer(self) -> np.ndarray:
        """(..., K, K) in [-1, 1]: below 0 the share of the skill lost, above 0 the share of the failures mended."""
        change = self.after - self.before
        share = np.where(change < 0, np.maximum(self.before, FLOOR), np.maximum(1 - self.before, FLOOR))
        return change / share


def means(measured: Measured) -> Means:
    """Over all prompts of a source."""
    own = [np.flatnonzero(measured.of == k) for k in range(len(measured.sources))]
    return Means(*(np.stack([rows[:, at].mean(1) for at in own], -1) for rows in (measured.before, measured.after)))


def resampled(measured: Measured, seed: int) -> Means:
    """(R, K, K): prompts drawn with replacement within each source, the same ones before and after and in all runs."""
    rng, drawn = np.random.default_rng(seed), []
    for k in range(len(measured.sources)):
        at = np.flatnonzero(measured.of == k)
        drawn.append(rng.multinomial(len(at), np.full(len(at), 1 / len(at)), RESAMPLES) / len(at))  # (R, prompts of k)
    return Means(
        *(
            np.stack([weights @ rows[:, measured.of == k].T for k, weights in enumerate(drawn)], -1)
            for rows in (measured.before, measured.after)
        )
    )


def forecast(order: Sequence[int], found: Means) -> np.ndarray:
    """(..., K) outcome of each source after training on all, one after another in this order."""
    transfer, ends = found.transfer, found.own.copy()
    for place, source in enumerate(order):
        for later in order[place + 1 :]:
            t, m = transfer[..., later, source], ends[..., source]
            ends[..., source] = m + np.where(t < 0, t * m, t * (1 - m))
    return ends


def candidates(found: Means) -> list[tuple[int, ...]]:
    """Orders to choose from, the best by its mean forecast first: all of few sources; of more, one built by insertion.

    Insertion puts each source where the mean of what is placed so far is highest; its neighbours, two sources next
    to each other swapped, are candidates too.
    """
    count = found.own.shape[-1]

    def worth(order: Sequence[int]) -> float:
        return float(forecast(order, found)[list(order)].mean())

    if count <= MOST:
        return sorted(permutations(range(count)), key=worth, reverse=True)
    order: tuple[int, ...] = ()
    for source in range(count):
        order = max(((*order[:i], source, *order[i:]) for i in range(len(order) + 1)), key=worth)
    swapped = [(*order[:i], order[i + 1], order[i], *order[i + 2 :]) for i in range(count - 1)]
    return sorted([order, *swapped], key=worth, reverse=True)


def propose(measured: Measured, *, seed: int = 0) -> dict[str, Any]:
    """What `bwt.json` holds: outcomes, transfer, the best order with its forecast, and how sure that is.

    `sure`: share of resamples in which no other candidate promises more; orders that tie share one. Intervals are
    95% of the resamples.
    """
    found, drawn, names = means(measured), resampled(measured, seed), measured.sources
    orders = candidates(found)
    promised = np.stack([forecast(order, drawn) for order in orders])  # (orders, R, K)
    totals = promised.mean(-1)
    best = totals >= totals.max(0) - 1e-9
    low, high = np.percentile(promised[0], [2.5, 97.5], axis=0)

    def named(values: np.ndarray) -> dict[str, float]:
        return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}

    def told(index: int) -> dict[str, Any]:
        ends = np.percentile(totals[index], [2.5, 97.5])
        mean = float(forecast(orders[index], found).mean())
        return {"order": [names[k] for k in orders[index]], "mean": mean, "low": float(ends[0]), "high": float(ends[1])}

    return {
        "sources": list(names),
        "prompts": {name: int((measured.of == k).sum()) for k, name in enumerate(names)},
        "before": {name: named(row) for name, row in zip(names, found.before, strict=True)},
        "after": {name: named(row) for name, row in zip(names, found.after, strict=True)},
        "transfer": {name: named(row) for name, row in zip(names, found.transfer, strict=True)},
        "order": [names[k] for k in orders[0]],
        "forecast": named(forecast(orders[0], found)),
        "low": named(low),
        "high": named(high),
        "sure": float((best[0] / best.sum(0)).mean()),
        "orders": [told(index) for index in dict.fromkeys([*range(min(5, len(orders))), len(orders) - 1])],
    }
