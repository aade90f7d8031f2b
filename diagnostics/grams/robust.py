"""Whether the curve of the semantic entropy hangs on single grams: the paper's check, with a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.grams.entropies import entropy
from diagnostics.grams.ngrams import Phrase, items, matches
from diagnostics.grams.solutions import Solution

DROPPED = 0.3  # share of the grams that is left out, as in the paper
DRAWS = 20
STEPS, TEXTS = 200, 64  # at most so many steps, and completions of each, are read
FEWEST_STEPS = 8
FEWEST_GRAMS = 20  # in a step, else its entropy is noise and it is left out


class Robustness(NamedTuple):
    """Correlation of the curve with all grams and the curves without 30% of them, over the draws."""

    mean: float
    worst: float
    steps: int  # that had grams enough
    rise: float  # last fifth of the steps less the first, in nats: with no rise there is only noise to agree on


class Located(NamedTuple):
    """What is kept of a completion: the words under grams, so the memory grows with what is found and not what is read.

    Words that grams do not cover are one empty item where they part two phrases.
    """

    words: tuple[str, ...]
    places: np.ndarray  # (n, 3) int32 start, end, index of the gram; overlapping ones too, by their starts


def check(solutions: Iterable[Solution], steps: Sequence[int], grams: Sequence[str], seed: int) -> Robustness | None:
    """Read the completions of `steps` (all of them, correct or not) and compare the curves. None: too few grams."""
    index = {tuple(gram.split()): i for i, gram in enumerate(grams)}
    by_step = locate(solutions, spaced(steps), index)
    everything = np.ones(len(index), bool)
    curve = {step: value for step, texts in by_step.items() if (value := variety(texts, everything)) is not None}
    if len(curve) < FEWEST_STEPS:
        return None
    rng, found = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        kept = everything.copy()
        kept[rng.choice(len(index), round(DROPPED * len(index)), replace=False)] = False
        without = {step: variety(by_step[step], kept, fewest=1) for step in curve}
        both = np.array([(curve[step], value) for step, value in without.items() if value is not None])
        found.append(float(np.corrcoef(both.T)[0, 1]) if len(both) > 2 and both.std(axis=0).all() else 0.0)
    values = [curve[step] for step in sorted(curve)]
    fifth = max(1, len(values) // 5)
    rise = float(np.mean(values[-fifth:]) - np.mean(values[:fifth]))
    return Robustness(float(np.mean(found)), min(found), len(curve), rise)


def spaced(steps: Sequence[int], most: int = STEPS) -> set[int]:
    """At most `most` of the steps, evenly."""
    steps = sorted(steps)
    return {steps[i] for i in np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)}


def locate(solutions: Iterable[Solution], steps: set[int], index: Mapping[Phrase, int]) -> dict[int, list[Located]]:
    """Step -> what stands where in its first completions."""
    by_step: dict[int, list[Located]] = {step: [] for step in steps}
    known, same = set(index), {word: word for gram in index for word in gram}
    for solution in solutions:
        texts = by_step.get(solution.step)
        if texts is not None and len(texts) < TEXTS:
            texts.append(located(items(solution.text), known, index, same))
    return by_step


def located(
    sequence: Sequence[str], known: set[Phrase], index: Mapping[Phrase, int], same: Mapping[str, str]
) -> Located:
    """The grams of a completion. `same`: one object for each word of a gram, so that none is kept twice."""
    words: list[str] = []
    places, last, shift = [], 0, 0  # `last`: end of what is covered so far; `shift`: what is left out before it
    for start, end in sorted(matches(sequence, known)):
        if start > last or not words:
            words.append("")
            shift, last = start - len(words), start
        words += (same[word] for word in sequence[last:end])
        last = max(last, end)
        places.append((start - shift, end - shift, index[tuple(sequence[start:end])]))
    return Located(tuple(words), np.array(places, np.int32).reshape(-1, 3))


def variety(texts: Sequence[Located], kept: np.ndarray, fewest: int = FEWEST_GRAMS) -> float | None:
    """Semantic entropy of a step as the diagnostic takes it: overlapping grams are one, once a completion."""
    counts: Counter[str] = Counter()
    for words, places in texts:
        counts.update(set(joined(words, places[kept[places[:, 2]], :2].tolist())))
    return entropy(counts.values()) if counts.total() >= fewest else None


def joined(sequence: Sequence[str], places: Sequence[Sequence[int]]) -> list[str]:
    """The words under overlapping places, as phrases."""
    runs: list[list[int]] = []
    for start, end in sorted(places):
        if runs and start <= runs[-1][1]:
            runs[-1][1] = max(end, runs[-1][1])
        else:
            runs.append([start, end])
    return [" ".join(sequence[start:end]) for start, end in runs]
