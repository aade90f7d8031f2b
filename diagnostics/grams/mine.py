"""Strategic grams from the correct completions of a run: offline, and the same under the same seed.

After "Emergent Hierarchical Reasoning in LLMs through RL" (HICRA), arXiv 2509.03646, section 3: n-grams of 3 to
5 words of correct solutions, clustered; the fifth of the clusters that the most problems have is strategic.
The paper embeds the n-grams with a sentence transformer. Here a gram is known by the words around it, which needs
no model; `benchmarks/gram_mining.py` measures that choice.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.grams import clusters
from diagnostics.grams.candidates import Candidate, candidates
from diagnostics.grams.ngrams import READ, items
from diagnostics.grams.solutions import Solution

MOST_SOLUTIONS = 4000  # read at most so many correct completions, drawn evenly: the memory of a mining is bounded
MOST_CANDIDATES = 20_000
FEWEST_SOLUTIONS = 20
CLUSTERS = 100
TOP = 0.2  # share of the clusters that is strategic


class Cluster(NamedTuple):
    """Grams that stand in like places."""

    grams: tuple[str, ...]  # most frequent first
    frequency: float  # share of the problems with any of them


def draw(solutions: Iterable[Solution], seed: int, most: int = MOST_SOLUTIONS) -> list[Solution]:
    """At most `most` of the correct completions, each with the same chance (reservoir sampling, Vitter 1985).

    Of a text what is read of it (`ngrams.READ`) is kept.
    """
    rng, kept = random.Random(seed), []
    every = (solution._replace(text=solution.text[:READ]) for solution in solutions if solution.correct)
    correct = (solution for solution in every if solution.text.strip())
    for seen, solution in enumerate(correct):
        if seen < most:
            kept.append(solution)
        elif (place := rng.randint(0, seen)) < most:
            kept[place] = solution
    return kept


def mine(solutions: Sequence[Solution], seed: int = 0) -> list[Cluster]:
    """The strategic clusters, most frequent first. ValueError where there is too little to learn from."""
    if len(solutions) < FEWEST_SOLUTIONS:
        raise ValueError(
            f"{len(solutions)} correct completions; expected at least {FEWEST_SOLUTIONS} to tell phrases that are "
            "habits from those that are chance; mine a longer run"
        )
    names = {name: i for i, name in enumerate(dict.fromkeys(solution.problem for solution in solutions))}
    problem_of = [names[solution.problem] for solution in solutions]
    fewest = max(3, len(names) // 100)
    found = candidates((items(solution.text) for solution in solutions), problem_of, fewest, most=MOST_CANDIDATES)
    if not found:
        raise ValueError(
            f"no phrase of 3 to 5 words is in {fewest} of {len(names)} problems; mine a run with more problems"
        )
    return strategic(found, group(found, np.random.default_rng(seed)), len(names))


def group(found: Sequence[Candidate], rng: np.random.Generator) -> np.ndarray:
    """(N,) the cluster of each candidate, by what stands around it."""
    rows = clusters.vectors([candidate.context for candidate in found], rng)
    return clusters.kmeans(rows, max(1, min(CLUSTERS, len(found) // 5)), rng)


def strategic(found: Sequence[Candidate], labels: np.ndarray, problems: int, top: float = TOP) -> list[Cluster]:
    """The top share of the clusters by the problems that have any of their grams."""
    made = []
    for label in range(labels.max() + 1):
        members = [found[i] for i in np.flatnonzero(labels == label)]
        if members:
            of = frozenset().union(*(member.problems for member in members))
            made.append(Cluster(tuple(" ".join(member.words) for member in members), len(of) / problems))
    made.sort(key=lambda cluster: (-cluster.frequency, cluster.grams))
    return made[: max(1, round(top * len(made)))]
