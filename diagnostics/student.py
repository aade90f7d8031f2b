"""Student's t without a library for it."""

from __future__ import annotations

from statistics import NormalDist


def student_t(freedom: float) -> float:
    """97.5th percentile of Student's t, to 0.1% from 4 degrees of freedom on (0.2% with 3).

    Cornish and Fisher's expansion about the normal (Abramowitz and Stegun 26.7.5), which takes fractions.
    """
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
