"""Numbers with what stands beside them: percent signs, currencies, units."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

SIGNIFICANT = 6  # digits from which on a decimal stands for a number that has no finite decimal form
_LONGEST = 100  # characters of a number; nobody answers with more

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_WHOLE}(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<currency>\$|€|£|¥|₹|USD\s|EUR\s)?\s*(?P<inner>-?)"
    r"(?:"
    rf"(?P<mixed>\d+)\s*(?:\\frac\s*\{{(?P<mt>\d+)\}}\s*\{{(?P<mb>\d+)\}}"
    r"|(?:\s|\+|and )(?P<pt>\d+)\s*/\s*(?P<pb>\d+))"
    rf"|\\frac\s*\{{\s*(?P<ft>-?{_DECIMAL})\s*\}}\s*\{{\s*(?P<fb>-?{_DECIMAL})\s*\}}"
    rf"|\(?(?P<st>-?{_DECIMAL})\s*/\s*(?P<sb>{_DECIMAL})\)?"
    rf"|(?P<value>{_DECIMAL})(?:\s*(?:\\times|\\cdot|x)\s*10\s*\^\s*"
    r"(?:\{\s*(?P<power>-?\d+)\s*\}|(?P<bare>-?\d+)|\((?P<round>-?\d+)\))"
    r"|[eE](?P<e>[-+]?\d+))?"
    r")"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORD_NUMBERS = {
    **{word: n for n, word in enumerate(_SMALL.split())},
    **{word: 10 * n for n, word in enumerate(_TENS.split(), 2)},
    "dozen": 12,
}
_PARTS = {
    **{"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8},
    **{"ninth": 9, "tenth": 10, "twelfth": 12},
}
_PART = re.compile(rf"\b(an?|{'|'.join(_SMALL.split())})[\s-]+({'|'.join(_PARTS)}|halve)s?\b", re.IGNORECASE)
_SCALES = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "k": 1_000,
    "K": 1_000,
}
_COMPOUND = re.compile(rf"(?:{_DECIMAL}\s*[a-zA-Z]+\.?\s*(?:,\s*)?(?:and\s+)?){{2,}}")
_UNIT = re.compile(
    r"[a-zA-Z][a-zA-Z.]*(?:\s*\^\s*\{?\s*-?\d\s*\}?|[23](?![\d.]))?"
    r"(?:\s*[/\s-]\s*[a-zA-Z][a-zA-Z.]*(?:\s*\^\s*\{?-?\d\}?)?)*"
)
_NOT_UNITS = "pi sin cos tan cot sec csc log ln exp sqrt or and mod if i e x y z n k t o to plus minus times"
_NO_UNITS = frozenset(_NOT_UNITS.split())


def _units() -> dict[str, tuple[str, Fraction]]:
    """name -> (dimension, size); one-letter names count only after a space."""
    table = """
        length: m meter metre 1; cm centimeter centimetre 1/100; mm millimeter millimetre 1/1000;
            km kilometer kilometre 1000; in inch inche 127/5000; ft foot feet 381/1250; yd yard 1143/1250;
            mi mile 1609344/1000
        mass: g gram 1; kg kilogram 1000; mg milligram 1/1000; lb pound 45359237/100000; oz ounce 45359237/1600000
        time: s sec second 1; min minute 60; h hr hour 3600; day 86400; week 604800
        volume: l liter litre 1; ml milliliter millilitre 1/1000
        angle: degree deg 1; rad radian 1000000007
        money: dollar usd buck 1; cent 1/100
        euro: euro eur 1
        sterling: gbp 1
        energy: j joule 1; kj kilojoule 1000
        power: w watt 1; kw kilowatt 1000
        force: n newton 1
        speed: m/s mps 1; km/h kph kmh 5/18; mph mile/hour mi/h 1397/3125
    """
    known = {}
    for dimension, entries in re.findall(r"(\w+): ([^:]+?)(?=\n\s+\w+: |\s*$)", table):
        for entry in entries.split(";"):
            *names, size = entry.split()
            known |= {name: (dimension, Fraction(size)) for name in names}
    return known


UNITS = _units()
_SQUARES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_CURRENCIES = {"$": "dollar", "€": "eur", "£": "gbp", "¥": "yen", "₹": "rupee", "USD": "usd", "EUR": "eur"}


class Quantity(NamedTuple):
    """A number as it was written."""

    value: Fraction
    percent: bool
    unit: str | None
    places: int | None  # decimal places; None: an integer or a fraction
    digits: int  # significant digits as written


def read(text: str) -> Quantity | None:
    """The quantity a cleaned answer consists of, or None where it is anything else."""
    if len(text) > _LONGEST:
        return None
    text = _worded(_PART.sub(_part, text))
    if (several := _compound(text)) is not None:
        return several
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    value = _value(match)
    rest = match["rest"].strip()
    percent = re.match(r"%|percent(?:age points?)?\b|per cent\b", rest)
    rest = rest[percent.end() :].strip() if percent else rest
    scale = re.match(r"(hundred|thousand|million|billion|trillion|[kK])s?\b", rest)
    if value is None:
        return None
    if scale:
        value, rest = value * _SCALES[scale[1]], rest[scale.end() :].strip()
    unit = _CURRENCIES[match["currency"].strip()] if match["currency"] else None
    if rest:
        if not _is_unit(rest, spaced=match["rest"][:1] == " "):
            return None
        unit = unit or _canonical(rest)
    if match["value"] is None or (match["value"].isdigit() and not scale):
        places, digits = None, 0
    else:
        fraction = match["value"].partition(".")[2]
        power = int(match["power"] or match["bare"] or match["round"] or match["e"] or 0)
        places = len(fraction) - power
        digits = len((match["value"].replace(",", "").replace(".", "")).lstrip("0"))
    return Quantity(value, percent is not None, unit, places, digits)


def agree(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities are the same; what only one of them says of unit or percent is taken as understood."""
    if one.percent or other.percent:
        if one.percent and other.percent:
            return numbers_agree(one, other)
        low, high = (one, other) if one.percent else (other, one)
        parts = low._replace(value=low.value / 100, places=None if low.places is None else low.places + 2)
        return numbers_agree(low, high) or numbers_agree(parts, high)
    if one.unit and other.unit and one.unit != other.unit:
        known = _sized(one.unit), _sized(other.unit)
        if known[0] and known[1]:
            return known[0][0] == known[1][0] and one.value * known[0][1] == other.value * known[1][1]
        shared = set(one.unit.split()) & set(other.unit.split()) - {"of", "per"}
        return bool(shared) and numbers_agree(one, other)
    return numbers_agree(one, other)


