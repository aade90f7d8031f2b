"""Answers made of several: lists, tuples, sets, intervals, inequalities, unions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from rewards.equivalence import quantity

Kind = Literal["list", "tuple", "square", "set", "interval", "union"]

_OPEN, _CLOSE = "([{", ")]}"
_INFINITE = re.compile(r"[-+]?\s*\\infty")
_RELATION = re.compile(r"(<|>|\\le(?![a-z])|\\ge(?![a-z]))")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_NAME = re.compile(r"[a-zA-Z](?:_\{?\w+\}?)?|\\[a-z]+")
_SIZE = re.compile(r"\|\s*([a-zA-Z])\s*(?:([-+])\s*([^|]*\d[^|]*))?\|")
_HOLE = re.compile(r"([a-zA-Z])\s*\\ne(?![a-z])\s*(.+)")
_WITHOUT = re.compile(r"(?:\\mathbb\{R\}|R)\s*(?:\\setminus|-|/)\s*\\?\{([^{}]+)\\?\}")
_HALF_LINE = re.compile(r"\\mathbb\{R\}\s*(?:\^|_)\s*\{?\s*([-+])\s*\}?")
_BUILDER = re.compile(
    r"\\?\{\s*[a-zA-Z]\s*(?:\\in\s*(?:\\mathbb\{R\}|R)\s*)?(?:\\mid(?![a-z])|\\vert(?![a-z])|[:|])\s*(.+?)\s*\\?\}"
)
_VECTOR = re.compile(r"\\begin\{[bp]matrix\}(.*)\\end\{[bp]matrix\}", re.DOTALL)
_AND_OR = re.compile(r"\s*,?\s+(?:and|or)\s+|\s*\\(?:vee|lor|wedge|land)(?![a-z])\s*")


class Shape(NamedTuple):
    """What an answer is made of."""

    kind: Kind
    items: tuple[str, ...]
    brackets: str = ""  # of tuples and intervals, as written


def shape(text: str) -> Shape | None:
    """The parts of a cleaned answer, or None for what is one thing."""
    text = re.sub(r"\\lvert(?![a-z])|\\rvert(?![a-z])|\\[lr]?vert(?![a-z])", "|", text.strip())
    if (builder := _BUILDER.fullmatch(text)) is not None:
        text = builder[1].strip()
    if (half := _HALF_LINE.fullmatch(text)) is not None:
        return Shape("interval", ("0", "\\infty") if half[1] == "+" else ("-\\infty", "0"), "()")
    if (without := _WITHOUT.fullmatch(text)) is not None and (union := _punctured(without[1].rstrip("\\"))) is not None:
        return union
    if text in ("\\emptyset", "\\{\\}", "\\{ \\}", "{}"):
        return Shape("set", ())
    if (relation := _interval_of(text)) is not None:
        return relation
    if len(parts := _split(text, ("\\cup", " or "), keep_plain_or=True)) > 1:
        inner = [shape(part) for part in parts]
        if all(part is not None and part.kind in ("interval", "tuple", "square") for part in inner):
            return Shape("union", tuple(parts))
    if (whole := _bracketed(text)) is not None:
        return whole
    items = [item for part in _split(text, (",", ";")) for item in _AND_OR.split(part)]
    items = [re.sub(r"^(?:and|or)\s+", "", item.strip()) for item in items]
    if len(items) > 1 and all(items):
        return Shape("list", tuple(one for item in _named_alike(items) for one in _plus_minus(item) or (item,)))
    signs = _plus_minus(text)
    return None if signs is None else Shape("list", signs)


def as_tuple(text: str) -> str | None:
    """A matrix of one row or one column as (a, b, ...); None for everything else."""
    found = _VECTOR.fullmatch(text)
    if found is None or ("&" in found[1] and "\\\\" in found[1]):
        return None
    parts = [part.strip() for part in re.split(r"&|\\\\", found[1])]
    return f"({', '.join(parts)})"


def _named_alike(items: list[str]) -> Iterator[str]:
    """`x = 1` and `x = 2` as 1 and 2; names that differ stay."""
    leads = [re.match(r"([a-zA-Z])(?:_\{?\d+\}?)?\s*=\s*", item) for item in items]
    names = {lead[1] for lead in leads if lead}
    if len(names) == len(items):  # y = 3, x = 2
        items, leads = sorted(items), [None] * len(items)
    for item, lead in zip(items, leads, strict=True):
        yield item[lead.end() :] if lead and len(names) == 1 else item


def _plus_minus(text: str) -> tuple[str, ...] | None:
    if text.count("\\pm") != 1:
        return None
    before, after = (part.strip() for part in text.split("\\pm"))
    if before.endswith("=") or not before:
        return after, f"-{after}" if re.fullmatch(r"[\w.]+|\\(?:sqrt|frac)\S*", after) else f"-({after})"
    return f"{before} + {after}", f"{before} - {after}"


def _bracketed(text: str) -> Shape | None:
    """(a, b), [a, b), \\{a, b\\}, \\langle a, b \\rangle; one pair of brackets around everything."""
    for start, end in (("\\{", "\\}"), ("\\langle", "\\rangle")):
        if text.startswith(start) and text.endswith(end) and text.count(start) == 1:
            items = _items(text[len(start) : -len(end)])
            return _set(items) if start == "\\{" else Shape("tuple", items, "()")
    if len(text) < 2 or text[0] not in "([{" or text[-1] not in ")]}" or not _encloses(text):
        return None
    items, brackets = _items(text[1:-1]), text[0] + text[-1]
    if brackets == "{}":
        return _set(items)
    if len(items) == 2 and (brackets in ("(]", "[)") or any(map(_INFINITE.fullmatch, items))):
        return Shape("interval", items, brackets)
    if brackets == "()":
        return Shape("tuple", items, brackets) if len(items) > 1 else None
    return Shape("square", items, brackets) if brackets == "[]" else None


def _set(items: tuple[str, ...]) -> Shape:
    return Shape("set", tuple(one for item in items for one in _plus_minus(item) or (item,)))


def _items(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _split(text, (",", ";"), numbers_whole=False)) if text.strip() else ()


def _encloses(text: str) -> bool:
    """Whether the first bracket is closed by the last character only; kinds of brackets may differ."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0:
            return i == len(text) - 1
    return False


