"""Items of a text and its word n-grams: what may be a phrase, and where known phrases stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from diagnostics.grams.words import NUMBER, straight

SHORTEST, LONGEST = 3, 5  # words, as in the paper
READ = 20_000  # characters of a solution that are read
_ITEM = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019\u02bc-][^\W\d_]+)*|\n\s*|[^\w\s,*_]")

Phrase = tuple[str, ...]


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


def matches(sequence: Sequence[str], grams: frozenset[Phrase] | set[Phrase]) -> list[tuple[int, int]]:
    """(start, end) of the grams in a list of items."""
    return [(start, end) for start, end in spans(sequence) if tuple(sequence[start:end]) in grams]
