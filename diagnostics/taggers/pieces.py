"""Text in pieces: words, single signs and line breaks, each with the space behind it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

PIECE = re.compile(  # possessive, since nothing here is ever given back: a quarter faster
    r"[^\W_]++(?:['\u2019\u02bc][^\W_]++)*+[^\S\n]*+|[^\w\s][^\S\n]*+|_[^\S\n]*+|\n++[^\S\n]*+"
)
_DIGIT = re.compile(r"\d")
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")
CLASSES = ("0", "<sign>", "<a>", "<ing>", "<ed>", "<ly>", "<word>")


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """(piece, start, end) of the words, line breaks and single signs of a text, in order, without the space behind."""
    for match in PIECE.finditer(text):
        length = len(match[0].rstrip()) or match[0].count("\n")
        yield match[0][:length], match.start(), match.start() + length


def spelled(piece: str) -> str:
    """A piece in lower case, without the space behind it and with straight apostrophes; one break for several."""
    return "\n" if piece[0] == "\n" else piece.rstrip().lower().translate(_APOSTROPHES)


def normal(piece: str, known: Container[str]) -> str:
    """A piece as spelled, `0` if it has a digit; its class where it is not known: by its ending or its length."""
    word = spelled(piece)
    return class_of(word) if _DIGIT.search(word) or word not in known else word


def class_of(word: str) -> str:
    """What stands for a word that is not known."""
    if _DIGIT.search(word):
        return "0"
    if not word[0].isalpha():
        return "<sign>"
    if len(word) == 1:
        return "<a>"
    return next((f"<{ending}>" for ending in ("ing", "ed", "ly") if word.endswith(ending)), "<word>")
