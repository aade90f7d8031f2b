"""Text out of a run among words of ours: what an eye cannot see is spelt out, and no letter turns its neighbours."""

from __future__ import annotations

import html
import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # controls, formats, halves, private use, line and paragraph ends
LEFTWARDS = {"R", "AL", "AN"}  # letters and digits that run from right to left
ISOLATE, END = "\u2068", "\u2069"  # Unicode's own mark-up: what stands between does not reorder what is around it


def visible(text: object, most: int | None = None, *, lines: bool = False, keep: str = "") -> str:
    """The text with hidden characters by their names, as the viewer's script spells them; cut to `most` characters.

    `lines`: ends of lines and tabs stay. `keep`: further characters that stay.
    """
    given = str(text)
    if most is not None and len(given) > most:
        given = given[: most - 1] + "\u2026"
    stay = keep + ("\n\t" if lines else "")
    return "".join(c if c in stay or unicodedata.category(c) not in HIDDEN else _named(c) for c in given)


def shown(text: object, most: int | None = None) -> str:
    """Text of a run for the middle of a sentence: visible, and kept apart where it runs from right to left."""
    made = visible(text, most)
    turned = not made.isascii() and any(unicodedata.bidirectional(letter) in LEFTWARDS for letter in made)
    return f"{ISOLATE}{made}{END}" if turned else made


def as_html(text: object, most: int | None = None) -> str:
    """Text of a run as HTML."""
    return html.escape(shown(text, most))


def _named(letter: str) -> str:
    code = ord(letter)
    if letter == "\n":
        return "\u21b5"
    if code == 0x7F:
        return "\u2421"
    return chr(0x2400 + code) if code < 0x20 else f"U+{code:04X}"
