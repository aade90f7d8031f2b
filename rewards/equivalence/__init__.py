"""Whether two answers mean the same mathematics.

Numbers, units, lists, intervals and sets are compared exactly here, in microseconds; everything that needs
algebra goes to math-verify.
"""

from __future__ import annotations

from rewards.equivalence import symbolic
from rewards.equivalence.clean import clean
from rewards.equivalence.compare import is_plain, same


def equal(given: str, expected: str) -> bool:
    r"""Whether `given` answers what `expected` answers; both as LaTeX, plain mathematics or words.

    Numbers are compared exactly; a decimal stands for a number that has no finite decimal form from six significant
    digits on. A unit, a percent sign or `x =` may be missing on one side, and must agree where it is on both.
    Lists and sets have no order, tuples have one, and brackets of intervals count.

    >>> equal(r"\frac{3}{6}", "0.5")
    True
    >>> equal("(1, 2]", "(1, 2)")
    False
    """
    return same(clean(given), clean(expected))


def readable(answer: str) -> bool:
    """Whether a right answer can be told from a wrong one at all: it is a number, words, a list or an expression."""
    text = clean(answer)
    return bool(text) and (is_plain(text) or bool(symbolic.parsed(text)))
