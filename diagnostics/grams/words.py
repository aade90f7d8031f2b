"""Words as the grams see them: without case and punctuation, numbers exchanged for one sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER = "0"
END = "</s>"  # what follows a gram that ends the text
_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc")
_WORD = re.compile(r"[^\W_]+(?:['\u2019\u02bc][^\W_]+)*")
_ITEM = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019\u02bc][^\W_]+)*|\S")


def words(text: str) -> list[str]:
    """The words of a text: "Let's see," is lets, see."""
    return [word.translate(_APOSTROPHES).lower() for word in _WORD.findall(text)]


def pieces(items: Sequence[str], longest: int) -> list[str]:
    """Words joined to grams of at most `longest` words."""
    return [" ".join(items[i : i + longest]) for i in range(0, len(items), longest)]


def follower(text: str, start: int, count: int = 1, window: int = 80) -> str:
    """The next `count` words, signs or numbers from `start` on; numbers are alike, the end is one too."""
    items = _ITEM.findall(text[start : start + window])[:count]
    items = [NUMBER if item[0].isdigit() else item.translate(_APOSTROPHES).lower() for item in items]
    return " ".join(items + [END] * (len(items) < count))
