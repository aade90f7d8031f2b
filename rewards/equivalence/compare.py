"""Two cleaned answers compared: as numbers, as lists and intervals, as words, and last by algebra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from rewards.equivalence import quantity, symbolic
from rewards.equivalence.structure import Shape, as_tuple, shape

_CHOICE = re.compile(r"[(\[]?([A-Za-z])[)\].:]?(?:\s+.*)?")
_LETTER = r"[a-zA-Z](?:_\{?\w+\}?)?'*"
_DEFINES = re.compile(
    r"(?:\\frac\s*\{d[a-zA-Z]?\}\s*\{d[a-zA-Z]\}|d[a-zA-Z]/d[a-zA-Z]|\\[a-z]+"  # dy/dx, \theta
    rf"|{_LETTER}|\(\s*{_LETTER}(?:\s*,\s*{_LETTER})+\s*\)"  # x_1, (x, y)
    rf"|{_LETTER}(?:\s*\^\s*\{{?\s*-1\s*\}}?)?\s*\(\s*-?[\w\s\\,.]+\)"  # f(x), the inverse, P(A \cap B)
    r"|m?\s*\\angle\s*[A-Z]{1,3}|\\overline\s*\{[A-Z]{2}\}|\|\s*[a-zA-Z]{1,2}\s*\|"
    r"|\\(?:sin|cos|tan)\s*(?:[a-zA-Z]|\\[a-z]+|\(\s*(?:[a-zA-Z]|\\[a-z]+)\s*\))"
    r"|[A-Za-z]{2,}(?: [a-z]+)*)"
    r"\s*(?:=|\\in(?![a-z]))\s*(?=\S)"
)
_KNOWN = r"\\(?:frac|binom|sqrt|times|cdot|pi|[%$])"
_WORKED_OUT = re.compile(rf"(?=[^=]*\d)(?:[^a-zA-Z=<>\\|_]|{_KNOWN})+=\s*(?=\S)")  # 5^3 =
_BACKWARDS = re.compile(r"([^=<>]*\d[^=<>]*)=\s*([a-zA-Z])")
_CONSTANT = re.compile(r"\s*\+\s*[Cc]$")  # of an integral
_ARTICLES = re.compile(r"\b(?:the|an|a)\s+", re.IGNORECASE)
_WORDY = re.compile(r"[^\W\d_]{2,}(?:[\s'.-]+[^\W\d_]+)*[.]?")
_CLOCK = re.compile(
    r"(\d{1,2})\s*:\s*(\d{2})(?::\d{2})?\s*(?:([ap])\.?\s*m\.?|(?<=1[3-9]:\d\d)|(?<=2[0-3]:\d\d))", re.IGNORECASE
)
_TIME = re.compile(r"(1[0-2]|[1-9])\s*:\s*([0-5]\d)()")
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?::|to)\s*(\d+(?:\.\d+)?)")
_BASE = re.compile(r"([\dA-F]+)_\{?(\d+)\}?")


def same(given: str, expected: str, depth: int = 0) -> bool:
    """Whether two cleaned answers are the same. `depth`: how many lists and pairs they were taken out of."""
    if given == expected:
        return bool(given)
    if not given or not expected or depth > 4:
        return False
    if "\\approx" in given:
        return any(same(part.strip(), expected, depth + 1) for part in given.split("\\approx"))
    one, other = quantity.read(given), quantity.read(expected)
    if one is not None and other is not None:
        return quantity.agree(one, other)
    if (by_form := _forms(given, expected)) is not None:
        return by_form
    vectors = as_tuple(given), as_tuple(expected)
    if (vectors[0] is None) != (vectors[1] is None):
        given, expected = vectors[0] or given, vectors[1] or expected
    if _CONSTANT.search(given) and _CONSTANT.search(expected):
        given, expected = (_CONSTANT.sub("", side) for side in (given, expected))
    first, second = shape(given), shape(expected)
    if not any(found and found.kind == "list" for found in (first, second)):
        left, right = _right_sides(given, expected)
        if (left, right) != (given, expected):
            return same(left, right, depth + 1)
    if first is not None or second is not None:
        compared = _shapes(first, second, given, expected, depth)
        if compared is not None:
            return compared
    (bare, unit), (right, wanted) = quantity.without_unit(given), quantity.without_unit(expected)
    if unit and wanted and not quantity.same_unit(unit, wanted):
        return False
    return same(bare, right, depth + 1) if unit or wanted else symbolic.equal(given, expected)


def is_plain(text: str) -> bool:
    """Whether a cleaned answer is understood without algebra."""
    forms = (_CLOCK, _RATIO, _BASE)
    known = quantity.read(text) is not None or shape(text) is not None or _is_choice(text) or _is_words(text)
    return known or any(form.fullmatch(text) for form in forms)


def _forms(given: str, expected: str) -> bool | None:
    """Times of day, ratios, numerals with a base, and words; None where neither side is one of them."""
    clocks = _CLOCK.fullmatch(given), _CLOCK.fullmatch(expected)
    if all(clocks) and any(clock[3] for clock in clocks):  # 18:12 and 21:14 are ratios
        return _minutes(clocks[0]) == _minutes(clocks[1])
    if any(clock and clock[3] for clock in clocks) and any(bare := [_TIME.fullmatch(given), _TIME.fullmatch(expected)]):
        there, missing = next(filter(None, clocks)), next(filter(None, bare))
        return _minutes(there) % 720 == _minutes(missing) % 720
    ratios = _RATIO.fullmatch(given), _RATIO.fullmatch(expected)
    if all(ratios):
        (a, b), (c, d) = (map(float, ratio.groups()) for ratio in ratios)
        return a * d == b * c
    if any(ratios) and (number := quantity.read(expected if ratios[0] else given)) is not None:
        a, b = (Fraction(part) for part in next(filter(None, ratios)).groups())
        return bool(b) and number.unit is None and a / b == number.value
    bases = _BASE.fullmatch(given), _BASE.fullmatch(expected)
    if all(bases):
        return bases[0].groups() == bases[1].groups()
    if any(bases):
        numeral = next(base[1] for base in bases if base)
        return numeral in (given, expected)
    if _is_choice(expected) or _is_choice(given):
        letters = [_CHOICE.fullmatch(side) for side in (given, expected)]
        return all(letters) and letters[0][1].upper() == letters[1][1].upper()
    if _is_words(given) and _is_words(expected):
        return _words(given) == _words(expected)
    if _is_words(given) or _is_words(expected):
        return False
    return None


def _minutes(clock: re.Match[str]) -> int:
    """Minutes since midnight; an hour over twelve needs no p.m."""
    half, hour = (clock[3] or "").lower(), int(clock[1])
    return (hour % 12 + 12 * (half == "p") if half else hour) * 60 + int(clock[2])


def _is_choice(text: str) -> bool:
    """`C`, `(C)`, `C.` or `(c)`: a letter that names an option, not a variable."""
    return re.fullmatch(r"\(?[A-J][).:]|[A-J]|\([a-j]\)", text) is not None


def _is_words(text: str) -> bool:
    """Plain words, and no mathematics spelt without back-slashes."""
    return "\\" not in text and _WORDY.fullmatch(_ARTICLES.sub("", text)) is not None


def _words(text: str) -> str:
    return _ARTICLES.sub("", " ".join(text.casefold().rstrip(".").split()))


def _right_sides(given: str, expected: str) -> tuple[str, str]:
    """Without `x =`, `f(x) =` or `x \\in` where only one side has it, or both the same."""
    given, expected = (_BACKWARDS.sub(r"\2 = \1", s) if _BACKWARDS.fullmatch(s) else s for s in (given, expected))
    leads = [_DEFINES.match(side) for side in (given, expected)]
    if "=" not in expected and not leads[0] and (worked := _WORKED_OUT.match(given)) and given.count("=") == 1:
        return given[worked.end() :], expected
    rests = [side[lead.end() :] if lead else side for side, lead in zip((given, expected), leads, strict=True)]
    plain = [
        lead is None or not re.search(r"=|<|>|\\[lg]e(?![a-z])", rest) for lead, rest in zip(leads, rests, strict=True)
    ]
    if not all(plain):
        chain = [side.rpartition("=")[2].strip() if side.count("=") > 1 else side for side in (given, expected)]
        return chain[0], chain[1]
    if all(leads):
        names = [re.sub(r"\s|=|\\in", "", lead[0]) for lead in leads]
        return (rests[0], rests[1]) if names[0] == names[1] else (given, expected)
    if leads[0] and not re.search(r"=|\\in(?![a-z])", expected) and not re.search(r"[<>]|\\[lg]e(?![a-z])", expected):
        return rests[0], expected
    if leads[1] and not re.search(r"=|\\in(?![a-z])", given) and not re.search(r"[<>]|\\[lg]e(?![a-z])", given):
        return given, rests[1]
    return given, expected


def _shapes(one: Shape | None, other: Shape | None, given: str, expected: str, depth: int) -> bool | None:
    """Lists, tuples, sets, intervals and unions; None where algebra has to say."""
    if one is None or other is None:
        single, text = (one, expected) if one is not None else (other, given)
        if single.kind in ("set", "tuple", "square") and len(single.items) == 1:
            return same(single.items[0], text, depth + 1)
        return False if single.kind in ("list", "tuple", "square", "interval", "union") and _is_atom(text) else None
    if len(one.items) != len(other.items):
        return False
    kinds = {one.kind, other.kind}
    if (
        one.kind != other.kind
        and not kinds <= {"list", "set"}
        and not kinds <= {"list", "tuple"}
        and not (kinds <= {"tuple", "square", "interval"} and one.brackets == other.brackets)
    ):
        return False
    if one.kind == other.kind == "interval" and one.brackets != other.brackets:
        return False
    ordered = bool(kinds & {"tuple", "square", "interval"})
    return _all_same(one.items, other.items, depth) if ordered else _matched(one.items, other.items, depth)


def _is_atom(text: str) -> bool:
    """A number or a name: nothing that could be a list or an interval in other words."""
    return quantity.read(text) is not None or re.fullmatch(r"[A-Za-z]+|\\[a-z]+", text) is not None


def _all_same(one: Sequence[str], other: Sequence[str], depth: int) -> bool:
    return all(same(a, b, depth + 1) for a, b in zip(one, other, strict=True))


def _matched(one: Sequence[str], other: Sequence[str], depth: int) -> bool:
    """Whether each of one finds one of its own in the other."""
    left = list(other)
    for item in one:
        twin = next((i for i, candidate in enumerate(left) if same(item, candidate, depth + 1)), None)
        if twin is None:
            return False
        del left[twin]
    return not left
