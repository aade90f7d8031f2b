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

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from diagnostics.taggers.pieces import CLASSES, PIECE, normal

NETWORK = Path(__file__).parent.with_name("network.npz")
FEWEST = 2  # words of a phrase
REMEMBERED = 30_000  # spellings whose part of the first layer is kept at hand: 770 bytes each
GATHERED = 16_000  # characters that are judged at once: what a processor's cache holds
STOPS, MARKS = ".!?", "=+-*/^<>"
TRAITS = 8
NOTHING, WORD, SIGN, STOP = range(4)  # kinds of pieces


class Weights(NamedTuple):
    """A network file, in this order of use. V words, D numbers a word, A, B, C channels."""

    words: np.ndarray  # (V,) str: known words and the classes of the others
    vectors: np.ndarray  # (V, D) int8, in units of `unit`
    unit: np.ndarray  # (D,)
    traits: np.ndarray  # (TRAITS, D), added to a word's vector
    first: np.ndarray  # (3, D, A): for the piece behind, itself, the piece before
    first_bias: np.ndarray  # (A,)
    sentence: np.ndarray  # (A, A)
    second: np.ndarray  # (5, A, B)
    second_bias: np.ndarray  # (B,)
    third: np.ndarray  # (5, B, C)
    third_bias: np.ndarray  # (C,)
    last: np.ndarray  # (C,)
    last_bias: np.ndarray  # ()
    threshold: np.ndarray  # () what a piece must reach to be part of a phrase
    certain: np.ndarray  # () what one piece of a phrase must reach
    version: np.ndarray  # () str


LEARNED = Weights._fields[2:-1]
GAP = sum(reach // 2 for reach in (3, 5, 5))  # pieces of nothing around a text: as many as the network sees to one side


class NetworkTagger:
    """Marks runs of pieces; each run has at least two words and one piece that is certain."""

    def __init__(self, path: str | Path | None = None):
        weights = load(Path(path) if path else NETWORK)
        self.version = str(weights.version)
        said = b"".join(np.ascontiguousarray(of).tobytes() for of in weights[:-1])
        self.hash = hashlib.sha256(said).hexdigest()[:12]  # of what it marks
        self._net = weights
        self._kernels = [np.concatenate(kernel, axis=1) for kernel in (weights.second, weights.third)]
        self._rows = _Rows(weights)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of the planning phrases in characters, in order; they neither overlap nor touch."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The spans of each text. Many short texts are faster at once than one by one."""
        spans: list[list[tuple[int, int]]] = []
        start = 0
        while start < len(texts):
            stop, held = start + 1, len(texts[start])
            while stop < len(texts) and held + len(texts[stop]) <= GATHERED:
                held += len(texts[stop])
                stop += 1
            spans += self._at_once(texts[start:stop])
            start = stop
        return spans

    def logits(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The logits of the pieces of each text (N,), before thresholds."""
        found, before, behind = _in_a_row(texts)
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
        starts = sentences(kinds)
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
    """Piece of text -> the row of its part of the first layer and of its kind, worked out when it is first met."""

    def __init__(self, weights: Weights):
        super().__init__()
        self._known = {word: number for number, word in enumerate(weights.words.tolist())}
        self._vectors = weights.vectors * weights.unit
        self._traits = weights.traits
        self._kernel = np.concatenate(weights.first, axis=1)
        self._reset()

    def of(self, found: Sequence[str]) -> np.ndarray:
        """(N,) the rows of these pieces; those of an earlier call need not hold any more."""
        if len(self) > REMEMBERED:
            self._reset()
        return np.fromiter(map(self.__getitem__, found), np.intp, len(found))

    def _reset(self) -> None:
        self.clear()
        self.table = np.zeros((1024, self._kernel.shape[1]), np.float32)
        self.kinds = np.zeros(1024, np.int8)
        self[""] = 0  # nothing says nothing

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        if number == len(self.table):
            self.table, self.kinds = np.concatenate([self.table] * 2), np.concatenate([self.kinds] * 2)
        vector = self._vectors[self._known[normal(piece, self._known)]] + traits(piece) @ self._traits
        self.table[number], self.kinds[number] = vector @ self._kernel, kind(piece)
        return number


def kind(piece: str) -> int:
    """Whether a piece is nothing, a word, another sign, or a sign or break that ends a sentence."""
    if not piece:
        return NOTHING
    if piece[0].isalnum():
        return WORD
    return STOP if piece[0] == "\n" or (piece[0] in STOPS and len(piece) > 1) else SIGN


def traits(piece: str) -> np.ndarray:
    """(TRAITS,) how a piece with the space behind it is written."""
    word = piece.rstrip()
    said = (
        piece[0].isupper(),
        len(word) > 1 and word.isupper(),
        any(map(str.isdigit, word)),
        not piece[0].isalnum(),
        piece[0] == "\n",
        piece.count("\n") > 1,
        piece[0] in MARKS,
        len(word) < len(piece),
    )
    return np.array(said, np.float32)


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


def sentences(kinds: np.ndarray) -> np.ndarray:
    """Where sentences begin: behind a piece that ends one, at both ends of a text, and at 0."""
    nothing = kinds == NOTHING
    begun = (kinds[:-1] == STOP) | (nothing[1:] != nothing[:-1])
    return np.concatenate([[0], np.flatnonzero(begun) + 1])


def load(path: Path) -> Weights:
    """A network file. ValueError says what is wrong with it."""
    try:
        with np.load(path, allow_pickle=False) as held:
            missing = sorted(set(Weights._fields) - set(held))
            if missing:
                raise ValueError(f"expected the array {missing[0]!r}, found none")
            weights = Weights(*(held[name] for name in Weights._fields))
        _check(weights)
    except OSError as error:
        raise ValueError(f"network file {str(path)!r}: cannot be read ({error.strerror})") from None
    except (ValueError, BadZipFile, EOFError) as error:
        raise ValueError(f"network file {str(path)!r}: {error}; `benchmarks/tagger_training.py` writes one") from None
    return weights._replace(**{name: getattr(weights, name).astype(np.float32) for name in LEARNED})


def _check(weights: Weights) -> None:
    """ValueError where shapes do not fit each other or a number is none."""
    words, width = weights.vectors.shape if weights.vectors.ndim == 2 else (0, 0)
    first, second, third = (of.shape[-1] if of.ndim else 0 for of in (weights.first, weights.second, weights.third))
    expected: Mapping[str, tuple[int, ...]] = {
        "words": (words,), "unit": (width,), "traits": (TRAITS, width),
        "first": (3, width, first), "first_bias": (first,), "sentence": (first, first),
        "second": (5, first, second), "second_bias": (second,), "third": (5, second, third), "third_bias": (third,),
        "last": (third,), "last_bias": (), "threshold": (), "certain": (), "version": (),
    }  # fmt: skip
    for name, shape in expected.items():
        if getattr(weights, name).shape != shape:
            raise ValueError(f"expected {name!r} of shape {shape}, found {getattr(weights, name).shape}")
    for name in LEARNED:
        if not np.isfinite(getattr(weights, name).astype(np.float32)).all():
            raise ValueError(f"expected finite numbers in {name!r}")
    unnamed = set(CLASSES) - set(weights.words.tolist())
    if unnamed:
        raise ValueError(f"expected the word class {min(unnamed)!r} among the words, found none")