def numbers_agree(one: Quantity, other: Quantity) -> bool:
    """Exactly, or a long enough decimal against what it is cut from."""
    if one.value == other.value:
        return True
    return any(not _is_decimal(b.value) and rounds(a, b.value) for a, b in ((one, other), (other, one)))


def rounds(decimal: Quantity, value: Fraction) -> bool:
    """Whether a decimal of enough digits is `value`, which has no finite decimal form, cut off or rounded."""
    if decimal.places is None or decimal.digits < SIGNIFICANT:
        return False
    return abs(decimal.value - value) < Fraction(10) ** -decimal.places


def without_unit(text: str) -> tuple[str, str | None]:
    """An expression and the unit that follows it, if one does: `36\\pi cm^2` is 36\\pi, cm2."""
    found = re.fullmatch(
        r"(.*?[\w)}])\s+((?:square |cubic |sq |cu )?[a-zA-Z]+(?:/[a-zA-Z]+)?(?:\s*\^\s*\{?[23]\}?)?)\.?", text
    )
    if found is None or re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return text, None
    unit = _canonical(found[2])
    known = unit == "unit" or unit.startswith("unit") or (_sized(unit) is not None and len(unit) > 1)
    return (found[1], unit) if known or unit == "m" else (text, None)


def same_unit(one: str, other: str) -> bool:
    """Whether two canonical units are the same, in other words perhaps: in3 and inch3."""
    return one == other or (_sized(one) is not None and _sized(one) == _sized(other))


def _is_decimal(value: Fraction) -> bool:
    """Whether a number has a finite decimal form."""
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


