"""The form of a declaration.

One row is stem, unit, meaning / formula, source; the reader's part is in `readings/`. "Trained" completions are those
of admitted groups; "scored" ones have a score without an error. A mean is always one sum over one count.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What a curve is, in words a reader can hold against the code."""

    stem: str
    unit: str
    meaning: str
    formula: str
    source: str  # the part of the program that measures it
    reading: str = ""  # how to read it; from `readings/`
    lies: str = ""  # when it says what is not so; from there too
    sample: tuple[str, ...] = ()  # stems that count what it is estimated from; from `samples.py`
