"""Which n-grams several problems have, in how many, and what stands around them: counted without keeping them all.

A phrase is in no more problems than either of its halves, so of every length only those are looked at whose parts are
in problems enough (Agrawal and Srikant 1994). Words are numbers and n-grams sorted arrays of them: some 60 bytes a word
that is read, whatever the texts repeat, where a table of all n-grams took 800.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from diagnostics.grams.ngrams import LONGEST, SHORTEST, Phrase

AROUND = 4  # words on each side that make the context
COHERENT = 0.3  # a phrase goes on by a word if it does so at least this often: "we need to", not "we need to the"
BLOCK = 1 << 20  # places that are looked up at once


class Candidate(NamedTuple):
    """An n-gram that several problems have."""

    words: Phrase
    problems: frozenset[int]  # indices of the problems whose solutions have it
    context: Mapping[str, int]  # words before ("<word") and after (">word") it, counted


def candidates(
    solutions: Iterable[Sequence[str]],
    problem_of: Sequence[int],
    fewest: int,
    coherent: float = COHERENT,
    most: int | None = None,
) -> list[Candidate]:
    """The whole n-grams of `solutions` (lists of items) that at least `fewest` problems have, most frequent first.

    `problem_of` gives each solution's problem: completions of one prompt share its wording, and a phrase
    is strategic only if it outlives the problem. `most`: so many of them at most.
    """
    corpus = read(solutions, problem_of)
    chosen = _first([*_whole(corpus, fewest, coherent)], corpus, most)
    return [_candidate(corpus, *one) for one in chosen]


class Corpus(NamedTuple):
    """All items of all solutions, one after another."""

    words: list[str]  # by number
    ids: np.ndarray  # (N,) int32 numbers of the items
    run: np.ndarray  # (N,) int32 words in a row up to here, in this solution
    ends: np.ndarray  # (solutions,) int64, where each one ends
    problem: np.ndarray  # (N,) int32


def read(solutions: Iterable[Sequence[str]], problem_of: Sequence[int]) -> Corpus:
    """The solutions as numbers; each is let go when it is read."""
    number: dict[str, int] = {}
    parts, lengths = [np.zeros(0, np.int32)], []
    for sequence in solutions:
        parts.append(np.fromiter((number.setdefault(item, len(number)) for item in sequence), np.int32, len(sequence)))
        lengths.append(len(sequence))
    assert len(lengths) == len(problem_of), (len(lengths), len(problem_of))
    words, ids = list(number), np.concatenate(parts)
    problem = np.repeat(np.asarray(problem_of, np.int32), lengths)
    ends = np.cumsum(lengths, dtype=np.int64)
    broken = np.flatnonzero(~np.array([word[0].isalpha() for word in words], bool)[ids])
    last = np.zeros(len(ids), np.int32)  # the last place up to here after which a row of words may begin
    last[broken] = broken + 1
    starts = ends - np.asarray(lengths, np.int64)
    inside = starts[starts < len(ids)]
    last[inside] = np.maximum(last[inside], inside)
    run = np.arange(1, len(ids) + 1, dtype=np.int32) - np.maximum.accumulate(last)
    return Corpus(words, ids, run, ends, problem)


class Grams(NamedTuple):
    """The n-grams of one length that problems enough have: K of them, at S places."""

    length: int
    starts: np.ndarray  # (S,) int32 places, ascending
    of: np.ndarray  # (S,) int32, which one begins there
    count: np.ndarray  # (K,) int64 times it stands somewhere
    problems: np.ndarray  # (K,) int64 number of problems
    parts: np.ndarray  # (2, K) int64: the n-grams without the last and without the first word


def _levels(corpus: Corpus, fewest: int) -> Iterator[Grams]:
    """The words, the pairs, and so on, of which `fewest` problems have each."""
    starts = np.flatnonzero(corpus.run >= 1).astype(np.int32)
    grams = _frequent(1, starts, corpus.ids[starts].astype(np.int64), corpus, fewest, 1)
    yield grams
    for length in range(2, LONGEST + 1):
        at = np.full(len(corpus.ids) + 1, -1, np.int32)
        at[grams.starts] = grams.of
        starts = grams.starts[at[grams.starts + 1] >= 0]
        starts = starts[corpus.run[starts + length - 1] >= length]
        size = len(grams.count)
        keys = at[starts].astype(np.int64) * size + at[starts + 1]
        grams = _frequent(length, starts, keys, corpus, fewest, size)
        yield grams


def _frequent(length: int, starts: np.ndarray, keys: np.ndarray, corpus: Corpus, fewest: int, size: int) -> Grams:
    """Those of the n-grams `keys` (S,) at `starts` that problems enough have."""
    problems = int(corpus.problem.max(initial=0)) + 1
    both = keys * problems + corpus.problem[starts]
    both.sort()
    fresh = _begins(both)  # another n-gram or another problem
    both //= problems
    first = _begins(both)
    known, count = both[first], np.diff(first, append=len(both))
    of_problems = np.diff(np.searchsorted(fresh, first), append=len(fresh))
    kept = of_problems >= fewest
    known = known[kept]
    del both, fresh, first
    blocks = (_places(known, keys[i : i + BLOCK]) for i in range(0, len(keys), BLOCK))
    of = np.concatenate([np.zeros(0, np.int32), *blocks])
    there = of >= 0
    parts = np.stack([known // size, known % size])
    return Grams(length, starts[there], of[there], count[kept], of_problems[kept], parts)


def _begins(ordered: np.ndarray) -> np.ndarray:
    """Where each of the different values of a sorted array begins."""
    other = np.ones(len(ordered), bool)
    other[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(other)


def _places(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each of the keys stands in the sorted `known`, int32; -1 for those that do not."""
    if not len(known):
        return np.full(len(keys), -1, np.int32)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, at, -1).astype(np.int32)


