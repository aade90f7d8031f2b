"""The same text in the case that prose has, for a tagger that learned from prose.

Case carries no plan, but a network has seen hardly any text that is all in capitals, or without one. So three words or
more in capitals, and a text without any, are read as if they began their sentences with one. Every character stays at
its place.
"""

from __future__ import annotations

import re

_WORD = r"(?:[A-Z]+(?:['\u2019][A-Z]+)?|\d+)(?!\w)"
_CAPITALS = re.compile(rf"(?<!\w)[A-Z]{{2,}}(?:['\u2019][A-Z]+)?(?:[^\w\n]+{_WORD}){{2,}}")
_START = re.compile(r"(?:^|[.!?]\s+|\n\s*)[a-z]")
_I = re.compile(r"(?<!\w)i(?!\w)")


def as_prose(text: str) -> str:
    """The text with runs of words in capitals, and texts without any, in the case of a sentence; as long as it was."""
    text = _CAPITALS.sub(lambda run: _sentences(run[0].lower()), text)
    return _sentences(text) if text.islower() else text


def _sentences(text: str) -> str:
    return _I.sub("I", _START.sub(lambda start: start[0].upper(), text))
