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
`<$>` for the ends of the text. Sums of whole numbers are the same on every machine.
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
GAP = [""] * (BESIDE + 2)  # between two texts: the end of one, as many as a cue may still speak about, the next's start
_PIECE = re.compile(r"(?:[^\W_]+(?:['\u2019\u02bc][^\W_]+)*|[^\w\s]|_)[^\S\n]*|\n+[^\S\n]*")
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
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The spans of each text. Many short texts are faster at once than one by one."""
        found, before, behind = list(GAP), [], []
        for text in texts:
            before.append(len(found) - 1)
            found += _PIECE.findall(text)
            behind.append(len(found))
            found += GAP
        lengths = np.fromiter(map(len, found), np.intp, len(found))
        begins = np.cumsum(lengths) - lengths
        numbers = np.fromiter(map(self._numbers.__getitem__, found), np.intp, len(found))
        numbers[before], numbers[behind] = self._start, self._end
        phrases = self._phrases(self._scores(numbers >> 1), lengths > 0, numbers & 1)
        spans: list[list[tuple[int, int]]] = [[] for _ in texts]
        owners = np.searchsorted(before, phrases[:, 0]) - 1
        for owner, (first, last) in zip(owners.tolist(), phrases.tolist(), strict=True):
            shift = len(texts[owner]) - int(begins[behind[owner]])  # pieces reach to a text's end, not to its beginning
            end = int(begins[last]) + len(found[last].rstrip())
            spans[owner].append((int(begins[first]) + shift, end + shift))
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
        self._start, self._end = 2 * words.get(START, 0), 2 * words.get(END, 0)
        self._first = np.array([0, *(nodes.get((word,), 0) for word in words)])
        steps = sorted((nodes.get(gram[:-1], 0) * self._width + words[gram[-1]], node) for gram, node in nodes.items())
        self._keys, self._nodes = np.array([*steps, (np.iinfo(np.int64).max, 0)]).T.copy()

    def _scores(self, words: np.ndarray) -> np.ndarray:
        """The score of each piece (N,), given by its word's number."""
        total, nodes = len(words), self._first[words]
        words = np.concatenate([words, np.zeros(LONGEST, words.dtype)])
        said = self._table[nodes]  # by the cues that begin here, of each place
        at = np.flatnonzero(nodes)
        nodes = nodes[at]
        for length in range(1, LONGEST):
            keys = nodes * self._width + words[at + length]
            found = np.searchsorted(self._keys, keys)
            held = np.flatnonzero(self._keys[found] == keys)
            at, nodes = at[held], self._nodes[found[held]]
            said[at] += self._table[nodes]
        scores = np.full(total + PLACES, self._bias)
        for place in range(PLACES):
            scores[place : place + total] += said[:, place]
        return scores[BESIDE : BESIDE + total]

    def _phrases(self, scores: np.ndarray, inside: np.ndarray, spoken: np.ndarray) -> np.ndarray:
        """(phrases, 2): first and last word of each phrase; of pieces (N,), whether inside a text, whether words."""
        edges = np.flatnonzero(np.diff(inside & (scores >= self._threshold))) + 1
        if not len(edges):
            return np.zeros((0, 2), np.intp)
        firsts, stops = edges[::2], edges[1::2]
        sure = np.maximum.reduceat(scores, edges)[::2] >= self._certain
        before, places = np.concatenate([[0], np.cumsum(spoken)]), np.flatnonzero(spoken)
        kept = np.flatnonzero(sure & (before[stops] - before[firsts] >= FEWEST))
        return np.stack([places[before[firsts[kept]]], places[before[stops[kept]] - 1]], axis=1)


class _Numbers(dict[str, int]):
    """Piece of text -> twice its word's number, 0 for a word of no cue, and 1 more if it is a word and not a sign.

    Worked out when a piece is first met. Nothing, which stands between two texts, has 0.
    """

    def __init__(self, words: Mapping[str, int]):
        super().__init__()
        self._words = words

    def __missing__(self, piece: str) -> int:
        if len(self) >= REMEMBERED:
            self.clear()
        number = 2 * self._words.get(normal(piece, self._words), 0) + piece[0].isalnum() if piece else 0
        self[piece] = number
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


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """(piece, start, end) of the words, line breaks and single signs of a text, in order."""
    for match in _PIECE.finditer(text):
        length = len(match[0].rstrip()) or match[0].count("\n")
        yield match[0][:length], match.start(), match.start() + length


def normal(piece: str, known: Container[str]) -> str:
    """A piece of text as cues name it, its class where it is not known."""
    word = "\n" if piece[0] == "\n" else piece.rstrip().lower().translate(_APOSTROPHES)
    if _DIGIT.search(word):
        return "0"
    if word in known:
        return word
    if not word[0].isalpha():
        return "<sign>"
    if len(word) == 1:
        return "<a>"
    return next((f"<{ending}>" for ending in ("ing", "ed", "ly") if word.endswith(ending)), "<word>")