def _whole(corpus: Corpus, fewest: int, coherent: float) -> Iterator[Grams]:
    """N-grams whose first and last word belong to them: the rest goes on so often enough, on either side."""
    shorter = np.zeros(0, np.int64)
    for grams in _levels(corpus, fewest):
        if grams.length >= SHORTEST:
            whole = grams.count >= coherent * shorter[grams.parts].max(axis=0)
            there = whole[grams.of]
            yield grams._replace(
                starts=grams.starts[there],
                of=(np.cumsum(whole, dtype=np.int32) - 1)[grams.of[there]],
                count=grams.count[whole],
                problems=grams.problems[whole],
                parts=grams.parts[:, whole],
            )
        shorter = grams.count


def _first(found: Sequence[Grams], corpus: Corpus, most: int | None) -> list[tuple[Phrase, np.ndarray]]:
    """Words and places (S,) of the n-grams that most problems have; of as many problems by the alphabet."""
    every = np.concatenate([grams.problems for grams in found])
    if most is not None and len(every) > most:
        least = np.partition(every, len(every) - most)[len(every) - most]
    else:
        least, most = 0, len(every)
    named = (
        (-int(grams.problems[i]), words, n, i)
        for n, grams in enumerate(found)
        for i, words in _named(grams, corpus, least)
    )
    places = [_by_gram(grams) for grams in found]
    return [(words, places[n][i]) for _, words, n, i in heapq.nsmallest(most, named)]


def _named(grams: Grams, corpus: Corpus, least: int) -> Iterator[tuple[int, Phrase]]:
    """Number and words of the n-grams of at least so many problems."""
    example = np.zeros(len(grams.count), np.int32)
    example[grams.of] = grams.starts
    for i in np.flatnonzero(grams.problems >= least).tolist():
        start = int(example[i])
        yield i, tuple(corpus.words[word] for word in corpus.ids[start : start + grams.length].tolist())


def _by_gram(grams: Grams) -> list[np.ndarray]:
    """The places of each n-gram, in order."""
    order = np.argsort(grams.of, kind="stable")
    return np.split(grams.starts[order], np.searchsorted(grams.of[order], np.arange(1, len(grams.count))))


def _candidate(corpus: Corpus, words: Phrase, starts: np.ndarray) -> Candidate:
    """With the problems at these places and what stands around them."""
    problems = frozenset(np.unique(corpus.problem[starts]).tolist())
    which = np.searchsorted(corpus.ends, starts, side="right")
    begins, ends = np.concatenate([[0], corpus.ends])[which][:, None], corpus.ends[which][:, None]
    around = np.concatenate([np.arange(-AROUND, 0), np.arange(len(words), len(words) + AROUND)])
    at = starts[:, None].astype(np.int64) + around
    there = (at >= begins) & (at < ends)
    sides = np.broadcast_to(around >= 0, at.shape)[there]
    found, first, times = np.unique(2 * corpus.ids[at[there]] + sides, return_index=True, return_counts=True)
    met = np.argsort(first)  # in the order in which they are met, as a loop over the places counts them
    return Candidate(words, problems, {
        f"{'<>'[code % 2]}{corpus.words[code // 2]}": n
        for code, n in zip(found[met].tolist(), times[met].tolist(), strict=True)
    })  # fmt: skip
