"""Smoothed log-odds of a share: along a parabola or a ramp in the step, or along what training pushed it by.

A share moves because completions of that form got more advantage than the others: the change of its mean is the
covariance of form and advantage (Price 1970, Nature 227), and for a policy that is a softmax over the forms a gradient
step adds exactly that to the log-odds, times the learning rate. So the sum of these pushes, which is known without any
noise of sampling, has the course of the log-odds up to a factor, where the policy is anything like that; one
factor is learned from many steps more exactly than a bend from a few. Where it is not, the parabola fits better and is
believed instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

RIDGE = 1e-3  # keeps a share of exactly 1 finite
# Where a ramp may lie: its steps, and those since its end (0: it may still go on). Near ones are told apart, far
# ones need not be.
RAMPS = (1, 2, 4, 8, 16, 32, 64)
HELD = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 90)


class Curve(NamedTuple):
    """A curve through log-odds."""

    fitted: np.ndarray  # (steps,)
    error: float  # standard error at the last step
    evidence: float  # log-likelihood, less what its coefficients cost (Schwarz 1978)


def logit_curve(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray, degree: int) -> Curve:
    """A polynomial in the step through the log-odds of shares with these variances. Arrays are (steps,).

    A form that gains in proportion to what it has is a straight line in log-odds; a penalty on the divergence
    from the base bends it. So a ramp makes the curve neither lag behind nor run ahead.
    """
    x = ((steps - steps[-1]) / max(steps[-1] - steps[0], 1.0))[:, None] ** np.arange(degree + 1)
    return _fitted(x[None], shares, variances)[0]


def driven_curve(pushed: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> Curve:
    """A level and a multiple of what was pushed so far, (steps,), through the log-odds of shares."""
    x = pushed - pushed[-1]
    x = x / max(float(np.abs(x).max()), 1e-12)
    return _fitted(np.column_stack([np.ones(len(x)), x])[None], shares, variances)[0]


def plateau_curve(steps: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> Curve:
    """A level, a ramp and a level again through log-odds, averaged over where the ramp lies (`RAMPS`, `HELD`).

    A line or a parabola runs on where a share has stopped, and a jump makes it overshoot; this course knows both.
    """
    ramp, held = np.array([(r, h) for r in RAMPS for h in HELD if r + h < len(steps) - 1], float).T
    since = np.arange(len(steps)) - (len(steps) - 1.0)
    x = np.clip((since + held[:, None]) / ramp[:, None], -1.0, 0.0)  # (courses, steps)
    return averaged(_fitted(np.stack([np.ones_like(x), x], axis=-1), shares, variances))


def averaged(curves: Sequence[Curve]) -> Curve:
    """The mean of curves of the same steps, weighed by their evidence; none is preferred beforehand.

    Its error holds how far they are apart at the last step, its evidence is that of them all together.
    """
    evidence = np.array([curve.evidence for curve in curves])
    weights = np.exp(evidence - evidence.max())
    together = evidence.max() + log(weights.mean())
    weights /= weights.sum()
    fitted = weights @ np.array([curve.fitted for curve in curves])
    apart = np.array([curve.fitted[-1] for curve in curves]) - fitted[-1]
    errors = np.array([curve.error for curve in curves])
    return Curve(fitted, float(np.sqrt(weights @ (errors**2 + apart**2))), float(together))


def logit(share: float) -> float:
    """Log-odds."""
    return log(share / (1 - share))


def _fitted(x: np.ndarray, shares: np.ndarray, variances: np.ndarray) -> list[Curve]:
    """Logistic regressions of shares on columns x (courses, steps, columns), by reweighted least squares.

    The first column is 1 and the others are 0 at the last step.
    """
    mean = float(np.clip(shares.mean(), 0.01, 0.99))
    size = max(mean * (1 - mean) / float(variances.mean()), 1.0)  # independent completions that a step is worth
    beta = np.zeros((len(x), x.shape[2]))
    beta[:, 0] = logit(mean)
    ridge = RIDGE * np.eye(x.shape[2])
    across = x.transpose(0, 2, 1)
    for _ in range(12):
        fitted = 1 / (1 + np.exp(-np.clip(_along(x, beta), -12, 12)))
        weights = size * np.maximum(fitted * (1 - fitted), 1e-4)
        information = across @ (weights[:, :, None] * x) + ridge
        gradient = size * _along(across, shares - fitted) - RIDGE * beta
        move = np.clip(np.linalg.solve(information, gradient[:, :, None])[:, :, 0], -2, 2)
        beta = beta + move
        if np.abs(move).max() < 1e-4:
            break
    odds = np.clip(_along(x, beta), -12, 12)
    likelihood = size * (shares * odds - np.logaddexp(0.0, odds)).sum(axis=1)
    cost = 0.5 * x.shape[2] * log(size * len(shares))
    errors = np.sqrt(np.linalg.inv(information)[:, 0, 0])
    found = zip(_along(x, beta), errors, likelihood - cost, strict=True)
    return [Curve(fitted, float(error), float(evidence)) for fitted, error, evidence in found]


def _along(x: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """(courses, rows) products of the matrices (courses, rows, columns) and their vectors."""
    return (x @ beta[:, :, None])[:, :, 0]
