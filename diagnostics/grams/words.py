"""Words as the grams see them: without case and punctuation, all numbers alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER = "0"
END = "</s>"  # what follows a gram that ends the text
_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc")
_CURLY = str.maketrans("\u2019\u02bc", "''")
_WORD = re.compile(r"[^\W_]+(?:['\u2019\u02bc][^\W_]+)*")
_ITEM = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019\u02bc][^\W_]+)*|\S")


def fold(word: str) -> str:
    """Lower case without apostrophes: "Let's" and "lets" are one word."""
    return word.translate(_APOSTROPHES).lower()


def straight(word: str) -> str:
    """Lower case with plain apostrophes, as a lexicon is written."""
    return word.translate(_CURLY).lower()


def words(text: str) -> list[str]:
    """The words of a text: "Let's see," is lets, see."""
    return [fold(word) for word in _WORD.findall(text)]


def pieces(items: Sequence[str], longest: int) -> list[str]:
    """Words joined to grams of at most `longest` words."""
    return [" ".join(items[i : i + longest]) for i in range(0, len(items), longest)]


def follower(text: str, start: int, window: int = 80) -> str:
    """The next word, sign or number from `start` on; all numbers are one, the end is one too."""
    match = _ITEM.search(text, start, start + window)
    if match is None:
        return END
    return NUMBER if match[0][0].isdigit() else fold(match[0])
