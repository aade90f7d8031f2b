"""The figures of one step: shares, diversity, accuracy and distance from the base model. Pure functions.

A *label* is what the classifier says; inside `other` it is the structure of the fingerprint, `other:3`, so that
many unknown forms are many and one unknown form is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import exp, isfinite, pi, sqrt
from typing import NamedTuple

import numpy as np

from diagnostics.sequential import effective, entropy
from rltrain.types import Score, StepRecord

OTHER = "other"


class Row(NamedTuple):
    """The completions of one group, as far as formats go."""

    key: str  # of the task
    source: str
    names: tuple[str, ...]  # G, of the classifier
    labels: tuple[str, ...]  # G, `other` split by structure
    structures: tuple[int, ...]  # G
    outcomes: tuple[float | None, ...]  # G
    advantages: tuple[float, ...] = ()  # G, of what was trained on


def texts(record: StepRecord) -> list[str]:
    """All completions of the groups that carry formats, in order, rejected groups included."""
    return [c.text for group in record.groups if group.formats for c in group.completions]


def rows(record: StepRecord, structures: Sequence[int]) -> list[Row]:
    """One row a group that carries formats; `structures` belong to `texts(record)`."""
    found, start = [], 0
    for group in record.groups:
        if not group.formats:
            continue
        part = tuple(structures[start : start + len(group.completions)])
        start += len(group.completions)
        labels = tuple(f"{OTHER}:{s}" if n == OTHER else n for n, s in zip(group.formats, part, strict=True))
        outcomes = tuple(map(_known, group.scores)) or (None,) * len(part)
        trained = tuple(a.value for a in group.advantages) if group.admitted else ()
        known = trained if len(trained) == len(part) and all(map(isfinite, trained)) else ()
        found.append(Row(group.task.key, group.task.source, group.formats, labels, part, outcomes, known))
    return found


def _known(score: Score) -> float | None:
    """The outcome, if it is a finite number."""
    return score.outcome if score.outcome is not None and isfinite(score.outcome) else None


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts over their sum, by name."""
    total = sum(counts.values())
    return {name: n / total for name, n in sorted(counts.items()) if n}


def diversity(rows: Sequence[Row]) -> dict[str, float]:
    """`format/share@`, `format/effective`, `format/entropy`, within groups, by structure, unclassified."""
    names = Counter(name for row in rows for name in row.names)
    structures = Counter(s for row in rows for s in row.structures)
    inside = Counter(s for row in rows for n, s in zip(row.names, row.structures, strict=True) if n == OTHER)
    within = [entropy(list(Counter(row.labels).values())) for row in rows if len(row.labels) > 1]
    found = {f"format/share@{name}": share for name, share in shares(names).items()}
    found |= {
        "format/entropy": entropy(list(names.values())),
        "format/effective": effective(list(names.values())),
        "format/structures": effective(list(structures.values())),
        "format/unclassified": names[OTHER] / names.total(),
        "format/completions": float(names.total()),
    }
    if within:
        found["format/effective_in_group"] = exp(sum(within) / len(within))
    if inside:
        found["format/structures_other"] = effective(list(inside.values()))
    return found


def accuracy(rows: Iterable[Row]) -> dict[str, float]:
    """`format/accuracy@` of each format, with `format/judged@`, the completions it rests on."""
    outcomes: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, outcome in zip(row.names, row.outcomes, strict=True):
            if outcome is not None:
                outcomes[name].append(outcome)
    found = {f"format/accuracy@{name}": sum(of) / len(of) for name, of in sorted(outcomes.items())}
    return found | {f"format/judged@{name}": float(len(of)) for name, of in sorted(outcomes.items())}


def accuracy_of(rows: Iterable[Row], label: str) -> float | None:
    """Mean outcome of the completions with one label, `other:3` apart from all other `other`; None without any."""
    outcomes = [
        outcome
        for row in rows
        for own, outcome in zip(row.labels, row.outcomes, strict=True)
        if own == label and outcome is not None
    ]
    return sum(outcomes) / len(outcomes) if outcomes else None


class Distance(NamedTuple):
    """Total variation between two sets of completions, and what chance alone makes of it."""

    value: float  # half the sum of |difference of shares|
    noise: float  # its mean if both came from one distribution


def distance(now: Mapping[str, float], base: Mapping[str, float], n_now: float, n_base: float) -> Distance:
    """Distance of two sets of shares; completions of one prompt count as independent in `noise`."""
    names = sorted({*now, *base})
    p = np.array([now.get(name, 0.0) for name in names])
    q = np.array([base.get(name, 0.0) for name in names])
    pooled = (n_now * p + n_base * q) / (n_now + n_base)
    noise = sqrt(2 / pi) * np.sqrt(pooled * (1 - pooled) * (1 / n_now + 1 / n_base)).sum() / 2
    return Distance(float(np.abs(p - q).sum() / 2), float(noise))


def standardised(counts: Mapping[str, Mapping[str, int]], weights: Mapping[str, int]) -> dict[str, float]:
    """Shares with each stratum (source or prompt) weighing as much as it does in `weights`; others are left out."""
    known = {stratum: n for stratum, n in weights.items() if sum(counts.get(stratum, {}).values())}
    total, mixed = sum(known.values()), Counter()
    for stratum, n in known.items():
        for name, share in shares(counts[stratum]).items():
            mixed[name] += n / total * share
    return dict(mixed)
