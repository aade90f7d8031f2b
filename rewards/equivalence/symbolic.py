"""Algebra, by math-verify."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.equivalence import quantity
from rewards.equivalence.clean import LONGEST

_TOO_BIG = re.compile(
    r"\^\s*\{?\s*\(?-?\d{4,}"  # 2^100000
    r"|\^\s*\{?\s*\(?\s*-?\d+\s*[)}]*\s*(?:\^|!)|!\s*\^|\}\s*\^\s*\{?\s*\d{3,}"  # 9^{9^9}, 9^{9!}
    r"|\d{4,}\s*!|!\s*!|\)\s*!\s*\)\s*!"  # 100000!
    r"|\d{400,}"
)
_DEGREES = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc)\s*)[({]?\s*(\d+(?:\.\d+)?)\s*degrees\s*[)}]?")
POINTS = (Fraction(1733, 1009), Fraction(-613, 719), Fraction(331, 2003))
_STEP = Fraction(389, 523)  # between the values of the names of one point
_DEEP = 30  # brackets inside of brackets


def equal(given: str, expected: str) -> bool:
    """Whether two cleaned answers are the same expression, equation or set to math-verify.

    False for what it cannot read, and for powers and factorials too large to be worked out in a reward's time.
    """
    if any(len(side) > LONGEST or _TOO_BIG.search(side) or _depth(side) > _DEEP for side in (given, expected)):
        return False
    one, other = parsed(given), parsed(expected)
    if not one or not other:
        return False
    for text, value in ((given, other[0]), (expected, one[0])):
        if (decimal := quantity.read(text)) is not None and (number := _irrational(value)) is not None:
            return quantity.rounds(decimal, number)
    if (agree := _agree_at_points(one[0], other[0])) is not None:
        return agree
    from math_verify import verify

    return bool(verify(list(other), list(one), timeout_seconds=None))


@lru_cache(maxsize=4096)
def parsed(text: str) -> tuple[Any, ...]:
    """math-verify's reading of a cleaned answer: sympy expressions; empty where it finds none."""
    from math_verify import LatexExtractionConfig, parse

    _quiet()
    found = parse(f"${_latex(text)}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return tuple(_with_imaginary_unit(value) for value in found)


@lru_cache(maxsize=1)
def _quiet() -> None:
    """math-verify warns that nobody limits its time; whoever calls a reward does."""
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _latex(text: str) -> str:
    """What people type without LaTeX, as LaTeX: x^10, 2^(1/2)."""
    text = _DEGREES.sub(r"\1{\2 \\cdot \\frac{\\pi}{180}}", text)
    text = re.sub(r"\\log(?![a-zA-Z])(?!\s*_)", r"\\ln", text)  # which math-verify takes for the decimal one
    text = re.sub(r"\^\s*(-?\d{2,}|-\d)", r"^{\1}", text)
    text = re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)
    return re.sub(r"(?<![\w}])\(([^()]*)\)\s*/\s*\(([^()]*)\)", r"\\frac{\1}{\2}", text)


def _irrational(value: Any) -> Fraction | None:
    """30 digits of a constant expression that is no rational number; None for everything else."""
    from sympy import Expr, Rational

    if not isinstance(value, Expr) or value.free_symbols or value.is_rational is not False:
        return None
    digits = value.evalf(30)
    if not digits.is_real or not digits.is_finite:
        return None
    found = Rational(str(digits))
    return Fraction(int(found.p), int(found.q))


def _with_imaginary_unit(value: Any) -> Any:
    """`i` as the imaginary unit, which math-verify takes for a name in some surroundings."""
    from sympy import Expr, I

    names = [name for name in value.free_symbols if name.name == "i"] if isinstance(value, Expr) else []
    return value.subs(dict.fromkeys(names, I)) if names else value


def _agree_at_points(one: Any, other: Any) -> bool | None:
    """Whether two expressions in the same names have the same values at a few points; None where that cannot be said.

    A polynomial identity that holds at random points holds (Schwartz 1980, Zippel 1979); for other functions it is as
    good as certain, and far quicker than simplification.
    """
    from sympy import Expr

    if not (isinstance(one, Expr) and isinstance(other, Expr)) or one.free_symbols != other.free_symbols:
        return None
    names = sorted(one.free_symbols, key=str)
    agreed = 0
    for point in POINTS if names else POINTS[:1]:
        where = {name: point + step * _STEP for step, name in enumerate(names)}
        values = [_digits(side, where) for side in (one, other)]
        if None in values:
            continue
        if abs(values[0] - values[1]) > 1e-12 * max(1.0, abs(values[0])):
            return False
        agreed += 1
    return True if agreed == len(POINTS) or (agreed and not names) else None


def _digits(value: Any, where: Mapping[Any, Any]) -> complex | None:
    """An expression's value at a point; None where it has no finite one, or none that is real at a real point."""
    number = value.evalf(20, subs=where) if where else value.evalf(20)
    if not number.is_number or number.is_finite is not True:
        return None
    found = complex(number)
    return found if not where or abs(found.imag) < 1e-12 * max(1.0, abs(found)) else None


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "({[") - (char in ")}]")
        deepest = max(deepest, depth)
    return deepest