def _split(
    text: str, separators: tuple[str, ...], *, numbers_whole: bool = True, keep_plain_or: bool = False
) -> list[str]:
    """Cut at separators outside of brackets. `1,234` is cut only inside of brackets."""
    parts, depth, begin, i = [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in _OPEN) - (text[i] in _CLOSE)
        found = next((s for s in separators if depth == 0 and text.startswith(s, i)), None)
        if found == "," and numbers_whole and re.search(r"\d$", text[:i]) and re.match(r",\d{3}(?!\d)", text[i:]):
            found = None
        if found:
            parts.append(text[begin:i].strip())
            i = begin = i + len(found)
        else:
            i += 1
    return [*parts, text[begin:].strip()]


def _interval_of(text: str) -> Shape | None:
    """The interval that an inequality in one name describes; unions of two by `or`."""
    if (hole := _HOLE.fullmatch(text)) is not None:
        name, first = hole.groups()
        return _punctured(re.sub(rf"(?:,|and|or)\s*{name}\s*\\ne(?![a-z])|\b(?:and|or)\b", ",", first))
    cut = _RELATION.split(text)
    if len(cut) == 3:
        left, sign, right = (part.strip() for part in cut)
        if _NAME.fullmatch(right) and not _NAME.fullmatch(left):
            left, sign, right = right, _FLIPPED[sign], left
        if (size := _SIZE.fullmatch(left)) and _is_bound(right, size[1]):
            shift = f"{'+' if size[2] == '-' else '-'}({size[3]})" if size[2] else ""
            low, high = f"-({right}){shift}", f"{right}{shift}"
            if sign in ("<", "\\le"):
                return Shape("interval", (low, high), "()" if sign == "<" else "[]")
            begin, end = "()" if sign == ">" else "[]"
            return Shape("union", (f"(-\\infty, {low}{end}", f"{begin}{high}, \\infty)"))
        if not _NAME.fullmatch(left) or not _is_bound(right, left):
            return None
        if sign in ("<", "\\le"):
            return Shape("interval", ("-\\infty", right), "(" + (")" if sign == "<" else "]"))
        return Shape("interval", (right, "\\infty"), ("(" if sign == ">" else "[") + ")")
    if len(cut) == 5:
        low, first, name, second, high = (part.strip() for part in cut)
        if first in (">", "\\ge") and second in (">", "\\ge"):
            low, first, second, high = high, _FLIPPED[second], _FLIPPED[first], low
        if first in ("<", "\\le") and second in ("<", "\\le") and _NAME.fullmatch(name):
            brackets = ("(" if first == "<" else "[") + (")" if second == "<" else "]")
            return Shape("interval", (low, high), brackets) if _is_bound(low, name) and _is_bound(high, name) else None
    return None


def _punctured(holes: str) -> Shape | None:
    """The real numbers without some, which are listed; None where several are and one of them is no number."""
    found = [(quantity.read(hole), hole) for hole in _items(holes)]
    if not found or (len(found) > 1 and None in [number for number, _ in found]):
        return None
    inner = [hole for _, hole in (sorted(found, key=lambda one: one[0].value) if len(found) > 1 else found)]
    return Shape("union", tuple(f"({low}, {high})" for low, high in pairwise(["-\\infty", *inner, "\\infty"])))


def _is_bound(text: str, name: str) -> bool:
    """A value that does not hold the name it bounds."""
    if quantity.read(text) is not None or _INFINITE.fullmatch(text):
        return True
    return not re.search(rf"(?<![\\a-zA-Z]){re.escape(name)}(?![a-zA-Z])", text) and not re.search(
        r"\bor\b|\band\b|,", text
    )
