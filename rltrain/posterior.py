"""What is known of a pass rate: the Beta distribution's own integral, for whoever judges by evidence.

Standard library only; curricula and the loop use the same arithmetic.
"""

from __future__ import annotations

import math

STEPS = 300  # of the continued fraction; it converges in about sqrt(max(alpha, beta))
PRECISION = 1e-12
TINY = 1e-300  # in place of 0 in a denominator (Lentz)


def below(x: float, alpha: float, beta: float) -> float:
    """P(p < x) for p ~ Beta(alpha, beta): the regularised incomplete beta function I_x(alpha, beta).

    Both parameters above 0. Continued fraction of DLMF 8.17.22, evaluated by Lentz's method, on the side of
    the mean where it converges fast.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (alpha + 1) / (alpha + beta + 2):
        return 1 - below(1 - x, beta, alpha)
    scale = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    front = math.exp(scale + alpha * math.log(x) + beta * math.log1p(-x)) / alpha
    return front * _fraction(x, alpha, beta)


def _fraction(x: float, alpha: float, beta: float) -> float:
    """The continued fraction 1 / (1 + d1 / (1 + d2 / ...))."""
    value = c = 1.0
    d = 0.0
    for step in range(STEPS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (beta - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        else:
            term = -(alpha + m) * (alpha + beta + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
        d = 1 / ((1 + term * d) or TINY)
        c = (1 + term / c) or TINY
        value *= c * d
        if step and abs(1 - c * d) < PRECISION:
            break
    return value - 1
