"""Finds planning phrases by weighed cues, so that wordings no lexicon lists are found too.

A cue is a gram of 1 to 4 words with a whole-number weight for each word in it and up to two beside it: a logistic
regression over the grams around a word. `benchmarks/tagger_training.py` learns cues from labelled passages and writes
the file, a line a cue:

    # version: 1
    # bias: -40                          what each word begins with
    # threshold: -3                      what a word must reach to be part of a phrase
    # certain: 10                        what one word of a phrase must reach
    let me check<tab>-2:3 0:41 1:38      weights by place; 0 is the place of the cue's first word

Words are compared in lower case; `0` stands for whatever has a digit, `<ing>`, `<ed>`, `<ly>`, `<a>` and `<word>` for
words that no cue names, by their ending or length, `<sign>` for other signs, `<newline>` for line breaks, `<^>` and
`<$>` for the ends of the text. Sums of whole numbers
are the same on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diagnostics.taggers.lexicon import read_lines, version_of

CUES = Path(__file__).parent.with_name("cues.txt")
LONGEST = 4  # words of a cue
BESIDE = 2  # words before and behind a cue that it still speaks about
PLACES = LONGEST + 2 * BESIDE  # a cue's weights: for its first word's place less BESIDE, and so on
FEWEST = 2  # words of a phrase
REMEMBERED = 100_000  # spellings whose number is kept at hand
START, END = "<^>", "<$>"
_PIECE = re.compile(r"[^\W_]+(?:['\u2019\u02bc][^\W_]+)*|\n+|[^\w\s]|_")
_DIGIT = re.compile(r"\d")
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")


class Cues(NamedTuple):
    """A cue file."""

    weights: dict[tuple[str, ...], dict[int, int]]  # cue -> place -> weight
    bias: int
    threshold: int  # a word that reaches it may belong to a phrase
    certain: int  # a phrase has a word that reaches this


class CueTagger:
    """Marks runs of words whose cues add up; each run has at least two words and one that is certain."""

    def __init__(self, path: str | Path | None = None):
        path = Path(path) if path else CUES
        lines = read_lines(path)
        cues = parse(lines, path)
        self.version = version_of(lines)  # what the file says about itself
        said = "\n".join(sorted(" ".join(line.split()) for line in lines if not line.startswith("# version")))
        self.hash = hashlib.sha256(said.encode()).hexdigest()[:12]  # what it really marks
        self._bias, self._threshold, self._certain = cues.bias, cues.threshold, cues.certain
        self._compile(cues.weights)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the planning phrases in characters, in order; they neither overlap nor touch."""
        found = list(pieces(text))
        if len(found) < FEWEST:
            return []
        scores = self._scores([piece[0] for piece in found])
        spans = []
        for first, last in _runs(scores >= self._threshold):
            if scores[first:last].max() >= self._certain:
                spans += _trimmed(found[first:last])
        return spans

    def _compile(self, weights: Mapping[tuple[str, ...], Mapping[int, int]]) -> None:
        """Cues as a tree of numbered nodes, 0 for none: from a node of n words the next word leads to one of n + 1."""
        words = {word: number for number, word in enumerate(sorted({word for gram in weights for word in gram}), 1)}
        beginnings = {gram[:length] for gram in weights for length in range(1, len(gram) + 1)}
        nodes = {gram: number for number, gram in enumerate(sorted(beginnings), 1)}
        self._table = np.zeros((len(nodes) + 1, PLACES), np.int32)
        for gram, places in weights.items():
            for place, weight in places.items():
                self._table[nodes[gram], place + BESIDE] = weight
        self._numbers, self._width = _Numbers(words), len(words) + 1
        self._ends = words.get(START, 0), words.get(END, 0)
        self._steps: list[tuple[np.ndarray, np.ndarray]] = []  # of each length: sorted keys, nodes
        for length in range(1, LONGEST + 1):
            steps = [
                (nodes.get(gram[:-1], 0) * self._width + words[gram[-1]], node)
                for gram, node in nodes.items()
                if len(gram) == length
            ]
            keys, values = zip(*sorted(steps), (np.iinfo(np.int64).max, 0), strict=True)
            self._steps.append((np.array(keys), np.array(values)))

    def _scores(self, pieces: Sequence[str]) -> np.ndarray:
        """The score of each piece (N,)."""
        start, end = self._ends
        numbers = np.array([start, *map(self._numbers.__getitem__, pieces), end])
        total = len(numbers)
        said = np.zeros((total, PLACES), np.int32)  # by the cues that begin here, of each place
        nodes = np.zeros(total, np.int64)
        for length, (keys, values) in enumerate(self._steps):
            wanted = nodes[: total - length] * self._width + numbers[length:]
            at = np.searchsorted(keys, wanted)
            nodes = np.where(keys[at] == wanted, values[at], 0)
            said[: len(nodes)] += self._table[nodes]
        scores = np.full(total + PLACES, self._bias)
        for place in range(PLACES):
            scores[place : place + total] += said[:, place]
        return scores[BESIDE + 1 :][: len(pieces)]


