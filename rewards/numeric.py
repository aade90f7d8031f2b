"""1 where the answer is the right number, however it is written."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Literal

from rewards.extraction import extract_answer
from rltrain.types import Completion, Task

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-+\u2212]?)\s?[$\u20ac\u00a3]?"
    r"(?:\\[dt]?frac\{(?P<top>-?\d+)\}\{(?P<bottom>\d+)\}"
    rf"|(?P<whole>\d+)\s+(?P<mixed_top>\d+)/(?P<mixed_bottom>\d+)"
    rf"|(?P<value>{_DIGITS})(?:e(?P<exponent>[-+]?\d+))?(?:\s?/\s?(?P<over>\d+(?:\.\d+)?))?)"
    r"(?P<percent>\s?\\?%)?",
    re.IGNORECASE,
)
LONGEST = 100  # characters of a number; longer ones, and exponents over two digits, are no answers and cost time
# completions that score 1, for `rltrain plugin check`
EXAMPLES = ({"prompt": "What is 17 + 25?", "answer": "42", "completion": "17 + 25 = 42."},)


def numeric(
    task: Task,
    completion: Completion,
    *,
    extract: Literal["last_number", "answer", "boxed", "tags", "last_line", "whole"] = "last_number",
    tolerance: float = 1e-6,
) -> float | None:
    """1.0 if the last number of the extracted part equals the task's answer, else 0.0.

    `last_number` looks at the whole completion; the other values are those of `exact`, e.g. `answer` for
    what follows the last "Answer:". `tolerance` is relative, and absolute below 1. "1,234.50", "3/4",
    "1 1/2", "\\frac{3}{4}", "$7", "2e3" and "50%" are read; 50% is right for 0.5 and for 50. None for a task
    whose answer is not a number. ValueError for a tolerance that is no number from 0 on.

    With `extract: answer` and the task answer "72", "48/2 = 24, so 48 + 24. Answer: 72 clips" gives 1.0.
    """
    if not (isinstance(tolerance, int | float) and 0 <= tolerance < math.inf):
        raise ValueError(f"tolerance: expected a number from 0 on, got {tolerance!r}")
    expected = _numbers(task.answer or "")
    if not expected:
        return None
    part = completion.text if extract == "last_number" else extract_answer(completion.text, extract)
    given = _numbers(part or "")
    if not given:
        return 0.0
    return float(any(_close(one, other, tolerance) for one in given[-1] for other in expected[-1]))


def _close(given: Fraction, expected: Fraction, tolerance: float) -> bool:
    return abs(given - expected) <= Fraction(tolerance) * max(1, abs(expected))


def _numbers(text: str) -> list[tuple[Fraction, ...]]:
    """The numbers of a text, each with the values it may stand for."""
    found = [_values(match) for match in _NUMBER.finditer(text)]
    return [values for values in found if values]


def _values(match: re.Match[str]) -> tuple[Fraction, ...]:
    if len(match[0]) > LONGEST or len(match["exponent"] or "") > 3:
        return ()
    if match["top"]:
        parts = Fraction(match["top"]), Fraction(match["bottom"])
    elif match["whole"]:
        over = Fraction(match["mixed_bottom"])
        parts = Fraction(match["whole"]) * over + Fraction(match["mixed_top"]), over
    else:
        power = Fraction(10) ** int(match["exponent"] or 0)
        parts = Fraction(match["value"].replace(",", "")) * power, Fraction(match["over"] or 1)
    top, bottom = parts
    if not bottom:
        return ()
    value = top / bottom * (-1 if match["sign"] in ("-", "\u2212") else 1)
    return (value, value / 100) if match["percent"] else (value,)
