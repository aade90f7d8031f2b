"""Word n-grams of solutions: which there are, in which problems, and what stands around them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from diagnostics.grams.words import NUMBER, straight

SHORTEST, LONGEST = 3, 5  # words, as in the paper
AROUND = 4  # words on each side that make the context
COHERENT = 0.3  # a phrase goes on by a word if it does so at least this often: "we need to", not "we need to the"
READ = 20_000  # characters of a solution that are read
_ITEM = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019\u02bc-][^\W\d_]+)*|\n\s*|[^\w\s,*_]")

Phrase = tuple[str, ...]


class Candidate(NamedTuple):
    """An n-gram that several problems have."""

    words: Phrase
    problems: frozenset[int]  # indices of the problems whose solutions have it
    context: Mapping[str, int]  # words before ("<word") and after (">word") it, counted


def items(text: str) -> list[str]:
    """Words in lower case, numbers as one sign, and signs and line ends that part clauses; commas are not there."""
    found = _ITEM.findall(text[:READ])
    return [NUMBER if i[0].isdigit() else straight(i) if i[0].isalpha() else i[0] for i in found]


def spans(sequence: Sequence[str], shortest: int = SHORTEST) -> Iterator[tuple[int, int]]:
    """(start, end) of every n-gram of 3 to 5 words that no number, sign or line end breaks."""
    run = 0  # words in a row up to here
    for end, item in enumerate(sequence, 1):
        run = run + 1 if item[0].isalpha() else 0
        for length in range(shortest, min(LONGEST, run) + 1):
            yield end - length, end


def candidates(
    solutions: Sequence[Sequence[str]], problem_of: Sequence[int], fewest: int, coherent: float = COHERENT
) -> list[Candidate]:
    """The whole n-grams of `solutions` (lists of items) that at least `fewest` problems have, most frequent first.

    `problem_of` gives each solution's problem: completions of one prompt share its wording, and a phrase
    is strategic only if it outlives the problem.
    """
    count: Counter[Phrase] = Counter()
    problems: defaultdict[Phrase, set[int]] = defaultdict(set)
    for sequence, problem in zip(solutions, problem_of, strict=True):
        for start, end in spans(sequence, SHORTEST - 1):
            count[phrase := tuple(sequence[start:end])] += 1
            if len(phrase) >= SHORTEST:
                problems[phrase].add(problem)
    kept = {phrase for phrase, of in problems.items() if len(of) >= fewest and whole(phrase, count, coherent)}
    contexts: defaultdict[Phrase, Counter[str]] = defaultdict(Counter)
    for sequence in solutions:
        for start, end in spans(sequence):
            if (phrase := tuple(sequence[start:end])) in kept:
                contexts[phrase].update(f"<{item}" for item in sequence[max(0, start - AROUND) : start])
                contexts[phrase].update(f">{item}" for item in sequence[end : end + AROUND])
    found = (Candidate(phrase, frozenset(problems[phrase]), contexts[phrase]) for phrase in kept)
    return sorted(found, key=lambda candidate: (-len(candidate.problems), candidate.words))


def whole(phrase: Phrase, count: Mapping[Phrase, int], coherent: float) -> bool:
    """Whether the first and the last word belong to it: the rest goes on so often enough, on either side."""
    return count[phrase] >= coherent * max(count[phrase[:-1]], count[phrase[1:]])


def matches(sequence: Sequence[str], grams: frozenset[Phrase] | set[Phrase]) -> list[tuple[int, int]]:
    """(start, end) of the grams in a list of items."""
    return [(start, end) for start, end in spans(sequence) if tuple(sequence[start:end]) in grams]