class _Numbers(dict[str, int]):
    """Piece of text -> its word's number, worked out when it is first met; 0 for a word of no cue."""

    def __init__(self, words: Mapping[str, int]):
        super().__init__()
        self._words = words

    def __missing__(self, piece: str) -> int:
        if len(self) >= REMEMBERED:
            self.clear()
        self[piece] = number = self._words.get(normal(piece, self._words), 0)
        return number


def parse(lines: Sequence[str], path: Path) -> Cues:
    """A cue file. ValueError names a bad line or what is missing."""
    head: dict[str, int] = {}
    weights: dict[tuple[str, ...], dict[int, int]] = {}
    for number, line in enumerate(lines, 1):
        setting = re.match(r"# (bias|threshold|certain): (-?\d+)$", line.strip())
        if setting:
            head[setting[1]] = int(setting[2])
        elif line.strip() and not line.startswith("#"):
            gram, places = _cue(line, f"{path}, line {number}")
            weights[gram] = places
    missing = {"bias", "threshold", "certain"} - head.keys()
    if missing or not weights:
        what = ", ".join(f"'# {name}: NUMBER'" for name in sorted(missing)) or "a cue"
        raise ValueError(f"cue file {str(path)!r}: expected {what}, found none")
    return Cues(weights, head["bias"], head["threshold"], head["certain"])


def _cue(line: str, where: str) -> tuple[tuple[str, ...], dict[int, int]]:
    """`let me check\t0:41 1:38` -> (("let", "me", "check"), {0: 41, 1: 38})."""
    gram, _, listed = line.rstrip("\n").partition("\t")
    words = tuple(word.replace("<newline>", "\n") for word in gram.split(" "))
    places = re.fullmatch(r"(-?\d+:-?\d+)( -?\d+:-?\d+)*", listed)
    if not 1 <= len(words) <= LONGEST or not all(words) or places is None:
        raise ValueError(f"{where}: expected 1 to {LONGEST} words, a tab and weights as '0:41 1:38', got {line!r}")
    weights = {int(place): int(weight) for place, weight in (pair.split(":") for pair in listed.split())}
    if not all(-BESIDE <= place < len(words) + BESIDE for place in weights):
        raise ValueError(f"{where}: expected places from {-BESIDE} to {len(words) + BESIDE - 1}, got {listed!r}")
    return words, weights


def pieces(text: str) -> Iterator[re.Match[str]]:
    """Words, line breaks and single signs of a text, in order."""
    return _PIECE.finditer(text)


def normal(piece: str, known: Container[str]) -> str:
    """A piece of text as cues name it, its class where it is not known."""
    word = "\n" if piece[0] == "\n" else piece.lower().translate(_APOSTROPHES)
    if _DIGIT.search(word):
        return "0"
    if word in known:
        return word
    if not word[0].isalpha():
        return "<sign>"
    if len(word) == 1:
        return "<a>"
    return next((f"<{ending}>" for ending in ("ing", "ed", "ly") if word.endswith(ending)), "<word>")


def _runs(marked: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of each run of True."""
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _trimmed(run: Sequence[re.Match[str]]) -> list[tuple[int, int]]:
    """The characters of a run from its first to its last word; none where it has too few."""
    words = [piece for piece in run if piece[0][0].isalnum()]
    return [(words[0].start(), words[-1].end())] if len(words) >= FEWEST else []
