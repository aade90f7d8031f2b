"""Numbers of a text by value, so that 0.5, 1/2, 50% and \\frac{1}{2} are one and the same."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

TOLERANCE = Fraction(1, 10**6)  # relative, and absolute below 1: that of the reward `numeric`
LONGEST = 100  # characters of a number; a longer one is no value that anybody is told

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w.])(?:(?P<whole>\d+)\s+(?=\d+\s?/))?(?P<top>{_DIGITS})(?:e(?P<exponent>[-+]?\d{{1,2}})(?!\d))?"
    rf"(?:\s?/\s?(?P<bottom>{_DIGITS}))?(?P<percent>\s?\\?%|\s?per\s?cent\b)?",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\[dtc]?frac\s*\{\s*([\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")  # one quarter to seven eighths, a character each
_ALONE = re.compile(r"(?:\w+\s*=)?[-+\u2212$\u20ac\u00a3\s]*#(?:\s+[^\W\d][^\W\d\s]*){0,3}\s*\.?")  # x = -$# apples


class Number(NamedTuple):
    """What a number may stand for, without its sign: 50% is 50 and 1/2; `parts` are those it is written with."""

    values: frozenset[Fraction]
    parts: frozenset[Fraction]


def numbers(text: str) -> list[Number]:
    """The numbers of a text, in order."""
    return [_number(match) for match in _NUMBER.finditer(_plainer(text)) if len(match[0]) <= LONGEST]


def number(text: str) -> Number | None:
    """The number that a text is, but for a name or a currency before it and a unit behind; None for any other text."""
    found = numbers(text)
    return found[0] if len(found) == 1 and _ALONE.fullmatch(_NUMBER.sub("#", _plainer(text)).strip()) else None


def says(text: str, wanted: Number) -> bool:
    """Whether a text has this number, however it is written, or as a part of another."""
    there = {value for one in numbers(text) for value in one.values | one.parts}
    return any(abs(value - one) <= TOLERANCE * max(1, one) for value in there for one in wanted.values)


def _plainer(text: str) -> str:
    """The text with fractions written a/b."""
    text = _LATEX.sub(r" \1/\2 ", text)
    return _VULGAR.sub(lambda mark: f" {unicodedata.normalize('NFKC', mark[0])}".replace("\u2044", "/"), text)


def _number(match: re.Match[str]) -> Number:
    whole, bottom = Fraction(match["whole"] or 0), _plain(match["bottom"] or "1")
    top = _plain(match["top"]) * Fraction(10) ** int(match["exponent"] or 0)
    value = whole + top / bottom if bottom else top
    values = {value, value / 100} if match["percent"] else {value}
    return Number(frozenset(values), frozenset({top} | ({bottom} if match["bottom"] else set())))


def _plain(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