def _value(match: re.Match[str]) -> Fraction | None:
    sign = -1 if (match["sign"] == "-") != (match["inner"] == "-") else 1
    exponent = match["power"] or match["bare"] or match["round"] or match["e"]
    if exponent is not None and abs(int(exponent)) > 99:
        return None
    if match["mixed"]:
        top, bottom = match["mt"] or match["pt"], match["mb"] or match["pb"]
        return sign * (int(match["mixed"]) + Fraction(int(top), int(bottom))) if int(bottom) else None
    if match["value"]:
        return sign * _decimal(match["value"]) * Fraction(10) ** int(exponent or 0)
    top, bottom = _decimal(match["ft"] or match["st"]), _decimal(match["fb"] or match["sb"])
    return sign * top / bottom if bottom else None


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").removesuffix("."))


def _worded(text: str) -> str:
    """Leading number words as digits: `forty-two clips` is `42 clips`."""
    words = re.findall(r"[a-zA-Z]+|[^a-zA-Z]+", text) if text[:1].isalpha() else []
    total, part, used = 0, 0, 0
    for i, word in enumerate(words):
        low = word.lower()
        if low in _WORD_NUMBERS:
            part += _WORD_NUMBERS[low]
        elif low in _SCALES and used:
            total, part = (total, part * 100) if low == "hundred" else (total + part * _SCALES[low], 0)
        elif not (low in ("a", "and") or re.fullmatch(r"[\s-]+", word)):
            break
        used = i + 1 if low in _WORD_NUMBERS or low in _SCALES else used
    return f"{total + part} {''.join(words[used:]).strip()}".strip() if used else text


def _is_unit(text: str, *, spaced: bool) -> bool:
    """Whether what follows a number names a unit or a thing, and no variable or function."""
    if not spaced and text.lower() not in UNITS and not re.match(r"[a-zA-Z]{2,}", text):
        return False
    words = re.findall(r"[a-zA-Z]+", text)
    if not words or _NO_UNITS & {word for word in words[:1]} or not _UNIT.fullmatch(text.rstrip(".")):
        return False
    return len(words[0]) > 1 or (spaced and words[0].lower() in UNITS)


def _canonical(text: str) -> str:
    """`Square Metres`, `m^2` and `m2` in one spelling."""
    text = re.sub(r"\s*\^\s*\{?\s*(-?\d)\s*\}?", r"\1", text.lower().rstrip(".")).replace(" per ", "/")
    words = re.split(r"\s+", re.sub(r"\s*/\s*", "/", text))
    power = _SQUARES.get(words[0])
    if power and len(words) > 1:
        return f"{_singular(words[1])}{power}"
    return " ".join("/".join(_singular(part) for part in word.split("/")) for word in words if word not in ("of",))


def _singular(word: str) -> str:
    known = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((form for form in known if form in UNITS), word.removesuffix("s") if len(word) > 3 else word)


def _sized(unit: str) -> tuple[str, Fraction] | None:
    """(dimension, size) of a canonical unit, powers included; None where it is not known."""
    if unit in UNITS:
        return UNITS[unit]
    if unit[-1:] in "23" and unit[:-1] in UNITS:
        dimension, size = UNITS[unit[:-1]]
        return f"{dimension}{unit[-1]}", size ** int(unit[-1])
    first, _, rest = unit.partition(" ")
    if rest:
        return UNITS.get(first)
    top, _, bottom = unit.partition("/")
    if bottom and (over := _sized(top)) and (under := _sized(bottom)):
        dimension = f"{over[0]}/{under[0]}"
        return "speed" if dimension == "length/time" else dimension, over[1] / under[1]
    return None


def _part(match: re.Match[str]) -> str:
    """`three quarters` as 3/4."""
    top, bottom = match[1].lower(), match[2].lower()
    return f"{_WORD_NUMBERS.get(top, 1)}/{_PARTS.get(bottom, 2)}"


def _compound(text: str) -> Quantity | None:
    """`2 hours and 15 minutes` as one quantity, in the first unit; None where the units do not measure the same."""
    if not _COMPOUND.fullmatch(text):
        return None
    parts = re.findall(rf"({_DECIMAL})\s*([a-zA-Z]+)", text)
    names = [_canonical(unit) for _, unit in parts]
    sizes = [_sized(name) for name in names]
    if None in sizes or len({size[0] for size in sizes}) > 1 or len(set(names)) < len(names):
        return None
    total = sum(_decimal(number) * size[1] for (number, _), size in zip(parts, sizes, strict=True))
    return Quantity(total / sizes[0][1], False, names[0], None, 0)
