"""Which completions of a step to look at first: the worst, the best, lucky hits, or any. Pure functions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

SUCCESS = 0.5  # an outcome of at least this is a success
LARGE = 8  # completions a group must have before one success among them is luck, as for `shortcut/lucky`
ORDERS = ("worst", "best", "random", "lucky")

Light = Mapping[str, Any]
"""A light row of `reading.outline`."""


def orders(rows: Sequence[Light], seed: int = 0) -> dict[str, list[int]]:
    """For each of `ORDERS` the places in `rows` to look at, in this order.

    Judged by outcome, then by reward; a completion whose judgement failed is neither good nor bad and stands last.
    """
    judged = [i for i, row in enumerate(rows) if row["error"] is None and row["reward"] is not None]
    failed = sorted(set(range(len(rows))) - set(judged))
    ascending = sorted(judged, key=lambda i: _worth(rows[i]))
    anyhow = list(range(len(rows)))
    random.Random(seed).shuffle(anyhow)
    return {
        "worst": ascending + failed,
        "best": sorted(judged, key=lambda i: _worth(rows[i]), reverse=True) + failed,
        "random": anyhow,
        "lucky": lucky(rows),
    }


def _worth(row: Light) -> tuple[float, float]:
    outcome, reward = row["outcome"], row["reward"]
    return (reward if outcome is None else outcome, reward)


def lucky(rows: Sequence[Light]) -> list[int]:
    """Successes that are the only one of a group of eight or more."""
    sizes = Counter(row["group"] for row in rows)
    good = [i for i, row in enumerate(rows) if (row["outcome"] or 0) >= SUCCESS]
    alone = Counter(rows[i]["group"] for i in good)
    return [i for i in good if alone[rows[i]["group"]] == 1 and sizes[rows[i]["group"]] >= LARGE]


def groups(rows: Sequence[Light], most: int, seed: int = 0) -> list[Any]:
    """The groups of the first worst, best, lucky and random completion, then further random ones: `most` at most."""
    found = orders(rows, seed)
    first = [found[name][0] for name in ("worst", "best", "lucky") if found[name]]
    return list(dict.fromkeys(rows[i]["group"] for i in (*first, *found["random"])))[:most]
