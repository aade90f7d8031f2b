"""Finds planning phrases by a small network over words, so that wordings no lexicon lists are found too.

    piece ──vector, traits──▶ three pieces ──▶ + the sentence's strongest ──▶ five ──▶ five ──▶ logit

A word's vector says what it means and how it is used, its traits how it is written. The first layer looks at a piece
and its two neighbours; what is strongest in the sentence is added to each of its pieces; two layers look two pieces
further each. A phrase is a run of pieces whose logit reaches a threshold. `benchmarks/tagger_training.py` learns it
from labelled passages and writes `network.npz`. The first layer is linear in each piece, so its part of it is worked
out once for each spelling and kept: the rest is a few products of small matrices, fast enough for every completion of
a run without a second library beside numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from diagnostics.taggers.casing import as_prose
from diagnostics.taggers.pieces import NOTHING, PIECE, STOP, WORD, kind, normal, traits
from diagnostics.taggers.weights import REACH, Weights, hash_of, load

NETWORK = Path(__file__).parent.with_name("network.npz")
FEWEST = 2  # words of a phrase
REMEMBERED = 30_000  # spellings whose part of the first layer is kept at hand: 480 bytes each
LETTERS = 1_000_000  # that they may have together
LARGEST = 16_000  # characters that are judged at once: what a processor's cache holds
GAP = sum(reach // 2 for reach in REACH)  # pieces of nothing around a text: as many as the network sees to one side
_PART = re.compile(rf"(?s).{{1,{LARGEST}}}(?:\Z|(?<=\n)|(?<=[.!?]\s))|.{{1,{LARGEST}}}")


class NetworkTagger:
    """Marks runs of pieces; each run has at least two words and one piece that is certain.

    A text of more than 16,000 characters is read in parts, cut behind a sentence where one ends. For one thread at a
    time: what is worked out for a spelling is kept.
    """

    def __init__(self, path: str | Path | None = None):
        weights = load(Path(path) if path is not None else NETWORK)
        self.version = str(weights.version)
        self.hash = hash_of(weights)
        self._net = weights
        self._kernels = [np.concatenate(kernel, axis=1) for kernel in (weights.second, weights.third)]
        self._rows = _Rows(weights)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the planning phrases in characters, in order; they do not overlap."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The spans of each text. Many short texts are faster at once than one by one."""
        spans: list[list[tuple[int, int]]] = [[] for _ in texts]
        for together in _gathered(texts):
            found = self._at_once([part for _, _, part in together])
            for (owner, start, _), of in zip(together, found, strict=True):
                spans[owner] += [(first + start, last + start) for first, last in of]
        return spans

    def logits(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Before thresholds, of the pieces of each text (N,): to compare with what was learned."""
        found, before, behind = _in_a_row([as_prose(text) for text in texts])
        logits = self._logits(self._rows.of(found))
        return [logits[start + 1 : stop] for start, stop in zip(before, behind, strict=True)]

    def _at_once(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        found, before, behind = _in_a_row(texts)
        rows = self._rows.of(found)
        phrases = self._phrases(self._logits(rows), self._rows.kinds[rows])
        spans: list[list[tuple[int, int]]] = [[] for _ in texts]
        if not len(phrases):
            return spans
        ends = np.cumsum(np.fromiter(map(len, found), np.intp, len(found)))
        owners = np.searchsorted(before, phrases[:, 0]) - 1
        for owner, (first, last) in zip(owners.tolist(), phrases.tolist(), strict=True):
            shift = len(texts[owner]) - int(ends[behind[owner]])  # pieces reach to a text's end, not to its beginning
            begin = int(ends[first]) - len(found[first])
            spans[owner].append((begin + shift, int(ends[last]) - len(found[last]) + len(found[last].rstrip()) + shift))
        return spans

    def _logits(self, rows: np.ndarray) -> np.ndarray:
        """Of each piece (N,), given its row."""
        net, kinds = self._net, self._rows.kinds[rows]
        states = _layer(self._rows.table[rows], net.first_bias)
        starts = _sentences(kinds)
        strongest = np.maximum.reduceat(states, starts, axis=0) @ net.sentence
        strongest[kinds[starts] == NOTHING] = 0
        states += np.repeat(strongest, np.diff(starts, append=len(states)), axis=0)
        np.maximum(states, 0, out=states)
        for kernel, bias in zip(self._kernels, (net.second_bias, net.third_bias), strict=True):
            states = _layer(states @ kernel, bias)
        return states @ net.last + net.last_bias

    def _phrases(self, logits: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """(phrases, 2): first and last word of each phrase."""
        edges = np.flatnonzero(np.diff((kinds != NOTHING) & (logits >= self._net.threshold))) + 1
        if not len(edges):
            return np.zeros((0, 2), np.intp)
        firsts, stops = edges[::2], edges[1::2]
        sure = np.maximum.reduceat(logits, edges)[::2] >= self._net.certain
        spoken = kinds == WORD
        before, places = np.concatenate([[0], np.cumsum(spoken)]), np.flatnonzero(spoken)
        kept = np.flatnonzero(sure & (before[stops] - before[firsts] >= FEWEST))
        return np.stack([places[before[firsts[kept]]], places[before[stops[kept]] - 1]], axis=1)


class _Rows(dict[str, int]):
    """Piece of text -> its row in `table`, its part of the first layer, and in `kinds`; worked out when first met."""

    def __init__(self, weights: Weights):
        super().__init__()
        self._known = {word: number for number, word in enumerate(weights.words.tolist())}
        self._vectors = weights.vectors * weights.unit
        self._traits = weights.traits
        self._kernel = np.concatenate(weights.first, axis=1)
        self._reset()

    def of(self, found: Sequence[str]) -> np.ndarray:
        """(N,) the rows of these pieces, until the next call: it may number anew."""
        if len(self) > REMEMBERED or self._letters > LETTERS:
            self._reset()
        return np.fromiter(map(self.__getitem__, found), np.intp, len(found))

    def _reset(self) -> None:
        self.clear()
        self._letters = 0
        self.table = np.zeros((1024, self._kernel.shape[1]), np.float32)
        self.kinds = np.zeros(1024, np.int8)
        self[""] = 0  # nothing says nothing

    def __missing__(self, piece: str) -> int:
        number = len(self)
        if number == len(self.table):
            self.table, self.kinds = np.concatenate([self.table] * 2), np.concatenate([self.kinds] * 2)
        vector = self._vectors[self._known[normal(piece, self._known)]] + traits(piece) @ self._traits
        self.table[number], self.kinds[number] = vector @ self._kernel, kind(piece)
        self._letters += len(piece)
        self[piece] = number  # last, so that an interrupted call leaves nothing half done
        return number


def _gathered(texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
    """(text's number, start, part) of all texts, as many together as are judged at once."""
    together, held = [], 0
    for owner, text in enumerate(texts):
        for start, part in _parts(as_prose(text)):
            size = len(part) + 4 * GAP  # a piece has about four characters
            if together and held + size > LARGEST:
                yield together
                together, held = [], 0
            together.append((owner, start, part))
            held += size
    if together:
        yield together


def _parts(text: str) -> list[tuple[int, str]]:
    """(start, part) of a text, whole if it is not long."""
    return [(0, text)] if len(text) <= LARGEST else [(match.start(), match[0]) for match in _PART.finditer(text)]


def _in_a_row(texts: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    """The pieces of all texts with nothing before, between and behind; the place before each text and behind it."""
    found, before, behind = [""] * GAP, [], []
    for text in texts:
        before.append(len(found) - 1)
        found += PIECE.findall(text)
        behind.append(len(found))
        found += [""] * GAP
    return found, before, behind


def _layer(parts: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What each piece says to those around it (N, reach * C), to the ones before it last -> what each holds (N, C)."""
    width = len(bias)
    middle = parts.shape[1] // width // 2
    total = parts[:, middle * width : (middle + 1) * width] + bias
    for shift in range(1, middle + 1):
        total[shift:] += parts[:-shift, (middle - shift) * width : (middle - shift + 1) * width]
        total[:-shift] += parts[shift:, (middle + shift) * width : (middle + shift + 1) * width]
    return np.maximum(total, 0, out=total)


def _sentences(kinds: np.ndarray) -> np.ndarray:
    """Where sentences begin: behind a piece that ends one, at both ends of a text, and at 0."""
    nothing = kinds == NOTHING
    begun = (kinds[:-1] == STOP) | (nothing[1:] != nothing[:-1])
    return np.concatenate([[0], np.flatnonzero(begun) + 1])
