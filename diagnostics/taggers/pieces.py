"""Text in pieces: words, single signs and line breaks (`\\n`), each with the space behind it; how each is written."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

import numpy as np

PIECE = re.compile(  # possessive: nothing here is ever given back
    r"[^\W_]++(?:['\u2019\u02bc][^\W_]++)*+[^\S\n]*+|[^\w\s][^\S\n]*+|_[^\S\n]*+|\n++[^\S\n]*+"
)
_DIGIT = re.compile(r"\d")
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")
CLASSES = ("0", "<sign>", "<a>", "<ing>", "<ed>", "<ly>", "<word>")
NOTHING, WORD, SIGN, STOP = range(4)  # kinds of pieces
STOPS, MARKS = ".!?", "=+-*/^<>"
TRAITS = 8


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """(piece, start, end) of the words, line breaks and single signs of a text, in order, without the space behind."""
    for match in PIECE.finditer(text):
        length = len(match[0].rstrip()) or match[0].count("\n")
        yield match[0][:length], match.start(), match.start() + length


def spelled(piece: str) -> str:
    """A piece in lower case, without the space behind it and with straight apostrophes; one break for several."""
    return "\n" if piece[0] == "\n" else piece.rstrip().lower().translate(_APOSTROPHES)


def normal(piece: str, known: Container[str]) -> str:
    """A piece as spelled, `0` if it has a digit; its class where it is not known."""
    word = spelled(piece)
    return class_of(word) if _DIGIT.search(word) or word not in known else word


def class_of(word: str) -> str:
    """What stands for a word that is not known, by its ending or its length. A class stands for itself."""
    if word in CLASSES:
        return word
    if _DIGIT.search(word):
        return "0"
    if not word[0].isalnum():
        return "<sign>"
    if len(word) == 1:
        return "<a>"
    return next((f"<{ending}>" for ending in ("ing", "ed", "ly") if word.endswith(ending)), "<word>")


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
        len(word) < len(piece),  # space behind it, or it is a break
    )
    return np.array(said, np.float32)
