"""Phrases to vectors to clusters, in numpy alone and the same under the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DIMENSIONS = 256
BLOCK = 4096


def vectors(features: Sequence[Mapping[str, float]], rng: np.random.Generator) -> np.ndarray:
    """(N, 256) unit rows: TF-IDF weights of sparse features, projected at random.

    A random projection keeps angles up to about 1 / sqrt(256) (Achlioptas 2003); log(1 + count) is the term's
    weight, log(N / rows that have it) the feature's.
    """
    names = sorted({name for row in features for name in row})
    index = {name: i for i, name in enumerate(names)}
    frequency = np.zeros(len(names))
    for row in features:
        frequency[[index[name] for name in row]] += 1
    rarity = np.log(len(features) / frequency)
    signs = np.empty((len(names), DIMENSIONS), np.int8)
    for start in range(0, len(names), BLOCK):  # drawn in parts: the draws take eight times the room of the signs
        part = signs[start : start + BLOCK]
        part[:] = rng.choice(np.array([-1, 1], np.int8), part.shape)
    made = np.zeros((len(features), DIMENSIONS), np.float32)
    for i, row in enumerate(features):
        at = np.fromiter((index[name] for name in row), np.int64, len(row))
        counts = np.fromiter(row.values(), np.float64, len(row))
        made[i] = (np.log1p(counts) * rarity[at]).astype(np.float32) @ signs[at].astype(np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def kmeans(rows: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 30) -> np.ndarray:
    """(N,) cluster of each unit row, by k-means on the sphere from k-means++ centres (Arthur, Vassilvitskii 2007)."""
    centres = _first_centres(rows, count, rng)
    labels = np.full(len(rows), -1)
    for _ in range(rounds):
        nearest = (rows @ centres.T).argmax(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, rows)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norms > 1e-9, sums / np.maximum(norms, 1e-9), centres)  # an empty cluster stays put
    return labels


def _first_centres(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows far from each other: each is drawn with a chance that grows with its distance to those drawn."""
    chosen = [int(rng.integers(len(rows)))]
    distance = np.full(len(rows), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.maximum(1 - rows @ rows[chosen[-1]], 0))
        total = distance.sum()
        chosen.append(int(rng.choice(len(rows), p=distance / total)) if total > 0 else int(rng.integers(len(rows))))
    return rows[chosen]
